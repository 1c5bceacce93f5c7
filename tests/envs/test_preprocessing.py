"""Options of ``make``: a family takes them itself, or wrappers do, with the same result."""

import pytest
import torch

import morello
from morello.agents.config.environment_options import environment_options
from morello.envs import FAMILIES
from morello.envs.errors import UserError
from morello.envs.preprocessing import PREPROCESSING
from morello.envs.processes.alternating import Alternating
from morello.envs.wrappers import FrameStack, Grey, NoisyTV, Resize, StickyActions, TimeLimit, unwrapped

PARTS = "gym:tests.support.gymnasium_worlds:Parts-v0"


def layers(env):
    """The wrappers from the inside; of the first of two pools."""
    found, env = [], env.parts[0][1] if isinstance(env, Alternating) else env
    while env is not unwrapped(env):
        found.append(type(env))
        env = env.env
    return found[::-1]


def shape(env):
    return env.spec.observation["image"][0]


def test_wrappers_stand_in_the_order_in_which_they_are_needed():
    env = morello.make(
        PARTS,
        2,
        time_limit=3,
        frame_stack=5,
        noisy_tv="region",
        grey=True,
        frame_size=(4, 3),
        sticky_actions=0.5,
    )
    assert layers(env) == [StickyActions, Resize, Grey, NoisyTV, FrameStack]  # a limit is the family's own
    assert shape(env) == (4, 3, 5)
    assert env.spec.max_steps == 3
    assert layers(morello.make("counting:steps", 2, time_limit=3, frame_stack=2)) == [FrameStack, TimeLimit]


def test_what_asks_for_nothing_adds_nothing():
    env = morello.make(
        "counting:steps",
        2,
        frame_stack=1,
        grey=False,
        sticky_actions=0.0,
        noisy_tv="none",
        time_limit=None,
        action_repeat=1,
        preprocessing="own",
    )
    assert layers(env) == []


@pytest.mark.parametrize(("name", "expected"), [("atari", (84, 84, 4)), ("icm", (42, 42, 4)), ("rgb", (84, 84, 3))])
@pytest.mark.parametrize("env", ["vizdoom:MyWayHome", "atari:Pong"])
def test_the_papers_ways_to_look(env, name, expected):
    made = morello.make(env, 1, preprocessing=name)
    assert shape(made) == expected
    assert made.spec.frames_per_step == 4
    assert made.reset().observation["image"].shape[1:] == expected


def test_an_option_of_ones_own_goes_before_the_papers():
    env = morello.make("vizdoom:Basic", 1, preprocessing="icm", frame_stack=2, frame_size=(11, 13))
    assert shape(env) == (11, 13, 2)
    assert PREPROCESSING["icm"]["frame_stack"] == 4  # the paper's is as it was


def test_a_stack_over_a_changed_picture_is_the_wrappers():
    """EnvPool's own stack would be shown four frames of new noise at once."""
    env = morello.make("atari:Pong", 2, seed=3, noisy_tv="region", frame_size=(10, 10))
    assert layers(env) == [NoisyTV, FrameStack]
    assert shape(env) == (10, 10, 4)
    env.reset()
    before = env.step(torch.zeros(2, dtype=torch.int64)).observation["image"].clone()
    after = env.step(torch.zeros(2, dtype=torch.int64)).observation["image"]
    assert after[..., :3].equal(before[..., 1:])


def test_atari_stacks_by_itself_as_the_wrapper_does():
    native, wrapped = (morello.make("atari:Breakout", 2, seed=5, frame_size=(21, 23), frame_stack=n) for n in (3, 1))
    wrapped = FrameStack(wrapped, 3)
    assert layers(native) == []
    a, b = native.reset(), wrapped.reset()
    for t in range(40):
        assert a.observation["image"].equal(b.observation["image"]), t
        action = torch.tensor([t % 4, (t + 1) % 4])
        a, b = native.step(action), wrapped.step(action)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("minigrid:DoorKey-5x5", {"action_repeat": 4}, "--action-repeat"),
        ("gym:CartPole-v1", {"action_repeat": 4}, "--action-repeat"),
        (PARTS, {"noisy_tv": "remote"}, "needs an action that does nothing"),
        ("atari:Pong", {"frame_stack": 0}, "frame_stack is a whole number from 1"),
        ("vizdoom:Basic", {"frame_size": (0, 5)}, "frame_size is height and width, two whole numbers from 1"),
        ("vizdoom:Basic", {"action_repeat": -1}, "action_repeat is a whole number"),
        ("atari:Pong", {"sticky_actions": 2.0}, "0 to 1"),
        ("atari:Pong", {"sticky_actions": "0.25"}, "0 to 1, not '0.25'"),
        ("counting:steps", {"time_limit": 2.5}, "time_limit is a whole number from 1"),
        ("counting:steps", {"time_limit": True}, "time_limit is a whole number from 1"),
        ("gym:CartPole-v1", {"env_timeout": 90}, "add workers .--env-workers"),
        ("gym:CartPole-v1", {"env_timeout": 0, "env_workers": 1}, "env_timeout is a number of seconds, more than 0"),
        ("gym:CartPole-v1", {"env_timeout": "long", "env_workers": 1}, "timeout is a number of seconds"),
        ("counting:steps", {"env_timeout": 90}, "no option 'env_timeout'"),
        ("atari:Pong", {"pools": "2"}, "pools is a whole number"),
        ("atari:Pong", {"pools": 3}, "1 or 2 pools"),
        ("minigrid:DoorKey-5x5", {"env_offset": -5}, "env_offset is a whole number from 0"),
        ("gym:CartPole-v1", {"frame_stack": 4}, "needs an image"),
        ("labyrinth:seekavoid_arena_01", {"preprocessing": "atri"}, "atari"),
        ("labyrinth:seekavoid_arena_01", {"noisy_tv": "static"}, "region"),
        (PARTS, {"frame_size": 4}, "height and width, two whole numbers .* not 4"),
        ("vizdoom:Basic", {"life_loss": True}, "no option 'life_loss'"),
    ],
)
def test_a_mistake_gets_one_sentence(name, options, words):
    with pytest.raises(UserError, match=words) as caught:
        morello.make(name, 2, **options)
    assert "\n" not in str(caught.value)


def test_the_remote_does_not_move_the_agent():
    """What the environment inside is given is its first action that does nothing."""
    env, twin = (morello.make("atari:Breakout", 2, seed=1, noisy_tv=how, frame_stack=1) for how in ("remote", "none"))
    assert env.spec.action_names == (*twin.spec.action_names, "remote")
    env.reset()
    twin.reset()
    for _ in range(12):
        a, b = env.step(torch.tensor([4, 4])), twin.step(torch.tensor([0, 0]))
        assert a.observation["image"][:, :, :50].equal(b.observation["image"][:, :, :50])


def test_seed_and_offset_reach_what_wrappers_draw():
    def noise(**options):
        env = morello.make(PARTS, noisy_tv="region", sticky_actions=0.5, **options)
        return env.reset().observation["image"][:, :, -2:].clone()

    four = noise(num_envs=4, seed=3)
    assert torch.equal(noise(num_envs=2, seed=3, env_offset=2), four[2:])
    assert not torch.equal(noise(num_envs=4, seed=4), four)
    assert not torch.equal(four[0], four[1])


def test_none_is_the_familys_own():
    options = ("frame_stack", "frame_size", "sticky_actions", "preprocessing", "noisy_tv")
    env = morello.make("atari:Pong", 2, **dict.fromkeys(options))
    assert shape(env) == (84, 84, 4)
    assert layers(env) == []


@pytest.mark.parametrize("name", PREPROCESSING)
def test_every_papers_way_fits_what_has_colours(name):
    for env in ("labyrinth:seekavoid_arena_01", "vizdoom:Basic", PARTS):
        assert shape(morello.make(env, 1, preprocessing=name))[2] == (3 if name == "rgb" else 4)


def test_another_environment_takes_the_settings_it_knows():
    config = {"env": "gym:CartPole-v1", "env_workers": 2, "env_timeout": 90.0, "restart_envs": True, "time_limit": 3}
    assert environment_options(config) == {"env_workers": 2, "env_timeout": 90.0, "restart_envs": True, "time_limit": 3}
    assert environment_options(config, "counting:steps") == {"time_limit": 3}


def test_settings_become_options_and_a_family_without_one_is_named_with_the_flag():
    config = {
        "env": "atari:Pong",
        "frame_size": (21, 23),
        "frame_stack": 2,
        "noisy_tv": "none",
        "preprocessing": "own",
        "grey": False,
        "sticky_actions": 0.25,
        "life_loss": True,
        "time_limit": None,
        "action_repeat": 7,
    }
    expected = {
        "frame_size": (21, 23),
        "frame_stack": 2,
        "grey": False,
        "sticky_actions": 0.25,
        "life_loss": True,
        "action_repeat": 7,
    }
    assert environment_options(config) == expected
    with pytest.raises(UserError, match="--life-loss is not for labyrinth:x"):
        environment_options({"env": "labyrinth:x", "life_loss": True})
    with pytest.raises(UserError, match="--env-workers is not for atari:Pong"):
        environment_options({"env": "atari:Pong", "env_workers": 2})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_in_the_catalogue_and_its_first_line_can_be_made(family):
    name, about = next(iter(FAMILIES[family].list()))
    assert about
    assert FAMILIES[family].about
    if ":ID" not in name:
        env = morello.make(name, 1)
        assert env.reset().first.all()
        if "actions: " in about:
            assert about.partition("actions: ")[2] == ", ".join(env.spec.action_names)

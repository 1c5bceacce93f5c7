"""EnvPool's Atari and MiniGrid: what is particular to them. The contract is that of envs/test_environments.py."""

import envpool
import numpy as np
import pytest
import torch

import morello
from morello.envs.adapters import atari, gridworld
from morello.envs.adapters.atari import ACTIONS, MINIMAL, LifeLoss, heeded
from morello.envs.adapters.envpool import EnvPool, tasks
from morello.envs.errors import UserError
from morello.envs.rows import empty_timestep, leaves
from morello.envs.wrappers import TimeLimit

CPU = torch.device("cpu")


def test_games_have_as_many_actions_as_envpool_says():
    games = [i.removesuffix("-v5") for i in tasks("atari")]
    listed = [game for games in MINIMAL.values() for game in games.split()]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(games)
    a_few = [games.split()[-1] for games in MINIMAL.values()] + ["MontezumaRevenge", "Seaquest", "Venture"]
    for game in a_few:  # a fifth of a second each
        assert len(heeded(game)) == envpool.make_spec(f"{game}-v5").action_space.n, game
    assert len(ACTIONS) == len(set(ACTIONS)) == 18


def test_the_paddle_goes_where_the_action_says():
    """In Breakout; the paddle is the only thing that moves in its rows before the ball is in play."""
    env = morello.make("atari:Breakout", 1, seed=1, frame_stack=1)
    assert env.spec.action_names == ("none", "fire", "right", "left")
    ends = {}
    for name in ("right", "left"):
        env.reset()
        for _ in range(15):
            step = env.step(torch.tensor([env.spec.action_names.index(name)]))
        row = step.observation["image"][0, 76:79, 8:76, 0].float().mean(0)
        ends[name] = float((row * torch.arange(68)).sum() / row.sum())
    assert ends["right"] > ends["left"] + 10


def test_an_image_is_envpools_with_its_channels_last():
    env = morello.make("atari:Pong", 3, seed=5, frame_size=(21, 23), frame_stack=3)
    settings = {"img_height": 21, "img_width": 23, "stack_num": 3}
    raw = envpool.make("Pong-v5", env_type="gymnasium", num_envs=3, env_seed=[5, 6, 7], **settings)
    theirs, _ = raw.reset()
    ours = env.reset().observation["image"]
    for t in range(30):
        assert np.array_equal(ours.numpy(), theirs.transpose(0, 2, 3, 1)), t
        action = np.array([t, t + 1, 2 * t], np.int32) % 6
        theirs, reward, *_ = raw.step(action)
        step = env.step(torch.from_numpy(action).long())
        ours = step.observation["image"]
        assert step.reward.tolist() == reward.tolist()


def test_a_lost_life_has_discount_0_and_the_episode_goes_on():
    def play(life_loss):
        env = morello.make("atari:Breakout", 1, seed=2, frame_size=(5, 5), life_loss=life_loss)
        env.reset()
        generator = torch.Generator().manual_seed(0)
        zeros, ended = [], None
        for t in range(600):
            step = env.step(torch.randint(4, (1,), generator=generator))
            if step.discount == 0:
                zeros.append(t)
            if step.last:
                ended = t
                break
        return zeros, ended

    zeros, ended = play(True)
    assert len(zeros) == 5  # lives
    assert zeros[-1] == ended
    assert play(False) == ([ended], ended)


def test_minigrids_parts_are_what_envpool_says():
    env = morello.make("minigrid:DoorKey-6x6", 3, seed=4)
    raw = envpool.make("MiniGrid-DoorKey-6x6-v0", env_type="gymnasium", num_envs=3, env_seed=[4, 5, 6])
    (theirs, info), ours = raw.reset(), env.reset()
    assert ours.info["cell"].max() < env.num_cells == 25 * 25
    turned = set()
    for t in range(60):
        assert np.array_equal(ours.observation["image"].numpy(), theirs["image"])
        assert ours.observation["vector"].argmax(1).tolist() == theirs["direction"].tolist()
        assert (ours.observation["vector"].sum(1) == 1).all()
        assert np.array_equal(ours.info["position"].numpy(), info["agent_pos"])
        assert ours.info["cell"].tolist() == [x + 25 * y for x, y in info["agent_pos"].tolist()]
        turned |= set(theirs["direction"].tolist())
        action = np.array([0, [1, 2, 2][t % 3], 2], np.int32)  # one spins, one goes in circles, one runs into a wall
        theirs, _, _, _, info = raw.step(action)
        ours = env.step(torch.from_numpy(action).long())
    assert len(turned) == 4


def test_the_noisy_television_is_minigrids_own():
    env = morello.make("minigrid:MultiRoomNoisyTV-N7-S4", 1, seed=1)
    assert env.spec.max_steps == 140
    drop = env.spec.action_names.index("drop")
    env.reset()
    seen = {env.step(torch.tensor([drop])).observation["image"].numpy().tobytes() for _ in range(40)}
    assert 2 <= len(seen) <= 6  # the ball's colours, and nothing else


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("atari:Montezuma", {}, "MontezumaRevenge"),
        ("minigrid:DoorKey", {}, "DoorKey-5x5"),
        ("atari:Pong", {"seed": -1}, "0 or more"),
        ("minigrid:DoorKey-5x5", {"grey": True}, "category codes, not colours: .*--grey"),
        ("minigrid:MultiRoomNoisyTV-N7-S4", {"frame_size": (9, 9)}, "category codes.*--frame-size"),
        ("gym:MiniGrid-Empty-5x5-v0", {"preprocessing": "icm"}, "category codes.*--preprocessing"),
        ("minigrid:GoToDoor-5x5", {"noisy_tv": "remote"}, "needs an action that does nothing"),
    ],
)
def test_a_mistake_gets_one_sentence(name, options, words):
    with pytest.raises(UserError, match=words) as caught:
        morello.make(name, 2, **options)
    assert "\n" not in str(caught.value)


def test_seeds_are_given_to_all_or_none():
    env = morello.make("minigrid:DoorKey-5x5", 3)
    env.reset()
    with pytest.raises(UserError, match="all environments or to none"):
        env.reset(seed=1, mask=torch.tensor([True, False, False]))


@pytest.mark.parametrize("name", ["minigrid:Empty-5x5", "atari:Breakout"])
def test_rows_that_do_not_fit_are_refused_before_anything_happens(name):
    env, twin = (morello.make(name, 3, seed=1) for _ in range(2))
    env.reset()
    twin.reset()
    short = empty_timestep(env.spec._replace(observation={}), 3)
    action = torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="out needs"):
        env.step(action, short)
    for _ in range(3):
        for x, y in zip(leaves(env.step(action)).values(), leaves(twin.step(action)).values(), strict=True):
            assert x.equal(y)


def test_the_halves_of_a_step_come_in_turn():
    env = morello.make("minigrid:Empty-5x5", 2)
    with pytest.raises(UserError, match="reset"):
        env.send(torch.zeros(2, dtype=torch.int64))
    env.reset()
    with pytest.raises(UserError, match="send"):
        env.recv()
    env.send(torch.zeros(2, dtype=torch.int64))
    for call in (env.reset, lambda: env.send(torch.zeros(2, dtype=torch.int64))):
        with pytest.raises(UserError, match="receive"):
            call()
    assert env.recv().observation["vector"].argmax(1).tolist() == [3, 3]  # turned left once, from the east


@pytest.mark.parametrize("action", [[-1, 0], [7, 0], [-(2**63), 0]])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_actions_outside_are_refused(action, dtype):
    env = morello.make("minigrid:Empty-5x5", 2)
    env.reset()
    action = torch.tensor(action).clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max).to(dtype)
    with pytest.raises(ValueError, match="lie in"):
        env.step(action)


def test_without_envpool_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "envpool", None)
    for name in ("atari:Pong", "vizdoom:Basic", "minigrid:DoorKey-5x5"):
        with pytest.raises(UserError, match=r"pip install 'morello\[envs\]'"):
            morello.make(name)


def test_a_goal_on_the_very_step_of_the_limit_is_a_goal():
    """In EnvPool itself it looks cut short."""
    env = morello.make("minigrid:Empty-5x5", 2, seed=0)
    env.reset()
    way = [2, 2, 1, 2, 2]
    for t in range(env.spec.max_steps):
        late = t - (env.spec.max_steps - len(way))
        action = 6 if late < 0 else way[late]
        now = env.step(torch.tensor([action, 6]))
    assert env.spec.max_steps == 100
    assert now.last.tolist() == [True, True]
    assert now.discount.tolist() == [0, 1]
    torch.testing.assert_close(now.reward, torch.tensor([0.1, 0.0]))


@pytest.mark.parametrize("name", ["minigrid:DoorKey-8x8", "atari:Breakout"])
def test_a_limit_is_the_time_limit_wrappers(name):
    """Which takes a hidden step too, and then resets those whose time was up."""
    family, _, task = name.partition(":")
    if family == "atari":
        options = {"frame_size": (9, 11), "grey": True, "frame_stack": 1, "action_repeat": 4, "sticky_actions": 0.0}
        task = atari.task(task, **options, life_loss=False)
    else:
        task = gridworld.task(task)._replace(rewards=None)
    ours, theirs = EnvPool(task._replace(limit=7), 5, CPU, 3), TimeLimit(EnvPool(task, 5, CPU, 3), 7)
    ours.reset()
    theirs.reset()
    generator, ends = torch.Generator().manual_seed(1), []
    for t in range(60):
        action = torch.randint(3, (5,), generator=generator)
        x, y = ours.step(action), theirs.step(action)
        if t in (20, 21):  # also of those whose time was up
            mask = torch.tensor([True, False, True, False, False])
            x, y = ours.reset(mask=mask), theirs.reset(mask=mask)
        ends.append(x.last & (x.discount == 1))
        for key, value in leaves(y).items():
            if not (family == "minigrid" and key == "reward"):  # of which the limit is a part
                assert torch.equal(leaves(x)[key], value), (t, key)
    assert torch.stack(ends).sum(0).min() >= 3
    assert ours.spec.max_steps == 7


def test_a_masked_reset_of_an_ended_environment_begins_its_episode_and_leaves_others_as_they_are():
    env = morello.make("minigrid:Dynamic-Obstacles-6x6", 3, seed=1)
    env.reset()
    generator, seen = torch.Generator().manual_seed(4), 0
    for _ in range(300):
        now = env.step(torch.randint(3, (3,), generator=generator))
        if not (now.last[0] and now.first[1]) and not (now.first[0] and now.last[1]):
            continue
        seen += 1
        before = {k: v.clone() for k, v in leaves(now).items()}
        after = env.reset(mask=torch.tensor([True, False, False]))
        assert (after.first[0], after.last[0], after.reward[0], after.discount[0]) == (True, False, 0, 1)
        for key, value in leaves(after).items():
            assert torch.equal(value[1:], before[key][1:]), key
    assert seen >= 3


def test_atari_is_made_as_it_was_asked_for():
    def made(**options):
        chosen = {"frame_size": (84, 84), "grey": True, "frame_stack": 4, "action_repeat": 4, "sticky_actions": 0.0}
        chosen["life_loss"] = False
        return atari.task("Pong", **chosen | options)

    assert made(sticky_actions=0.25).settings["repeat_action_probability"] == 0.25
    assert [made(action_repeat=n).limit for n in (1, 4, 5)] == [108_000, 27_000, 21_600]
    assert morello.make("atari:Pong", 1, action_repeat=3).spec.frames_per_step == 3


def test_a_new_episode_has_lost_no_life():
    lives = LifeLoss(2)
    true, false = np.array([True, True]), np.array([False, False])
    lives.begin(true, {"lives": np.array([5, 5])})
    zero = np.zeros(2)
    assert lives(zero, false, false, {"lives": np.array([4, 5])})[1].tolist() == [False, True]
    lives.begin(np.array([False, True]), {"lives": np.array([4, 3])})
    assert lives(zero, false, false, {"lives": np.array([4, 3])})[1].tolist() == [True, True]
    assert lives(zero, false, np.array([True, False]), {"lives": np.array([3, 2])})[1].tolist() == [True, False]


def test_two_pools_hold_the_environments_that_one_would():
    one, two = (morello.make("atari:Breakout", 5, seed=3, env_offset=2, frame_size=(9, 11), pools=n) for n in (1, 2))
    one.reset()
    two.reset()
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        action = torch.randint(4, (5,), generator=generator)
        x, y = one.step(action), two.step(action)
        assert torch.equal(x.observation["image"], y.observation["image"])
    images = x.observation["image"].flatten(1)
    assert all(not torch.equal(images[0], other) for other in images[1:])


def test_seeds_go_around():
    """So that an evaluation, which adds to a seed, can follow any training."""
    far, near = (morello.make("minigrid:DoorKey-6x6", 2, seed=s) for s in (2**31 + 5, 5))
    assert torch.equal(far.reset().observation["image"], near.reset().observation["image"])


def test_a_noisy_room_speaks_as_its_family():
    noisy, other = morello.make("minigrid:MultiRoomNoisyTV-N7-S4", 2), morello.make("minigrid:KeyCorridorS3R3", 2)
    for name in ("observation", "action_names", "frames_per_step", "success"):
        assert getattr(noisy.spec, name) == getattr(other.spec, name)
    assert noisy.spec.tasks == ("MultiRoomNoisyTV-N7-S4",)
    now = noisy.reset()
    for action in (2, 0, 2, 1, 2):
        before = now.info["position"].clone()
        now = noisy.step(torch.tensor([action] * 2))
        assert ((now.info["position"] - before).abs().sum(1) <= (action == 2)).all()
        x, y = now.info["position"].long().unbind(1)
        assert torch.equal(now.info["cell"], x + 25 * y)

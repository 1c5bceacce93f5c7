"""Success is there where a task has a goal, and nowhere else."""

import json

import pytest

import morello
from morello.agents.config.config import Config
from morello.agents.evaluation.evaluate import evaluate
from morello.agents.evaluation.policies import oracle_policy, random_policy
from morello.agents.storage.config_file import spec_from_json, spec_to_json
from morello.agents.training.train import train
from morello.envs.adapters.gridworld import known_tasks
from morello.envs.adapters.vizdoom import SCENARIOS, task
from morello.envs.goals import has_goal
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.maps import plan


def test_gymnasiums_names():
    for name in (
        "FrozenLake-v1",
        "FrozenLake8x8-v1",
        "Taxi-v3",
        "LunarLander-v3",
        "MiniGrid-Empty-5x5-v0",
        "minigrid:BabyAI-GoToObj-v0",
        "MiniWorld-Hallway-v0",
        "MiniGrid-MultiRoomNoisyTV-N7-S4-v0",
    ):
        assert has_goal(name), name
    # Where every end, or every step, pays or costs alike; or where nothing ends.
    for name in (
        "CartPole-v1",
        "MountainCar-v0",
        "Acrobot-v1",
        "CliffWalking-v1",
        "Blackjack-v1",
        "tests.support.worlds:Odd-v0",
        "MiniGrid-Playground-v0",
        "MiniWorld-CollectHealth-v0",
        "MiniWorld-RoomObjects-v0",
        "NotFrozenLake-v1",
    ):
        assert not has_goal(name), name


def test_levels_that_a_reward_ends():
    found = {name: Labyrinth([name], frame_size=(3, 3)).spec.success for name in LEVELS}
    vests = {name for name, level in LEVELS.items() if any(kind == "vest" for kind, *_ in plan(level).items)}
    vests |= {name for name, level in LEVELS.items() if level.goal and level.goal.kind == "vest"}
    assert {name for name in LEVELS if name.startswith(("my_way_home", "recall"))} <= vests
    assert found == {name: (name in vests,) for name in LEVELS}
    assert Labyrinth(["my_way_home_dense", "my_way_home_sparse"]).spec.success == (True, True)


def test_scenarios_with_something_to_win():
    sizes = {"frame_size": (5, 7), "frame_stack": 1, "action_repeat": 4}
    found = {name for name in SCENARIOS if task(name, **sizes).goal}
    assert found == {"Basic", "SimplerBasic", "RocketBasic", "MyWayHome"}


def test_gridworlds():
    goals = {name: morello.envs.adapters.gridworld.task(name).goal for name in known_tasks()}
    assert [name for name, goal in goals.items() if goal is False] == ["Playground"]


@pytest.mark.parametrize("name", ["minigrid:Empty-5x5", "gym:MiniGrid-Empty-5x5-v0", "gym:FrozenLake-v1"])
def test_environments_that_have_a_goal_say_so(name):
    assert morello.make(name, 2).spec.success == (True,)


@pytest.mark.parametrize("name", ["gym:CartPole-v1", "counting:steps", "labyrinth:seekavoid_arena_01"])
def test_environments_without_one_do_not(name):
    assert not any(morello.make(name, 2).spec.success)


def test_a_goal_reached_is_a_success_and_the_wrong_arm_is_none():
    env = morello.make("labyrinth:recall_left", 4, frame_size=(3, 5))
    assert evaluate(oracle_policy(env), env, 4).success == 1
    played = evaluate(random_policy(env.spec), env, 60)
    assert played.success == pytest.approx((played.returns == 1).mean())
    assert 0 < played.success < played.terminated.mean()


def test_falling_is_no_success():
    env = morello.make("gym:CartPole-v1", 4)
    played = evaluate(random_policy(env.spec), env, 8)
    assert played.terminated.all()
    assert played.success is None
    assert "success" not in played.as_dict()


def test_records_hold_success_only_where_it_is_defined(tmp_path):
    def keys(env):
        config = Config(env=env, steps=2400, num_envs=4, unroll=20, log_every=600, threads=1, quiet=True)
        run = train(config, run=str(tmp_path / env.replace(":", "-")), eval_every=2400, eval_episodes=4)
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        return {k for line in lines for k in json.loads(line)}

    without, with_goal = keys("gym:CartPole-v1"), keys("gym:FrozenLake-v1")
    assert {"episode_return", "terminated", "eval/return"} <= without & with_goal
    assert {k for k in without | with_goal if "success" in k} == {"success", "eval/success"}
    assert not any("success" in k for k in without)


def test_specs_of_earlier_runs_define_no_success():
    spec = morello.make("counting:steps", 1).spec._replace(success=(True, False))
    data = json.loads(json.dumps(spec_to_json(spec)))
    assert spec_from_json(data) == spec
    del data["success"]
    assert spec_from_json(data) == spec._replace(success=())
    with pytest.raises(ValueError, match="2 tasks, and for 1"):
        spec_from_json(data | {"success": [True]})

"""Evaluation: the right episodes, the agent as it was in training, nothing disturbed."""

import io
import json
import warnings

import numpy as np
import pytest
import torch
from rich.console import Console

import morello
from morello.agents.agent import Agent
from morello.agents.evaluation.command import EvalFlags, eval_run
from morello.agents.evaluation.environments import environment_for
from morello.agents.evaluation.evaluate import batch_size, evaluate
from morello.agents.evaluation.policies import agent_policy, oracle_policy, random_policy
from morello.agents.evaluation.references import evaluate_agent, recorded_references
from morello.agents.model import ActorCritic
from morello.agents.storage import checkpoint
from morello.agents.storage.config_file import CHECKPOINTS
from morello.agents.storage.run_folder import Run
from morello.envs.errors import UserError
from morello.envs.experience import Spec, Timestep
from morello.envs.labyrinth.levels import recorded_scores
from morello.envs.vector_env import VectorEnv


class Schedule(VectorEnv):
    """Environment b's episodes last ``lengths[b][e]`` steps (the list over and over); the reward of a step is
    the number of the episode + 1, and of the last one ``bonus[b]``; odd environments run out of time.
    """

    def __init__(self, lengths, bonus):
        self.lengths, self.bonus, self.num_envs = lengths, bonus, len(lengths)
        self.spec = Spec({"vector": ((2,), torch.float32)}, 3, ("a", "b", "c"), ("one", "two"), 1, None, False)
        self.seeds = []

    def reset(self, seed=None, mask=None):
        self.seeds.append(seed)
        self.episode, self.age = [0] * self.num_envs, [0] * self.num_envs
        return self.answer([0.0] * self.num_envs)

    def length(self, b):
        return self.lengths[b][self.episode[b] % len(self.lengths[b])]

    def step(self, action, out=None):
        rewards = []
        for b in range(self.num_envs):
            if self.age[b] == self.length(b):
                self.age[b], self.episode[b] = 0, self.episode[b] + 1
                rewards.append(float("nan"))  # belongs to nobody
            else:
                self.age[b] += 1
                rewards.append(self.bonus[b] if self.age[b] == self.length(b) else self.episode[b] + 1.0)
        return self.answer(rewards)

    def answer(self, rewards):
        B = range(self.num_envs)
        last = torch.tensor([self.age[b] == self.length(b) for b in B])
        over = last & torch.tensor([b % 2 == 0 for b in B])
        return Timestep(
            {"vector": torch.tensor([[self.episode[b], self.age[b]] for b in B], dtype=torch.float32)},
            torch.tensor(rewards),
            torch.where(over, 0.0, 1.0),
            torch.tensor([self.age[b] == 0 for b in B]),
            last,
            torch.tensor([b % 2 for b in B]),
            {},
        )


LENGTHS = [[2, 17, 3, 11], [5], [13, 1, 7]]
BONUS = [10.0, 20.0, -30.0]


def test_each_environment_plays_the_same_number_and_those_count():
    result = evaluate(random_policy(Schedule(LENGTHS, BONUS).spec), Schedule(LENGTHS, BONUS), episodes=10)
    played = [(b, e, LENGTHS[b][e % len(LENGTHS[b])]) for b in range(3) for e in range(4)]  # 10 / 3 rounded up
    assert result.lengths.tolist() == [n for _, _, n in played]
    assert result.returns.tolist() == [(n - 1) * (e + 1) + BONUS[b] for b, e, n in played]
    assert result.terminated.tolist() == [b % 2 == 0 for b, _, _ in played]
    assert result.successes.tolist() == [b == 0 for b, _, _ in played]  # environment 2 terminates on a penalty
    assert result.task.tolist() == [b % 2 for b, _, _ in played]
    # The first twelve to finish anywhere would have been other, shorter episodes.
    finish = sorted(
        (sum(LENGTHS[b][i % len(LENGTHS[b])] + 1 for i in range(e + 1)), LENGTHS[b][e % len(LENGTHS[b])])
        for b in range(3)
        for e in range(12)
    )
    assert np.mean([n for _, n in finish[:12]]) < 0.9 * result.lengths.mean()


def test_the_seed_reaches_the_environment_and_the_counting_one_is_counted():
    env = morello.make("counting:steps", 5)
    result = evaluate(random_policy(env.spec), env, episodes=10, seed=3)
    length = [3 + (5 * i) % 7 for i in range(5) for _ in range(2)]
    index = [i for i in range(5) for _ in range(2)]
    assert result.lengths.tolist() == length
    assert result.returns.tolist() == [
        sum(100 * (i + 1) + s for s in range(1, n + 1)) for i, n in zip(index, length, strict=True)
    ]
    schedule = Schedule(LENGTHS, BONUS)
    evaluate(random_policy(schedule.spec), schedule, episodes=1, seed=41)
    assert schedule.seeds == [41]


def test_what_never_ends_is_said():
    schedule = Schedule([[1000], [3]], [0.0, 0.0])
    with pytest.raises(UserError, match=r"only 2 of 4 episodes ended in 30 steps .*15 steps .*--eval-limit.*--limit"):
        evaluate(random_policy(schedule.spec), schedule, episodes=3, limit=15)
    schedule.spec = schedule.spec._replace(max_steps=1000)  # its own limit is longer, and is waited for
    assert evaluate(random_policy(schedule.spec), schedule, episodes=3, limit=15).lengths.tolist() == [1000, 1000, 3, 3]
    with pytest.raises(UserError, match="at least 1 episode"):
        evaluate(random_policy(schedule.spec), schedule, episodes=0)


@pytest.mark.parametrize(
    ("episodes", "tasks", "limit"), [(1, 1, 64), (100, 1, 64), (97, 1, 64), (100, 3, 64), (5, 7, 64), (1000, 2, 10)]
)
def test_batch_sizes_waste_little_and_serve_every_task(episodes, tasks, limit):
    size = batch_size(episodes, tasks, limit)
    rounds = -(-episodes // size)
    assert size % tasks == 0
    assert size <= max(limit + tasks - 1, tasks)
    assert episodes <= rounds * size < episodes + tasks * rounds + rounds


def spec(actions=5):
    names = tuple(f"act_{a}" for a in range(actions))
    return Spec({"vector": ((5,), torch.float32)}, actions, names, ("x",), 1, None, True)


def counting_model(seed=0, memory="lstm"):
    """For the counting environment's vector; its image is too small for a convolution."""
    torch.manual_seed(seed)
    model = ActorCritic(spec(3), memory=memory, memory_size=11)
    model.policy.weight.data.mul_(300)  # so that actions follow from what is seen and remembered
    return model


class Vectors(VectorEnv):
    """An environment without its image."""

    def __init__(self, env):
        self.env, self.num_envs, self.seen = env, env.num_envs, []
        self.spec = env.spec._replace(observation={"vector": env.spec.observation["vector"]})

    def only(self, timestep):
        timestep = timestep._replace(observation={"vector": timestep.observation["vector"] / 100})
        self.seen.append(timestep)
        return timestep

    def reset(self, seed=None, mask=None):
        return self.only(self.env.reset(seed, mask))

    def step(self, action, out=None):
        return self.only(self.env.step(action))


def test_the_agent_policy_is_the_model_unrolled():
    """Memory, previous action and previous reward go from step to step as in training, across resets too."""
    model, env = counting_model(), Vectors(morello.make("counting:steps", 5))
    policy, actions, logits = agent_policy(model, 5, seed=7), [], []
    timestep = env.reset()
    for _ in range(29):
        actions.append(policy(timestep))
        logits.append(policy.output.logits[0])
        timestep = env.step(actions[-1])
    seen = env.seen[:29]
    assert sum(int(t.first.sum()) for t in seen[1:]) > 10
    before = torch.stack([torch.full((5,), -1), *actions[:-1]])
    with torch.no_grad():
        out = model(
            {"vector": torch.stack([t.observation["vector"] for t in seen])},
            torch.stack([t.first for t in seen]),
            model.initial_state(5).memory,
            before,
            torch.stack([t.reward for t in seen]),
        )
    torch.testing.assert_close(torch.stack(logits), out.logits)
    assert len(torch.stack(actions).unique()) > 1


def test_sampling_follows_the_policy_and_its_seed_and_greedy_takes_the_best():
    model = ActorCritic(spec())
    model.policy.weight.data.zero_()
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])
    model.policy.bias.data.copy_(probabilities.log())
    B = 1009
    step = Timestep(
        {"vector": torch.randn(B, 5)},
        torch.zeros(B),
        torch.ones(B),
        torch.ones(B, dtype=torch.bool),
        torch.zeros(B, dtype=torch.bool),
        torch.zeros(B, dtype=torch.int64),
        {},
    )
    policy = agent_policy(model, B, seed=5)
    drawn = torch.cat([policy(step) for _ in range(20)])
    share = torch.bincount(drawn, minlength=5) / len(drawn)
    torch.testing.assert_close(share, probabilities, rtol=0, atol=4 * (0.25 / len(drawn)) ** 0.5)
    again = agent_policy(model, B, seed=5)
    assert torch.equal(torch.cat([again(step) for _ in range(20)]), drawn)
    other = agent_policy(model, B, seed=6)
    assert not torch.equal(torch.cat([other(step) for _ in range(20)]), drawn)
    assert (agent_policy(model, B, greedy=True)(step) == 1).all()
    chance = random_policy(spec(), seed=2)
    share = torch.bincount(torch.cat([chance(step) for _ in range(20)]), minlength=5) / len(drawn)
    torch.testing.assert_close(share, torch.full((5,), 0.2), rtol=0, atol=4 * (0.16 / len(drawn)) ** 0.5)


def test_evaluation_disturbs_nothing():
    model = counting_model().train()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    generators = torch.get_rng_state(), np.random.get_state()[1].copy()
    env = Vectors(morello.make("counting:steps", 3))
    evaluate(agent_policy(model, 3), env, episodes=4)
    evaluate(random_policy(env.spec), env, episodes=4)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.array_equal(np.random.get_state()[1], generators[1])
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def counting_agent():
    """One that sees the counting environment's image and vector, enlarged for its convolutions."""
    env = morello.make("counting:steps", 2, frame_size=(41, 43))
    torch.manual_seed(0)
    model = ActorCritic(env.spec, torso="shallow", memory_size=7)
    config = {
        "env": "counting:steps",
        "preset": "a2c",
        "seed": 0,
        "torso": "shallow",
        "memory": "none",
        "memory_size": 7,
        "frame_size": [41, 43],
        "dtype": "float32",
    }
    return Agent(model, env.spec, config, 1234)


def test_an_agent_is_scored_beside_chance_where_it_was_trained():
    heard = []
    scores = evaluate_agent(counting_agent(), episodes=6, tell=heard.append)
    assert list(scores) == ["agent", "random"]
    assert len(scores["agent"].returns) == 6
    assert scores["agent"].returns.tolist() == scores["random"].returns.tolist()  # whoever plays, it counts
    assert heard == ["6 episodes of counting:steps: agent", "6 episodes of counting:steps: random"]
    with pytest.raises(UserError, match="counting:steps has no oracle"):
        evaluate_agent(counting_agent(), episodes=2, play_references=True)


def test_references_are_those_recorded_for_every_task():
    one, two = (recorded_scores(level) for level in ("seekavoid_arena_01", "nav_maze_static_01"))
    known = recorded_references(
        "labyrinth:seekavoid_arena_01+nav_maze_static_01", ("seekavoid_arena_01", "nav_maze_static_01")
    )
    assert list(known) == ["random", "oracle"]
    assert known["oracle"].by_task()["nav_maze_static_01"].low == two["oracle"]["low"]
    assert known["random"].mean == pytest.approx((one["random"]["mean"] + two["random"]["mean"]) / 2)
    assert known["oracle"].mean > 10 * known["random"].mean
    assert recorded_references("labyrinth:nowhere", ("nowhere",)) == {}
    assert recorded_references("counting:steps", ("terminates",)) == {}


def test_the_oracle_of_a_level_plays():
    env = morello.make("labyrinth:seekavoid_arena_01", 2, frame_size=(3, 5))
    policy, timestep, total = oracle_policy(env), env.reset(), 0.0
    for _ in range(12):
        timestep = env.step(policy(timestep))
        total += float(timestep.reward.sum())
    assert total >= 2  # straight to the apples


def test_an_agent_is_not_sent_where_it_does_not_fit():
    agent = counting_agent()
    assert environment_for(agent, num_envs=3).spec == agent.spec
    agent.config["frame_size"] = [41, 45]
    with pytest.raises(UserError, match=r"images of \[41, 45\]; it was trained on image \[41, 43, 3\] .* 3 actions"):
        environment_for(agent)


def test_eval_writes_into_the_run_what_it_shows(tmp_path):
    agent = counting_agent()
    with Run.create(tmp_path / "run", dict(agent.config), agent.spec) as run:
        checkpoint.save(run.path / CHECKPOINTS, 1234, {"learner": {"model": agent.model.state_dict()}}, keep=1)
    console = Console(width=120, record=True, file=io.StringIO())
    assert eval_run(EvalFlags(str(run.path), episodes=4, device="cpu"), console) == 0
    text, data = console.export_text(), json.loads((run.path / "evaluation.json").read_text())
    assert "counting:steps after 1,234 steps" in text
    assert f"{data['agent']['mean']:.1f}" in text
    assert "evaluation.json" in text
    assert data["step"] == 1234
    assert data["env"] == "counting:steps"
    assert data["agent"]["episodes"] == data["random"]["episodes"] == 4
    with pytest.raises(UserError, match="is not a run"):
        eval_run(EvalFlags(str(tmp_path), device="cpu"), console)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_has_a_range(tmp_path, seed):
    with pytest.raises(UserError, match="--seed must be"):
        eval_run(EvalFlags(run=str(tmp_path), seed=seed))


def test_an_episode_in_which_the_environment_broke_is_no_score():
    env = morello.make("gym:tests.support.gymnasium_worlds:Faulty-v0", 2, restart_envs=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(random_policy(env.spec), env, 6, seed=0)
    assert sum(env.restarts) >= 1
    assert found.returns.tolist() == [5.0] * 6  # the one that broke had 1


def test_environments_are_closed_after_an_evaluation(monkeypatch):
    closed = []
    name = "morello.envs.counting.Counting.close"
    monkeypatch.setattr(name, lambda self: closed.append(self.num_envs), raising=False)
    evaluate_agent(counting_agent(), 3)
    assert len(closed) == 1

"""Replayed unrolls in the policy's batch, against V-trace written apart."""

import copy
from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.config.build import build
from morello.agents.config.config import Config
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.replay import Replay, ReplayConfig
from morello.auxiliaries import IntrinsicReward, Scored
from morello.envs.errors import UserError

from ..support.oracles import episodes, vtrace_sum
from ..support.plugins import weighed

B, T, WEIGHT, BONUS_GAMMA = 7, 11, 0.6, 0.7
CONFIG = LearnerConfig(
    gamma=0.9, lambda_=0.9, c_bar=0.8, learning_rate=0.01, max_grad_norm=1e9, constant_rate=True, reward="clip"
)


class Aging(IntrinsicReward):
    """Pays for the step in the episode, and more with each rollout: scored again, it would be another reward."""

    def __init__(self):
        super().__init__(self.Config(normalise="none", episodic=True))
        self.scored = 0

    def score(self, rollout, features, state):
        return Scored(rollout.info["cell"][1:] / 7 + self.scored)

    def observe(self, rollout, features, scored):
        self.scored += 1


class Recorded(Replay):
    """Keeps what it has handed out last."""

    def unrolls(self, *arguments):
        self.asked, self.sample = arguments, super().unrolls(*arguments)
        return self.sample


class Everything(Replay):
    """Hands out what was added last, as it is."""

    def add(self, rollout):
        self.fresh = rollout

    def unrolls(self, *arguments):
        return self.fresh


def parts(kind=Recorded, memory="gru", config=CONFIG, **options):
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13, streams=("extrinsic", "bonus"))
    actor = Actor(env, model, T, seed=0)
    bonus = weighed(Aging(), WEIGHT, gamma=BONUS_GAMMA)
    example = actor.rollout._replace(intrinsic={"bonus": actor.rollout.reward})
    replay = kind(example, ReplayConfig(**options))
    return actor, bonus, replay, Learner(model, config, 10**6, plugins={"bonus": bonus}, replay=replay)


@pytest.mark.parametrize(("memory", "advantage"), [("none", "raw"), ("gru", "raw"), ("none", "running")])
def test_a_replay_of_the_fresh_rollout_changes_nothing(memory, advantage):
    config = replace(CONFIG, advantage=advantage)
    actor, _, _, learner = parts(Everything, memory, config, policy=0.5)
    twin, bonus = copy.deepcopy(learner.model), weighed(Aging(), WEIGHT, gamma=BONUS_GAMMA)
    rollout = actor.collect()
    learner.step(rollout)
    Learner(twin, config, 10**6, plugins={"bonus": bonus}).step(rollout)
    assert learner.streams.advantages.count == rollout.valid.sum() * (advantage == "running")
    for mine, its in zip(learner.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-6, rtol=1e-3)


def test_a_replayed_rollout_does_not_count_in_the_size_of_a_streams_advantages():
    actor, bonus, _, _ = parts(Everything, "none", policy=0.5)
    bonus = weighed(Aging(), WEIGHT, gamma=BONUS_GAMMA, normalise="advantage")
    learner = Learner(actor.model, CONFIG, 10**6, plugins={"bonus": bonus}, replay=parts(Everything, policy=0.5)[2])
    rollout = actor.collect()
    learner.step(rollout)
    assert not rollout.valid.all()
    assert learner.streams.normalisers["bonus"].advantages.count == rollout.valid.sum()


def terms(model, rollout, rewards, log_rho, out):
    """Sums over the valid rows, one environment and episode at a time, and the number of these rows."""
    total, rows = 0.0, 0
    shared = {"extrinsic": (CONFIG.gamma, 1.0), "bonus": (BONUS_GAMMA, WEIGHT)}
    steps, columns = rollout.action.shape
    options = {"rho_bar": CONFIG.rho_bar, "c_bar": CONFIG.c_bar, "lambda_": CONFIG.lambda_}
    for b in range(columns):
        for begin, end in episodes(rollout.last[:, b].tolist()):
            advantages = [0.0] * (end - begin)
            for name, (gamma, weight) in shared.items():
                value = out.value[name][:, b]
                discount = [gamma * float(x) for x in rollout.discount[begin:end, b]]
                target, part = vtrace_sum(
                    log_rho[begin:end, b].tolist(),
                    rewards[name][begin:end, b].tolist(),
                    discount,
                    value[begin : end + 1].tolist(),
                    **options,
                )
                advantages = [x + weight * y for x, y in zip(advantages, part, strict=True)]
                error = (torch.tensor(target) - value[begin:end]).square().sum() / 2
                total = total + 0.5 * error
            log_pi = out.logits[begin:end, b].log_softmax(-1)
            taken = log_pi[torch.arange(end - begin), rollout.action[begin:end, b]]
            total = total - (taken * torch.tensor(advantages)).sum()
            total = total + CONFIG.entropy_cost * (log_pi.exp() * log_pi).sum()
            rows += end - begin
    assert rows < steps * columns
    return total, rows


def log_pi_of(logits, action):
    return logits[: len(action)].log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1).detach()


@pytest.mark.parametrize(("share", "columns"), [(0.5, 7), (0.75, 21), (0.3, 3)])
@pytest.mark.parametrize("burn_in", [0, 3])
def test_replayed_unrolls_are_corrected_for_who_acted_and_keep_their_rewards(share, columns, burn_in):
    actor, bonus, replay, learner = parts(policy=share, burn_in=burn_in, capacity=4 * B * T)
    model, paid = learner.model, {}
    for number in range(4):
        rollout = actor.collect()
        places = rollout.observation["vector"][1:]  # environment, episode and step are in it
        for t, b in rollout.valid.nonzero().tolist():
            paid[tuple(places[t, b, 1:4].tolist())] = rollout.info["cell"][t + 1, b].item() / 7 + number
        twin = copy.deepcopy(model)
        learner.step(rollout)
        assert bonus.scored == number + 1
    reader, ratio = replay.asked
    assert reader == "policy"
    assert ratio == pytest.approx(share / (1 - share))
    past = replay.sample
    assert past.action.shape == (T, columns)
    seen = past.observation["vector"][1:]
    for t, b in past.valid.nonzero().tolist():
        assert past.intrinsic["bonus"][t, b].item() == pytest.approx(paid[tuple(seen[t, b, 1:4].tolist())], rel=1e-5)
    with torch.no_grad():
        warm = twin.unroll(past)
    now = twin.unroll(rollout, {"bonus": WEIGHT**2})
    zeros = torch.zeros_like(rollout.reward)
    fresh = {"extrinsic": rollout.reward.clamp(-1, 1), "bonus": rollout.info["cell"][1:] / 7 + 3}
    total, rows = terms(twin, rollout, fresh, zeros, now)
    if burn_in:
        past = cut(twin, past, burn_in)
    out = twin.unroll(past, {"bonus": WEIGHT**2})
    torch.testing.assert_close(out.logits, warm.logits[burn_in:], atol=1e-5, rtol=1e-4)
    log_rho = log_pi_of(out.logits, past.action) - log_pi_of(past.logits, past.action)
    assert (log_rho[past.valid].abs() > 0.01).any()
    replayed = {"extrinsic": past.reward.clamp(-1, 1), "bonus": past.intrinsic["bonus"]}
    more, others = terms(twin, past, replayed, log_rho, out)
    ((total + more) / (rows + others)).backward()
    for (name, mine), its in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=3e-5, rtol=2e-3, msg=lambda m, n=name: f"{n}: {m}")


def cut(model, rollout, rows):
    """The rest of a rollout, from the memory that the present weights have after its first rows."""
    before = torch.cat([rollout.state.action[None], rollout.action])[:rows]
    paid = torch.cat([rollout.state.reward[None], rollout.reward])[:rows]
    seen = {k: v[:rows] for k, v in rollout.observation.items()}
    with torch.no_grad():
        memory = model(seen, rollout.first[:rows], rollout.state.memory, before, paid).memory
    state = rollout.state._replace(memory=memory, action=rollout.action[rows - 1], reward=rollout.reward[rows - 1])
    fields = {k: getattr(rollout, k)[rows:] for k in ("first", "last", "task", "skill", "action", "logits", "reward")}
    observation = {k: v[rows:] for k, v in rollout.observation.items()}
    intrinsic = {k: v[rows:] for k, v in rollout.intrinsic.items()}
    return rollout._replace(
        **fields, discount=rollout.discount[rows:], observation=observation, intrinsic=intrinsic, state=state
    )


def test_without_a_share_nothing_is_replayed():
    actor, _, replay, learner = parts()
    learner.step(actor.collect())
    assert not hasattr(replay, "sample")


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"minibatches": 2}, {"epochs": 3, "minibatches": 5}])
def test_several_updates_are_refused(changes):
    with pytest.raises(ValueError, match=r"--replay\.policy goes with one update per rollout"):
        parts(config=replace(CONFIG, **changes), policy=0.5)
    few = Config(env="counting:steps", num_envs=B, unroll=T, frame_size=(36, 44), device="cpu", threads=1)
    with pytest.raises(UserError, match=r"--replay\.policy goes with .* set --epochs and --minibatches to 1\.$"):
        build(replace(few, learner=replace(CONFIG, **changes), replay=ReplayConfig(policy=0.5)))


def test_a_replay_without_a_place_for_a_reward_is_refused():
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", streams=("extrinsic", "bonus"))
    replay = Replay(Actor(env, model, T).rollout, ReplayConfig(policy=0.5))
    with pytest.raises(ValueError, match="The replay has no place for the reward of 'bonus'"):
        Learner(model, CONFIG, 10**6, plugins={"bonus": weighed(Aging(), WEIGHT)}, replay=replay)
    Learner(model, CONFIG, 10**6, plugins={"bonus": weighed(Aging(), 0.0)}, replay=replay)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_run_replays_its_policy_with_a_reward(weight):
    config = Config(env="counting:steps", num_envs=B, unroll=T, frame_size=(36, 44), device="cpu", threads=1)
    parts = build(replace(config, replay=ReplayConfig(policy=0.4)), {"bonus": weighed(Aging(), weight)})
    for _ in range(3):
        assert parts.learner.step(parts.actor.collect())["finite"] == 1
    assert parts.learner.replay.rewards == ({"bonus"} if weight else set())

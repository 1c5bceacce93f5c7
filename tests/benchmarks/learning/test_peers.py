"""The peer's settings, derived from ours, and its network."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from morello.agents.config.build import network
from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.agents.learner_config import LearnerConfig
from morello.benchmarks.learning.episodes import EpisodeLog
from morello.benchmarks.learning.peers import PPO, RECURRENT_PPO, described, differences, peer_of, peer_settings
from morello.envs import make
from morello.envs.errors import UserError

ENV = "labyrinth:seekavoid_arena_01"


@dataclasses.dataclass(frozen=True)
class PPOLearner(LearnerConfig):
    """A learner with the settings of PPO, whether ours has them or not."""

    optimizer: str = "adam"
    epsilon: float = 3e-6
    lambda_: float = 0.9
    epochs: int = 3
    minibatches: int = 7
    clip: float | None = 0.3
    advantage: str = "standardised"
    value_clip: float | None = None
    target_kl: float | None = 0.03


def config(**changes):
    learner = LearnerConfig(gamma=0.97, entropy_cost=0.006)
    values = {"env": ENV, "num_envs": 32, "unroll": 10, "frame_size": (32, 64), "torso": "shallow", "threads": 1}
    return dataclasses.replace(Config(**values, learner=learner, device="cpu", dtype="float32"), **changes)


def test_an_agent_that_is_no_ppo_meets_a_ppo_of_known_settings():
    found = dataclasses.asdict(peer_settings(config()))
    assert found == {
        "num_envs": 32,
        "gamma": 0.97,
        "entropy_cost": 0.006,
        "final_entropy_cost": None,
        "unroll": 64,
        "epochs": 4,
        "minibatch": 512,
        "learning_rate": 5e-4,
        "constant_rate": True,
        "adam_epsilon": 1e-5,
        "gae_lambda": 0.95,
        "clip": 0.2,
        "value_clip": None,
        "value_cost": 0.5,
        "max_grad_norm": 0.5,
        "normalise_advantage": True,
        "target_kl": None,
    }
    assert peer_settings(config(num_envs=3)).minibatch == 192  # the whole rollout


def test_a_ppo_meets_a_ppo_of_its_own_settings():
    learner = PPOLearner(gamma=0.9, entropy_cost=0.01, value_cost=0.8, max_grad_norm=0.7, learning_rate=2e-4)
    found = peer_settings(config(unroll=35, num_envs=6, learner=learner))
    assert (found.num_envs, found.unroll, found.epochs, found.minibatch) == (6, 35, 3, 30)
    assert (found.gamma, found.gae_lambda, found.clip, found.value_clip) == (0.9, 0.9, 0.3, None)
    assert (found.learning_rate, found.constant_rate, found.adam_epsilon) == (2e-4, False, 3e-6)
    assert (found.value_cost, found.entropy_cost, found.max_grad_norm) == (0.4, 0.01, 0.7)
    assert found.normalise_advantage
    assert found.target_kl == pytest.approx(0.02)
    assert peer_settings(config(unroll=35, learner=learner), own=True) == peer_settings(
        config(unroll=35, learner=LearnerConfig(gamma=0.9, entropy_cost=0.01))
    )
    raw = dataclasses.replace(learner, advantage="raw")
    assert not peer_settings(config(learner=raw)).normalise_advantage
    with pytest.raises(UserError, match="--optimizer adam"):
        peer_settings(config(learner=dataclasses.replace(learner, optimizer="rmsprop")))


def test_the_peer_has_memory_if_our_agent_has(monkeypatch):
    pytest.importorskip("sb3_contrib")
    assert peer_of(config()) == PPO
    assert peer_of(config(memory="lstm")) == peer_of(config(memory="gru")) == RECURRENT_PPO
    assert described(config(memory="gru", memory_size=37)).items() >= {"memory": "lstm", "memory_size": 37}.items()
    assert described(config())["memory"] == "none"


@pytest.mark.parametrize(("missing", "memory"), [("stable_baselines3", "none"), ("sb3_contrib", "lstm")])
def test_a_missing_peer_names_the_extra(monkeypatch, missing, memory):
    monkeypatch.setattr("morello.benchmarks.learning.peers.find_spec", lambda name: None if name == missing else name)
    with pytest.raises(UserError, match=rf"{missing} is not installed: pip install 'morello\[peers\]'.*--peers none"):
        peer_of(config(memory=memory))


def test_what_differs_is_said():
    assert len(differences(config())) == 1
    said = " ".join(differences(config(dtype="bfloat16", memory="lstm", aux={"cpc": object()})))
    assert all(word in said for word in ("bfloat16", "LSTM", "auxiliary", "previous action"))
    assert len(differences(config(memory="lstm"))) == 2
    assert "gru" in differences(config(memory="gru"))[-1]


class Harness:
    """The peer of a small agent, built but not trained."""

    def __init__(self, **changes):
        from morello.benchmarks.learning import sb3

        self.config = resolve(config(num_envs=3, **changes))
        self.env = make(ENV, 3, frame_size=(32, 64))
        self.log = EpisodeLog(3)
        self.vec = sb3.LoggedVecEnv(self.env, self.config, self.log)
        self.agent = sb3.peer(self.config, self.vec)


@pytest.mark.parametrize("torso", ["shallow", "deep"])
def test_the_network_is_our_torso_and_two_linear_heads(torso):
    pytest.importorskip("stable_baselines3")
    built = Harness(torso=torso)
    policy, ours = built.agent.policy, network(built.config, built.env.spec)
    E, A = ours.encoder.size, built.env.spec.num_actions
    torso_size = sum(p.numel() for p in ours.encoder.parameters())
    assert sum(p.numel() for p in policy.parameters()) == torso_size + (E + 1) * A + (E + 1)
    images = torch.randint(0, 256, (7, 32, 64, 3), dtype=torch.uint8)
    policy.features_extractor.torso.load_state_dict(ours.encoder.torsos["image"].state_dict())
    theirs = policy.extract_features(images.permute(0, 3, 1, 2))
    mine = ours.encoder({"image": images.unsqueeze(0)})[1].squeeze(0)
    assert torch.allclose(theirs, mine, atol=1e-5)
    assert mine.std() > 0.01


def test_initial_weights_have_the_scale_of_ours():
    """A residual block begins small; the library would have set every gain to the root of 2."""
    pytest.importorskip("stable_baselines3")
    built = Harness(torso="deep")
    ours = dict(network(built.config, built.env.spec).encoder.torsos["image"].named_parameters())
    theirs = dict(built.agent.policy.features_extractor.torso.named_parameters())
    assert theirs.keys() == ours.keys()
    for name, weight in theirs.items():
        assert torch.allclose(weight.norm(), ours[name].norm(), rtol=1e-4), name


def test_a_recurrent_peer_has_an_lstm_of_our_size():
    pytest.importorskip("sb3_contrib")
    policy = Harness(memory="lstm", memory_size=37).agent.policy
    assert (policy.lstm_actor.input_size, policy.lstm_actor.hidden_size) == (256, 37)
    assert policy.action_net.in_features == policy.value_net.in_features == 37


def test_the_settings_arrive():
    pytest.importorskip("stable_baselines3")
    learner = PPOLearner(gamma=0.9, value_cost=0.8, learning_rate=2e-4, entropy_cost=0.02, max_grad_norm=0.7)
    harness = Harness(unroll=14)
    from morello.benchmarks.learning import sb3

    agent = sb3.peer(dataclasses.replace(harness.config, learner=learner), harness.vec)
    assert (agent.n_steps, agent.batch_size, agent.n_epochs) == (14, 6, 3)
    assert (agent.gamma, agent.gae_lambda, agent.clip_range(1.0), agent.clip_range_vf) == (0.9, 0.9, 0.3, None)
    assert (agent.ent_coef, agent.vf_coef, agent.max_grad_norm) == (0.02, 0.4, 0.7)
    assert (agent.lr_schedule(1.0), agent.lr_schedule(0.25)) == (2e-4, 0.5e-4)
    assert agent.normalize_advantage
    assert agent.policy.optimizer.defaults["eps"] == 3e-6
    assert isinstance(agent.policy.optimizer, torch.optim.Adam)
    assert harness.agent.lr_schedule(0.25) == 5e-4


def test_the_entropy_cost_moves_as_ours_does():
    pytest.importorskip("stable_baselines3")
    from morello.benchmarks.learning import sb3

    agent = SimpleNamespace(num_timesteps=0, _total_timesteps=1000, ent_coef=0.02)
    falling = sb3.Updates(SimpleNamespace(steps=0), LearnerConfig(entropy_cost=0.02, final_entropy_cost=0.004))
    falling.model, found = agent, []
    for steps in (0, 250, 1000):
        agent.num_timesteps = steps
        falling._on_rollout_start()
        found.append(agent.ent_coef)
    assert found == pytest.approx([0.02, 0.016, 0.004])
    constant = sb3.Updates(SimpleNamespace(steps=0), LearnerConfig(entropy_cost=0.02))
    constant.model, agent.ent_coef = agent, 0.5
    constant._on_rollout_start()
    assert agent.ent_coef == 0.5


def test_the_log_has_true_returns_where_the_learner_has_others(monkeypatch):
    pytest.importorskip("stable_baselines3")
    harness = Harness()
    learner = dataclasses.replace(harness.config.learner, reward="sign", timeout_terminates=True)
    harness.vec.learner = learner
    row = [[5.0, -3.0, 0.0], [True, False, True]]

    def answer(self, action):
        infos = [{"TimeLimit.truncated": True}, {}, {"TimeLimit.truncated": False}]
        return None, np.array(row[0], np.float32), np.array(row[1]), infos

    monkeypatch.setattr("morello.benchmarks.throughput.same_step.SameStep.step", answer)
    _, reward, _, infos = harness.vec.step_wait()
    assert reward.tolist() == [1.0, -1.0, 0.0]
    assert [r for _, r in harness.log.ended] == [5.0, 0.0]
    assert infos == [{"TimeLimit.truncated": False}, {}, {"TimeLimit.truncated": False}]
    harness.vec.learner = dataclasses.replace(learner, reward="raw", timeout_terminates=False)
    _, reward, _, infos = harness.vec.step_wait()
    assert reward.tolist() == row[0]
    assert infos[0] == {"TimeLimit.truncated": True}


@pytest.mark.parametrize("stagger", [False, True])
def test_first_episodes_are_staggered_as_ours_are(stagger):
    pytest.importorskip("stable_baselines3")
    harness = Harness(stagger=stagger)
    steps = harness.env.spec.max_steps
    harness.vec.reset()
    harness.vec.step_async(np.zeros(3, np.int64))
    ended = [next(i for i in itertools.count() if harness.vec.step_wait()[2].any())]
    assert ended == [steps - 2 * steps // 3 - 1 if stagger else steps - 1]

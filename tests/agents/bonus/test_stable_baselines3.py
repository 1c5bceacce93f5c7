"""The callback for Stable-Baselines3: which observations are paid for, and what its returns become."""

import gymnasium
import numpy as np
import pytest
import torch

sb3 = pytest.importorskip("stable_baselines3")

from morello.agents.bonus.stable_baselines3 import BonusCallback  # noqa: E402

STEPS, ENVS, LENGTH = 8, 2, 5


class Clock(gymnasium.Env):
    """Shows the number of the step in the episode, as an image or a vector; pays nothing."""

    def __init__(self, image=False):
        self.image = image
        box = gymnasium.spaces.Box
        self.observation_space = box(0, 255, (36, 36, 3), np.uint8) if image else box(0, 255, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def _seen(self):
        return np.full(self.observation_space.shape, 40 * self.t, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._seen(), {}

    def step(self, action):
        self.t += 1
        return self._seen(), 0.0, self.t == LENGTH, False, {}


class Kept(BonusCallback):
    """Keeps what the buffer holds after each rollout: the update reorders it."""

    def _on_rollout_end(self):
        super()._on_rollout_end()
        buffer = self.model.rollout_buffer
        names = ("rewards", "values", "advantages", "returns", "episode_starts")
        with torch.no_grad():
            self.after = self.model.policy.predict_values(torch.as_tensor(self.locals["new_obs"])).flatten().numpy()
        self.done = self.locals["dones"].copy()
        self.kept = {name: getattr(buffer, name).copy() for name in names}


def trained(callback=None, image=False, rollouts=2):
    torch.manual_seed(0)
    env = sb3.common.env_util.make_vec_env(lambda: Clock(image), ENVS)
    policy = "CnnPolicy" if image else "MlpPolicy"
    agent = sb3.PPO(policy, env, n_steps=STEPS, batch_size=STEPS * ENVS, n_epochs=1, seed=0, gae_lambda=0.9, gamma=0.8)
    agent.learn(rollouts * STEPS * ENVS, callback=callback)
    return agent


@pytest.mark.parametrize("image", [False, True])
def test_the_first_visits_of_each_life_are_paid(image):
    callback = Kept("count", weight=2.0, normalise="none")
    trained(callback, image)
    # Both environments show 1 to 4 (5, the last, is lost to the reset); steps 8 to 15 show 4, 5, 1, 2, 3, 4, 5, 1.
    seen = [4, None, 1, 2, 3, 4, None, 1]
    counts = {1: 4, 2: 4, 3: 4, 4: 2}
    for t, x in enumerate(seen):
        for b in range(ENVS):
            if x is not None:
                counts[x] += 1
            paid = 0.0 if x is None else 2 * counts[x] ** -0.5
            assert callback.kept["rewards"][t, b] == pytest.approx(paid, rel=1e-5), (t, b)


def test_returns_and_advantages_are_those_of_both_rewards():
    callback = Kept("count", normalise="none")
    trained(callback)
    kept = callback.kept
    assert (kept["rewards"] > 0).any()
    for b in range(ENVS):
        for t in range(STEPS):
            last = t == STEPS - 1
            goes_on = 1 - (callback.done[b] if last else kept["episode_starts"][t + 1, b])
            after = callback.after[b] if last else kept["values"][t + 1, b]
            delta = kept["rewards"][t, b] + 0.8 * goes_on * after - kept["values"][t, b]
            ahead = 0.0 if last else 0.8 * 0.9 * goes_on * kept["advantages"][t + 1, b]
            assert kept["advantages"][t, b] == pytest.approx(delta + ahead, abs=1e-5)
    np.testing.assert_allclose(kept["returns"], kept["advantages"] + kept["values"], rtol=1e-5)


def test_at_weight_0_nothing_changes():
    plain, other = trained().policy.state_dict(), trained(BonusCallback("rnd", weight=0.0)).policy.state_dict()
    assert all(other[k].equal(v) for k, v in plain.items())
    paid = trained(BonusCallback("count")).policy.state_dict()
    assert not all(paid[k].equal(v) for k, v in plain.items())


def test_stacked_frames_are_seen_as_such():
    class Stacked(Clock):
        def __init__(self):
            super().__init__()
            self.observation_space = gymnasium.spaces.Box(0, 255, (36, 36, 12), np.uint8)

    callback = BonusCallback("rnd", stacked=4)
    env = sb3.common.env_util.make_vec_env(Stacked, ENVS)
    sb3.PPO("CnnPolicy", env, n_steps=STEPS, batch_size=STEPS * ENVS).learn(STEPS * ENVS, callback=callback)
    assert callback.bonus.module.view.shapes == {"image": (3, 36, 36)}


def test_it_goes_on_in_another_run():
    before, anew = BonusCallback("count", normalise="none"), BonusCallback("count", normalise="none")
    trained(before)
    steps = before.bonus.steps
    on = BonusCallback("count", normalise="none", state=before.bonus.state_dict())
    trained(anew, rollouts=1)
    trained(on, rollouts=1)
    assert on.bonus.steps == steps + STEPS * ENVS
    assert on.bonus.metrics["reward"] < 0.7 * anew.bonus.metrics["reward"], "visits are remembered"


def test_recurrent_agents_learn_too():
    contrib = pytest.importorskip("sb3_contrib")
    env = sb3.common.env_util.make_vec_env(Clock, ENVS)
    callback = BonusCallback("count", normalise="none")
    agent = contrib.RecurrentPPO("MlpLstmPolicy", env, n_steps=STEPS, batch_size=STEPS * ENVS)
    agent.learn(2 * STEPS * ENVS, callback=callback)
    assert callback.bonus.calls == 2
    assert callback.bonus.metrics["reward"] > 0


@pytest.mark.parametrize("weight", [float("nan"), -1.0, "a"])
def test_a_weight_is_a_number(weight):
    with pytest.raises(Exception, match="weight has to be a finite number, 0 or more"):
        BonusCallback("count", weight=weight)

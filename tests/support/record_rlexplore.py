"""Runs rewards of RLeXplore on a made-up batch with small fixed networks and writes rlexplore.json: inputs, weights and
what it pays, for test_beside_rlexplore.py to compare.

Run by hand, where it is installed (pip install rllte-core==1.0.1): python tests/support/record_rlexplore.py
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

RECORD = Path(__file__).with_name("rlexplore.json")

LENGTHS = [[4, 5, 3], [6, 2, 4], [3, 3, 6]]
"""Steps of the episodes of each environment, which add up to the same."""
SIZE, HIDDEN, FEATURES, ACTIONS = 5, 16, 6, 4
WATCHED = 8
"""Steps that RE3 has seen before those that are scored, if it has not seen all."""
PLAIN = {"rwd_norm_type": "none", "obs_norm_type": "none", "latent_dim": FEATURES, "weight_init": "default"}


def rounded(x: torch.Tensor) -> list:
    """Numbers that float32 and the file hold alike."""
    return np.round(x.tolist(), 4).tolist()


def network(generator: torch.Generator, inputs: int, outputs: int = FEATURES) -> list:
    """Weights and biases of two layers."""
    shapes = (HIDDEN, inputs), (HIDDEN,), (outputs, HIDDEN), (outputs,)
    return [rounded(torch.randn(shape, generator=generator) / shape[-1] ** 0.5) for shape in shapes]


def loaded(weights: list) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(len(weights[0][0]), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(weights[2])))
    for parameter, values in zip(layers.parameters(), weights, strict=True):
        parameter.data = torch.tensor(values)
    return layers


class Given(nn.Module):
    """Layers in place of an encoder, of one input or of two side by side."""

    def __init__(self, weights: list) -> None:
        super().__init__()
        self.trunk = loaded(weights)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.trunk(torch.cat(x, -1))


def batch(observations: list, actions: list) -> dict[str, torch.Tensor]:
    """Transitions [steps, environments, ...], those within episodes only."""
    found: dict[str, list] = {"observations": [], "next_observations": [], "terminateds": []}
    for rows, lengths in zip(observations, LENGTHS, strict=True):
        begin, x, kept, ends = 0, torch.tensor(rows), [], []
        for length in lengths:
            kept += range(begin, begin + length)
            ends += [False] * (length - 1) + [True]
            begin += length + 1
        found["observations"].append(x[kept])
        found["next_observations"].append(x[[i + 1 for i in kept]])
        found["terminateds"].append(torch.tensor(ends))
    samples = {name: torch.stack(x, 1) for name, x in found.items()}
    action = torch.tensor(actions).T.unsqueeze(-1)
    nothing = torch.zeros(action.shape[:2])
    return samples | {"actions": action, "rewards": nothing, "truncateds": nothing.bool()}


def main() -> None:
    from gymnasium import spaces
    from rllte.xplore.reward import E3B, ICM, RE3, RND

    g = torch.Generator().manual_seed(0)
    steps, count = sum(LENGTHS[0]), len(LENGTHS)
    observations = [rounded(torch.randn(steps + len(x), SIZE, generator=g)) for x in LENGTHS]
    actions = torch.randint(ACTIONS, (count, steps), generator=g).tolist()
    weights = {name: network(g, SIZE) for name in ("target", "predictor", "encoder")}
    weights |= {"dynamics": network(g, FEATURES + ACTIONS), "inverse": network(g, 2 * FEATURES, ACTIONS)}
    samples, paid = batch(observations, actions), {}
    envs = SimpleNamespace(
        observation_space=spaces.Box(-9, 9, (SIZE,)),
        action_space=spaces.Discrete(ACTIONS),
        unwrapped=SimpleNamespace(num_envs=count),
    )

    def rnd(**settings: object) -> RND:
        reward = RND(envs, **{**PLAIN, "batch_size": 10**6, **settings})
        reward.predictor, reward.target = Given(weights["predictor"]), Given(weights["target"])
        reward.opt = torch.optim.SGD(reward.predictor.parameters(), 1.0)
        return reward

    learner = rnd()
    paid["rnd"] = learner.compute(samples)  # and one step of gradient descent at a rate of 1
    bias = learner.predictor.trunk[2].bias.detach()
    paid["rnd_scaled"] = rnd(rwd_norm_type="rms", gamma=0.9).compute(samples, sync=False)

    icm = ICM(envs, **PLAIN)
    icm.encoder, icm.fm, icm.im = Given(weights["encoder"]), Given(weights["dynamics"]), Given(weights["inverse"])
    paid["icm"] = icm.compute(samples, sync=False)

    e3b = E3B(envs, **PLAIN)
    e3b.encoder = Given(weights["encoder"])
    paid["e3b"] = e3b.compute(samples, sync=False)

    def re3(watched: int, k: int, average: bool) -> torch.Tensor:
        reward = RE3(envs, **PLAIN, storage_size=100, k=k, average_entropy=average)
        reward.random_encoder = Given(weights["encoder"]).requires_grad_(False)
        for x in samples["observations"][:watched]:
            reward.watch(x, *[None] * 5)
        later = {name: x[WATCHED:] for name, x in samples.items()}
        return reward.compute(later)

    for k in range(3):
        paid[f"re3_{k}"] = re3(WATCHED, k, False)
    paid["re3_average"] = re3(WATCHED, 3, True)
    paid["re3_itself"] = re3(steps, 1, True)

    record = {"library": "rllte-core 1.0.1", "lengths": LENGTHS, "observations": observations, "actions": actions}
    record |= {"watched": WATCHED, "weights": weights, "bias_after": bias.tolist()}
    record["paid"] = {name: x.tolist() for name, x in paid.items()}
    RECORD.write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

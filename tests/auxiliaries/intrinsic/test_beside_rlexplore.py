"""Beside RLeXplore (rllte-core 1.0.1), whose rewards were recorded on a batch with small fixed networks: what agrees to
rounding, and what it defines otherwise.
"""

import json

import torch
from torch import nn
from torch.testing import assert_close

from morello.auxiliaries.intrinsic.e3b import E3B, E3BConfig
from morello.auxiliaries.intrinsic.icm import ICM, ICMConfig
from morello.auxiliaries.intrinsic.parts.networks import perceptron
from morello.auxiliaries.intrinsic.re3 import mean_nearest
from morello.auxiliaries.intrinsic.rnd import RND, RNDConfig
from morello.auxiliaries.reduction import reduce

from ...support.record_rlexplore import ACTIONS, FEATURES, HIDDEN, LENGTHS, RECORD, SIZE, WATCHED
from ...support.rewards import NOWHERE, score, unseen
from ...support.rollouts import rollout, spec

GIVEN = json.loads(RECORD.read_text(encoding="utf-8"))
PAID = {name: torch.tensor(x) for name, x in GIVEN["paid"].items()}
WORLD = spec(vector=SIZE, actions=ACTIONS)
B, STEPS = len(LENGTHS), sum(LENGTHS[0])


class Weights(nn.Module):
    """Recorded layers, which look at views or at features."""

    def __init__(self, name):
        super().__init__()
        values = [torch.tensor(x) for x in GIVEN["weights"][name]]
        self.layers = perceptron((values[0].shape[1], HIDDEN, len(values[3])))
        for parameter, value in zip(self.layers.parameters(), values, strict=True):
            parameter.data = value

    def forward(self, x):
        return self.layers(x["vector"] if isinstance(x, dict) else x)


def played():
    """The recorded episodes as a rollout, with a row for the last observation of each."""
    first = torch.zeros(STEPS + len(LENGTHS[0]), B, dtype=torch.bool)
    for b, lengths in enumerate(LENGTHS):
        first[[sum(lengths[:i]) + i for i in range(len(lengths))], b] = True
    last = torch.cat([first[1:], torch.ones(1, B, dtype=torch.bool)])
    action = torch.zeros(len(first) - 1, B, dtype=torch.int64)
    for b, actions in enumerate(GIVEN["actions"]):
        action[~last[:-1, b], b] = torch.tensor(actions)
    seen = torch.tensor(GIVEN["observations"]).transpose(0, 1)
    rows = rollout(WORLD, len(action), B)
    return rows._replace(first=first, last=last, action=action, observation={"vector": seen})


def transitions(x, rows):
    """Of ``x`` [T, B, ...] those rows [steps, B, ...] that are within episodes, as they were recorded."""
    return torch.stack([x[rows.valid[:, b], b] for b in range(B)], 1)


def close(one, other):
    """Six digits, which is what float32 has."""
    assert_close(one, other, rtol=2e-6, atol=1e-7)


def built_rnd():
    rnd = RND(RNDConfig(size=FEATURES, train_share=1.0), WORLD, NOWHERE)
    rnd.whitening = nn.Identity()
    rnd.whitening.begun = True
    rnd.networks.target, rnd.networks.trunk, rnd.networks.head = Weights("target"), Weights("predictor"), nn.Identity()
    return rnd


def test_rnds_error_is_the_same():
    rows = played()
    close(transitions(score(built_rnd(), rows).raw, rows), PAID["rnd"])


def test_rnd_learns_from_what_it_scores_and_theirs_from_the_observations_before():
    """A step of gradient descent moves the last bias by the mean error."""
    rnd, rows = built_rnd(), played()
    scored = score(rnd, rows)
    with torch.no_grad():
        error = Weights("predictor")(rows.observation) - Weights("target")(rows.observation)
    moved = [2 / FEATURES * transitions(x, rows).mean((0, 1)) for x in (error[:-1], error[1:])]
    bias = rnd.networks.trunk.layers[2].bias
    close(bias - torch.tensor(GIVEN["bias_after"]), moved[0])
    reduce(*rnd(rows, unseen(rows), scored)).backward()
    close(bias.grad, moved[1])
    assert not torch.allclose(*moved, rtol=0.1)


def test_with_a_discount_theirs_pays_the_discounted_sum_and_not_the_reward():
    """Ours is the divisor only (`normalise return`), as in the paper. Both are over time."""
    total, totals = torch.zeros(B), []
    for now in PAID["rnd"]:
        total = 0.9 * total + now
        totals.append(total)
    ratio = torch.stack(totals) / PAID["rnd_scaled"]
    close(ratio, ratio[:1, :1].expand_as(ratio))
    ratio = PAID["rnd"] / PAID["rnd_scaled"]
    assert ratio.max() > 2 * ratio.min()


def test_icms_error_is_half_of_a_sum_and_theirs_a_mean():
    icm, rows = ICM(ICMConfig(), WORLD, NOWHERE), played()
    icm.embedding, icm.dynamics.layers = Weights("encoder"), Weights("dynamics")
    close(transitions(score(icm, rows).raw, rows), PAID["icm"] * FEATURES / 2)


def test_e3bs_bonus_is_the_same_but_where_episodes_begin():
    """Nothing is paid there, as in the authors' code; theirs pays ``|phi|^2 / ridge``."""
    e3b, rows = E3B(E3BConfig(size=FEATURES, unit=False), WORLD, NOWHERE), played()
    e3b.embedding = Weights("encoder")
    found = transitions(score(e3b, rows, e3b.initial_state(B)).raw, rows)
    begins = transitions(rows.first[:-1], rows)
    assert begins.sum() == sum(len(x) for x in LENGTHS)
    assert_close(found[~begins], PAID["e3b"][~begins], rtol=2e-5, atol=1e-6)  # theirs is updated in float32
    assert not found[begins].any()
    phi = transitions(e3b.embed(rows).detach()[:-1], rows)
    close(PAID["e3b"][begins], 10 * phi[begins].square().sum(-1))


def test_re3s_distances_are_the_same_where_both_look_at_the_same_observations():
    """Ours averages the distances before the logarithm, as the authors do on MiniGrid; theirs the logarithms."""
    rows = played()
    phi = transitions(Weights("encoder")(rows.observation).detach()[:-1], rows)
    distance = torch.stack([PAID[f"re3_{k}"].expm1() for k in range(3)])
    for b in range(B):
        ring = torch.cat([torch.zeros(1, FEATURES), phi[:WATCHED, b]])  # the row itself needs a place too
        for t in range(WATCHED, STEPS):
            for k in (1, 2, 3):
                found = mean_nearest(ring, torch.tensor(WATCHED), phi[t, b].view(1, 1, -1), k)
                close(found[0, 0], distance[:k, t - WATCHED, b].mean())
    close(PAID["re3_average"], distance.log1p().mean(0))


def test_theirs_counts_an_observation_among_its_own_neighbours():
    """If it has watched the batch that it scores, as it does in its own trainers; averaging begins with the observation
    itself.
    """
    assert PAID["re3_itself"].max() < 1e-6

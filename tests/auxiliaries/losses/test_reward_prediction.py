"""Reward prediction: which frames, which reward, what is masked, what is learnt and what cannot be."""

import math

import pytest
import torch

from morello.auxiliaries.losses.reward_prediction import RewardPrediction, RewardPredictionConfig, reward_class
from morello.auxiliaries.reduction import reduce
from morello.backbones.convolutional import ShallowCNN
from morello.backbones.encoder import Encoder
from morello.backbones.perceptron import Perceptron

from ...support.figures import figures
from ...support.oracles import softmax
from ...support.rollouts import rollout, spec

N, H, W, C, V = 13, 23, 29, 3, 5
VECTOR, IMAGE = spec(vector=V), spec(image=(H, W, C))


def built(world, batch=N, bfloat16=False):
    encoder = Encoder(world, ShallowCNN, Perceptron, bfloat16)
    loss = RewardPrediction(RewardPredictionConfig(batch=batch), world, encoder.sizes(memory=17))
    loss.attach(encoder)
    return loss, encoder


def windows(world, seed=0, ends=0.0):
    """Of three steps, a column each; what may not be read is NaN."""
    made = rollout(world, 3, N, seed, ends)
    made.reward[:2] = math.nan
    made.discount.fill_(math.nan)
    for x in made.observation.values():
        x[3] = math.nan if x.is_floating_point() else 255
    return made


def test_what_the_replay_is_asked_for():
    loss, _ = built(VECTOR, batch=7)
    assert (loss.data, loss.length, loss.skewed, loss.batch) == ("transition_replay", 3, True, 7)
    assert "Jaderberg" in loss.paper
    assert RewardPrediction.Config is RewardPredictionConfig
    assert RewardPredictionConfig().weight == 0


def test_cross_entropy_by_hand():
    """-ln softmax(W2 relu(W1 [f0, f1, f2] + b1) + b2)[class], scalar by scalar."""
    loss, encoder = built(VECTOR)
    seen = windows(VECTOR)
    value, mask = loss(seen, None)
    assert value.shape == mask.shape == (N,)
    assert mask.all()
    first, _, second = loss.head
    for n in range(N):
        x = []
        for t in range(3):
            x += encoder({"vector": seen.observation["vector"][t, n].view(1, 1, V)})[1].flatten().tolist()
        hidden = [
            max(0.0, b + sum(w * f for w, f in zip(row, x, strict=True)))
            for row, b in zip(first.weight.tolist(), first.bias.tolist(), strict=True)
        ]
        logits = [
            b + sum(w * f for w, f in zip(row, hidden, strict=True))
            for row, b in zip(second.weight.tolist(), second.bias.tolist(), strict=True)
        ]
        reward = seen.reward[2, n].item()
        named = 1 if reward > 0 else 2 if reward < 0 else 0
        assert value[n].item() == pytest.approx(-math.log(softmax(logits)[named]), abs=1e-5)


def test_the_class_is_the_sign():
    assert reward_class(torch.tensor([0.0, 0.25, -7.0, 11.0, -1e-6])).tolist() == [0, 1, 2, 1, 2]


def test_only_the_reward_after_the_third_frame_counts():
    loss, _ = built(IMAGE)
    seen = windows(IMAGE)
    value, _ = loss(seen, None)
    for t, changes in ((0, False), (1, False), (2, True)):
        reward = seen.reward.clone()
        reward[t] = -5 * torch.where(reward[2] == 0, 1.0, reward[2])  # another sign in each column
        other, _ = loss(seen._replace(reward=reward), None)
        assert (other != value).all() if changes else torch.equal(other, value)


@pytest.mark.parametrize("t", range(4))
def test_the_frames_are_rows_0_to_2(t):
    loss, _ = built(IMAGE)
    seen = windows(IMAGE)
    value, _ = loss(seen, None)
    seen.observation["image"][t] = 255 - seen.observation["image"][t]
    other, _ = loss(seen, None)
    assert (other != value).all() if t < 3 else torch.equal(other, value)


def test_windows_that_cross_a_reset_are_masked_and_their_nan_reaches_nothing():
    loss, encoder = built(VECTOR)
    seen = windows(VECTOR, seed=2, ends=0.12)
    crosses = [any(seen.last[t, n].item() for t in range(3)) for n in range(N)]
    assert 2 < sum(crosses) < N - 2
    lost = torch.tensor(crosses)
    assert seen.reward[2].isnan().any()
    seen.observation["vector"][:, lost] = math.nan
    value, mask = loss(seen, None)
    assert mask.tolist() == [not c for c in crosses]
    reduce(value, mask).backward()
    found = [p.grad.clone() for p in (*loss.parameters(), *encoder.parameters())]
    metrics = figures(loss)

    vector = seen.observation["vector"][:, mask]
    kept = seen._replace(observation={"vector": vector}, last=seen.last[:, mask], reward=seen.reward[:, mask])
    for p in (*loss.parameters(), *encoder.parameters()):
        p.grad = None
    loss(kept, None)[0].mean().backward()
    for p, grad in zip((*loss.parameters(), *encoder.parameters()), found, strict=True):
        torch.testing.assert_close(grad, p.grad)
    assert metrics.keys() == {"accuracy", "chance", "rewarding"}
    for name in metrics:
        torch.testing.assert_close(metrics[name], figures(loss)[name])


def test_metrics_by_hand():
    loss, _ = built(VECTOR)
    seen = windows(VECTOR)
    torch.nn.init.zeros_(loss.head[2].weight)
    loss.head[2].bias.data = torch.tensor([0.0, 0.0, 3.0])  # always says negative
    seen.reward[2] = torch.tensor([0.0] * 6 + [2.0] * 4 + [-1.0] * 3)
    loss(seen, None)
    assert figures(loss)["accuracy"].item() == pytest.approx(3 / 13)
    assert figures(loss)["chance"].item() == pytest.approx(6 / 13)
    assert figures(loss)["rewarding"].item() == pytest.approx(7 / 13)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_gradients_reach_the_convolutions_which_are_not_its_own(bfloat16):
    loss, encoder = built(IMAGE, bfloat16=bfloat16)
    value, mask = loss(windows(IMAGE), None)
    assert value.dtype == torch.float32
    reduce(value, mask).backward()
    torso = encoder.torsos["image"]
    assert all(p.grad.abs().sum() > 0 for p in (*torso.convolutions.parameters(), *loss.parameters()))
    theirs = {id(p) for p in encoder.parameters()}
    assert not theirs & {id(p) for p in loss.parameters()}
    assert not any("encoder" in name for name in loss.state_dict())


def test_a_loaded_copy_answers_bit_for_bit():
    loss, encoder = built(IMAGE)
    other, _ = built(IMAGE)
    other.attach(encoder)
    assert not torch.equal(other(windows(IMAGE))[0], loss(windows(IMAGE))[0])
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(windows(IMAGE))[0], loss(windows(IMAGE))[0])


def moving(kind, generator, n=61):
    """A bar moves right, left or not at all, and that is the reward of the last step; earlier ones have its opposite.
    "late": it moves only in the last row. "random": the reward is drawn.
    """
    seen = rollout(IMAGE, 3, n, ends=0)
    move = torch.randint(-1, 2, (n,), generator=generator)
    place = 9 + torch.randint(3, (n,), generator=generator)
    frames = torch.zeros(4, n, H, W, C, dtype=torch.uint8)
    for t in range(4):
        moved = move * (t == 3) if kind == "late" else move * min(t, 2)
        for i in range(n):
            left = int(place[i] + 4 * moved[i])
            frames[t, i, 3:19, left : left + 5] = 200
    paid = torch.randint(-1, 2, (n,), generator=generator) if kind == "random" else move
    return seen._replace(observation={"image": frames}, reward=torch.stack([-move, -move, paid]).float())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["foretold", "late", "random"])
def test_foretells_what_three_frames_tell_and_nothing_else(kind):
    loss, encoder = built(IMAGE)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([*loss.parameters(), *encoder.parameters()], 2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        reduce(*loss(moving(kind, generator), None)).backward()
        optimizer.step()
    loss(moving(kind, generator, n=307), None)
    accuracy = figures(loss)["accuracy"].item()
    assert accuracy > 0.9 if kind == "foretold" else abs(accuracy - 1 / 3) < 0.1

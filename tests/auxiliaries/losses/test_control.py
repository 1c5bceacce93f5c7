"""Pixel and feature control: many Qs at once against loops over time, cells and resets."""

import copy
import math

import pytest
import torch

from morello.auxiliaries.losses.feature_control import FeatureControl
from morello.auxiliaries.losses.parts.cells import cell_change
from morello.auxiliaries.losses.parts.q_learning import dueling, q_learning, q_targets
from morello.auxiliaries.losses.pixel_control import PixelControl
from morello.backbones import Sizes

from ...support import rollouts
from ...support.figures import figures

T, B, A, D, E = 13, 11, 5, 7, 3
SIZES = Sizes(None, E, D)
SPEC = rollouts.spec(image=(37, 43, 2), actions=A)  # 8x10 cells
GAMMA = 0.83


def built(kind, seed=0):
    torch.manual_seed(seed)
    return kind(kind.Config(gamma=GAMMA), SPEC, SIZES)


def data(seed=0, ends=0.15):
    return rollouts.rollout(SPEC, T, B, seed, ends), rollouts.features(SIZES, T, B, A, seed=seed)


def changes(kind, rollout, features):
    """[T, B, N]."""
    if kind is PixelControl:
        return cell_change(rollout.observation["image"], 4).flatten(2)
    return (features.vector[1:] - features.vector[:-1]).abs().detach()


def value_and_advantages(loss, memory):
    """[N, 1 + A, ...]: of pixel control's last layer, without what combines its weights."""
    head = copy.deepcopy(loss.head)
    if isinstance(loss, PixelControl):
        head.second.__class__ = torch.nn.ConvTranspose2d
    return head(memory).reshape(len(memory), 1 + A, -1)


both = pytest.mark.parametrize("kind", [PixelControl, FeatureControl])


def reduced(value, mask):
    return torch.where(mask, value, 0.0).sum() / mask.sum()


def test_a_constant_added_to_all_advantages_changes_nothing():
    value, advantage = torch.randn(7, 1, 3, 5), torch.randn(7, 4, 3, 5)
    constant = 100 * torch.randn(7, 1, 3, 5)
    q = dueling(value, advantage)
    assert (dueling(value, advantage + constant) - q).abs().max() < 1e-4
    assert (q.mean(1, keepdim=True) - value).abs().max() < 1e-6
    assert (dueling(value + constant, advantage) - q - constant).abs().max() < 1e-4


def test_targets_by_hand():
    reward = torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1)
    q = torch.full((4, 1, 2, 1), math.nan)
    q[3, 0, :, 0] = torch.tensor([4.0, -9.0])
    discount, valid = torch.full((3, 1), 0.9), torch.ones(3, 1, dtype=torch.bool)
    assert q_targets(q, reward, discount, valid).flatten().tolist() == pytest.approx([5.536, 5.04, 5.6])


def brute_force(q, change, rollout):
    """Half the squared error, a mean over N, by loops: [T][B], None where the row is no transition."""
    q, change, discount = q.detach().double(), change.double(), rollout.discount.tolist()
    last, action = rollout.last.tolist(), rollout.action.tolist()
    N = change.shape[-1]
    values = [[None] * B for _ in range(T)]
    for t in range(T):
        for b in range(B):
            if last[t][b]:
                continue
            total = 0.0
            for n in range(N):
                ret, factor, k = 0.0, 1.0, t
                while True:
                    ret += factor * change[k, b, n].item()
                    factor *= GAMMA * discount[k][b]
                    k += 1
                    if factor == 0:  # terminated
                        break
                    if k == T or last[k][b]:  # the unroll, or an episode that ran out of time, ends at observation k
                        ret += factor * max(q[k, b, :, n].tolist())
                        break
                total += (ret - q[t, b, action[t][b], n].item()) ** 2 / 2
            values[t][b] = total
    return values


@both
def test_the_loss_equals_loops_over_time_environments_and_cells(kind):
    loss, (rollout, features) = built(kind), data(seed=1)
    terminated = (rollout.discount == 0) & rollout.last[1:]
    assert terminated[:-1].any()
    assert rollout.truncated[:-1].any()
    rollout.discount[3, 2] = 0.0  # a lost life ends no episode
    y = value_and_advantages(loss, features.memory.reshape(-1, D))
    q = torch.stack([y[:, 0] + y[:, 1 + a] - y[:, 1:].mean(1) for a in range(A)], dim=1).reshape(T + 1, B, A, -1)
    expected = brute_force(q, changes(kind, rollout, features), rollout)
    value, mask = loss(rollout, features)
    assert value.shape == mask.shape == (T, B)
    assert torch.equal(mask, rollout.valid)
    for t in range(T):
        for b in range(B):
            if mask[t, b]:
                assert value[t, b].item() == pytest.approx(expected[t][b], rel=1e-4)
            else:
                assert expected[t][b] is None


@both
def test_nothing_is_read_across_a_reset(kind):
    """Everything beyond the reset of each environment becomes another, memory even NaN: the near side stays."""
    loss, (rollout, features) = built(kind), data(seed=2)
    rollout = rollout._replace(reward=torch.full((T, B), math.nan))  # no reward of the task is read at all
    before, mask = loss(rollout, features)
    checked = 0
    for t in range(1, T - 1):
        columns = rollout.last[t]  # row t crosses in these
        for far in (slice(t + 1, None), slice(None, t + 1)):
            near = slice(0, t) if far.stop is None else slice(t + 1, T)
            image, memory, vector = (
                x.detach().clone() for x in (rollout.observation["image"], features.memory, features.vector)
            )
            image[far, columns] = torch.randint(256, image[far, columns].shape, dtype=torch.uint8)
            memory[far, columns] = math.nan
            vector[far, columns] += 5 * torch.randn_like(vector[far, columns])
            other = rollout._replace(observation={"image": image})
            after, _ = loss(other, features._replace(memory=memory, vector=vector))
            kept = mask[near] & columns
            assert torch.equal(after[near][kept], before[near][kept])
            checked += int(kept.sum())
    assert checked > 5 * T


@both
def test_gradients_reach_memory_and_head_and_no_target_gives_any(kind):
    loss, (rollout, features) = built(kind), data(seed=3)
    value, mask = loss(rollout, features)
    reduced(value, mask).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())
    seen = (features.vector, features.memory, features.logits, *features.value.values())
    assert [x.grad is None for x in seen] == [True, False, True, True]
    grad = features.memory.grad.abs().sum(-1)
    assert torch.isfinite(grad).all()
    assert torch.equal(grad[:-1] > 0, mask)  # rows that are only bootstrapped from, or cross a reset, get nothing
    assert (grad[-1] == 0).all()
    assert all(not m.requires_grad for m in figures(loss).values())


@both
def test_metrics_are_means_over_transitions(kind):
    loss, (rollout, features) = built(kind), data(seed=4)
    _, mask = loss(rollout, features)
    change, q = changes(kind, rollout, features), loss.q(features.memory).detach().reshape(T + 1, B, A, -1)
    taken = torch.stack([torch.stack([q[t, b, rollout.action[t, b]] for b in range(B)]) for t in range(T)])
    assert figures(loss)["change"].item() == pytest.approx(change[mask].mean().item(), rel=1e-5)
    assert figures(loss)["q"].item() == pytest.approx(taken[mask].mean().item(), rel=1e-4, abs=1e-6)
    target = q_targets(q, change, GAMMA * rollout.discount, mask)[mask]
    expected = 1 - (target - taken[mask]).var() / target.var()
    assert figures(loss)["q_explained_variance"].item() == pytest.approx(expected.item(), abs=1e-4)


def test_q_is_there_for_any_leading_shape():
    pixels, units = built(PixelControl), built(FeatureControl)
    memory = torch.randn(2, 3, D)
    assert pixels.q(memory).shape == (2, 3, A, 8, 10)
    assert units.q(memory).shape == (2, 3, A, E)
    assert (pixels.q(memory[1, 2]) - pixels.q(memory)[1, 2]).abs().max() < 1e-6
    assert (units.q(memory[1, 2]) - units.q(memory)[1, 2]).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (rollouts.spec(vector=3), "pixel control needs images, and this environment shows vector"),
        (rollouts.spec(image=(29, 84, 3)), "a grid of 6x20 cells is not possible"),
    ],
)
def test_what_does_not_fit_is_refused(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        PixelControl(PixelControl.Config(), spec, SIZES)
    FeatureControl(FeatureControl.Config(), spec, SIZES)  # needs no image


def test_one_step_of_learning_moves_q_towards_its_target_only_where_acted():
    q = torch.zeros(2, 1, 3, 2, requires_grad=True)
    reward = torch.tensor([[[2.0, -4.0]]])
    value, _ = q_learning(q, torch.tensor([[1]]), reward, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    value.sum().backward()
    assert value.item() == pytest.approx((4 + 16) / 2)
    assert q.grad[0, 0].tolist() == [[0, 0], [-2, 4], [0, 0]]
    assert (q.grad[1] == 0).all()

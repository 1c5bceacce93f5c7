"""Control, prediction and reconstruction learn what can be known of a ring of pictures, and nothing else."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.auxiliaries.losses.change_prediction import ChangePrediction
from morello.auxiliaries.losses.feature_control import FeatureControl
from morello.auxiliaries.losses.pixel_control import PixelControl
from morello.auxiliaries.losses.reconstruction import Reconstruction
from morello.backbones import Features, Sizes

from ...support import rollouts

S, A, T, E = 5, 3, 3, 7
SPEC = rollouts.spec(image=(37, 43, 1), actions=A)  # 8x10 cells
SIZES = Sizes(None, E, S)


class Ring:
    """Action a moves a places around a ring of five pictures, a level for each cell. Every beginning with every three
    actions, once; memory is the state, one-hot.
    """

    def __init__(self):
        self.level = torch.randint(256, (S, 8, 10))
        self.vector = torch.rand(S, E)
        columns = torch.cartesian_prod(torch.arange(S), *[torch.arange(A)] * T)
        self.action = columns[:, 1:].T
        self.state = (columns[:, 0] + F.pad(self.action, (0, 0, 1, 0)).cumsum(0)) % S
        self.memory = F.one_hot(self.state, S).float()

    def rollout(self, level=None, action=None):
        """``level`` [T + 1, B, 8, 10] if the pictures are others."""
        level = self.level[self.state] if level is None else level
        pixels = level.repeat_interleave(4, -2).repeat_interleave(4, -1).to(torch.uint8)
        image = F.pad(pixels, (1, 2, 2, 3)).unsqueeze(-1)  # a margin that the crop takes off
        made = rollouts.rollout(SPEC, T, self.state.shape[1], ends=0.0)
        return made._replace(observation={"image": image}, action=self.action if action is None else action)

    def features(self, memory=None):
        memory = self.memory if memory is None else memory
        return Features(None, self.vector[self.state], memory, memory, memory)


def shuffled(x, dims=2):
    """The first ``dims`` dimensions in another order."""
    flat = x.flatten(0, dims - 1)
    return flat[torch.randperm(len(flat))].view(x.shape)


def reduced(value, mask):
    return torch.where(mask, value, 0.0).sum() / mask.sum()


def train(loss, optimizer, steps, case):
    """``case()`` is a rollout and features. The loss of one more."""
    for _ in range(steps):
        optimizer.zero_grad()
        reduced(*loss(*case())).backward()
        optimizer.step()
    with torch.no_grad():
        return reduced(*loss(*case())).item()


class Table(nn.Module):
    """A number for each state and output."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(S, *shape))

    def forward(self, x):
        return torch.einsum("ns,s...->n...", x, self.weight)


def true_q(x):
    """[S, A, N] for pictures or units x [S, N]: the fixed point of the mean over n = 1 to 3 of n - 1 random actions
    after the first and then the best one, by iteration.
    """
    reward = torch.stack([torch.stack([(x[(s + a) % S] - x[s]).abs() for a in range(A)]) for s in range(S)]).double()
    after = torch.tensor([[(s + a) % S for a in range(A)] for s in range(S)])
    q = torch.zeros_like(reward)
    for _ in range(200):
        ahead, returns = q.max(1).values, []
        for _ in range(T):
            returns.append(reward + 0.9 * ahead[after])
            ahead = returns[-1].mean(1)
        q = sum(returns) / T
    return q


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("kind", [PixelControl, FeatureControl])
def test_q_becomes_the_true_return_of_known_changes_and_without_the_state_it_cannot(kind, blind):
    ring = Ring()
    loss = kind(kind.Config(gamma=0.9), SPEC, SIZES)
    pixels = kind is PixelControl
    loss.head = Table(A, 8, 10) if pixels else nn.Sequential(Table((1 + A) * E))
    true = true_q(ring.level.flatten(1) / 255 if pixels else ring.vector)
    case = ring.rollout(), ring.features(shuffled(ring.memory) if blind else None)
    # A table's entry is one of S A in the mean; feature control has V and A to move.
    rate = 10.0 if pixels else 5.0
    train(loss, torch.optim.SGD(loss.parameters(), lr=rate), 150, lambda: case)
    learnt = loss.q(torch.eye(S)).flatten(2).detach()
    assert true.shape == learnt.shape == (S, A, 80 if pixels else E)
    spread = (true - true.mean(0)).square().mean().sqrt()  # of states about what is the same in all of them
    error = (learnt - true).square().mean().sqrt() / spread
    assert error > 0.8 if blind else error < 1e-3


@pytest.mark.parametrize("blind", [False, True])
def test_pixel_controls_own_head_learns_them_too(blind):
    torch.manual_seed(0)
    ring = Ring()
    loss = PixelControl(PixelControl.Config(gamma=0.9), SPEC, SIZES)
    case = ring.rollout(), ring.features(shuffled(ring.memory) if blind else None)
    train(loss, torch.optim.Adam(loss.parameters(), lr=0.015), 400, lambda: case)
    true, learnt = true_q(ring.level.flatten(1) / 255), loss.q(torch.eye(S)).flatten(2).detach()
    error = (learnt - true).square().mean().sqrt() / (true - true.mean(0)).square().mean().sqrt()
    assert error > 0.8 if blind else error < 0.2


@pytest.mark.parametrize("world", ["honest", "random pictures", "random actions"])
def test_a_change_is_predicted_if_and_only_if_it_can_be(world):
    ring = Ring()
    loss = ChangePrediction(ChangePrediction.Config(), SPEC, SIZES)

    def case():
        level = torch.randint(256, (*ring.state.shape, 8, 10)) if world == "random pictures" else None
        action = torch.randint(A, ring.action.shape) if world == "random actions" else None
        return ring.rollout(level, action), ring.features()

    left = train(loss, torch.optim.Adam(loss.parameters(), lr=1e-2), 150, case)
    rollout, _ = case()
    level = rollout.observation["image"][:, :, 2:34:4, 1:41:4, 0].double() / 255
    variance = (level[1:] - level[:-1]).abs().var((0, 1)).mean().item()  # about each cell's own mean
    if world == "honest":
        assert left < 0.02 * variance
    elif world == "random pictures":
        assert left > 0.95 * variance
    else:  # what the state alone tells
        assert left > 0.3 * variance


def test_a_constant_picture_needs_the_bias_only_and_others_need_more():
    ring = Ring()
    loss = Reconstruction(Reconstruction.Config(), SPEC, SIZES)
    rollout = ring.rollout()
    flat = rollout._replace(observation={"image": torch.full_like(rollout.observation["image"], 187)})
    nn.init.zeros_(loss.decoder.second.weight)

    def left(r):
        bias = torch.optim.SGD([loss.decoder.second.bias], lr=0.5)
        return train(loss, bias, 5, lambda: (r, ring.features()))

    assert left(flat) < 1e-12
    assert loss.decoder.second.bias.item() == pytest.approx(187 / 255)
    pixels = rollout.observation["image"].double() / 255
    assert left(rollout) == pytest.approx(pixels.var().item(), rel=1e-3)


@pytest.mark.parametrize("blind", [False, True])
def test_pictures_are_drawn_from_a_memory_that_knows_them(blind):
    ring = Ring()
    ring.state, ring.memory, ring.action = (x[:, ::9] for x in (ring.state, ring.memory, ring.action))
    loss = Reconstruction(Reconstruction.Config(), SPEC, SIZES)

    def case():
        return ring.rollout(), ring.features(shuffled(ring.memory) if blind else None)

    left = train(loss, torch.optim.Adam(loss.parameters(), lr=1e-2), 200, case)
    pixels = ring.rollout().observation["image"].double() / 255
    variance = pixels.var((0, 1)).mean().item()
    # What is left: an edge that gets the bias alone, and cells sharper than the decoder can draw.
    assert left > 0.95 * variance if blind else left < 0.3 * variance

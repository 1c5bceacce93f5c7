"""Videos of a sprite: its moves one by one, and the filter against all paths."""

import itertools
import math

import pytest
import torch

from morello.backbones.sources import MovingSprite
from morello.backbones.sources.moving_sprite import moves

from ...support.enumeration import surprise
from ...support.estimates import generator
from ...support.source_laws import sprite, step


def test_sprites_move_and_bounce_as_said():
    grid = (2, 3, 5, 2, 2)
    after = moves(grid)
    assert torch.equal(after.sort().values, torch.arange(math.prod(grid)))
    for number, state in enumerate(itertools.product(*map(range, grid))):
        s, row, column, down, right = state
        (row, down), (column, right) = step(row, 2 * down - 1, 3), step(column, 2 * right - 1, 5)
        index = torch.unravel_index(after[number], grid)
        assert [int(i) for i in index] == [s, row, column, (down + 1) // 2, (right + 1) // 2]


def test_beliefs_move_as_sprites_do():
    """No video shows this: run backwards, its law is the same."""
    source = MovingSprite(3, 5, 2, 3, 0.1, turning=0.0)
    certain = torch.eye(source.states, dtype=torch.float64)
    assert torch.equal(source.move(certain.log()).argmax(-1), source.after)
    turned = MovingSprite(3, 5, 2, 3, 0.1, turning=0.3).move(certain.log()).exp()
    for state in range(source.states):
        law = torch.zeros(source.states, dtype=torch.float64)
        law[source.after[state // 4 * 4 + torch.arange(4)]] = 0.3 / 4
        law[source.after[state]] += 0.7
        torch.testing.assert_close(turned[state], law)


@pytest.mark.parametrize("turning", [0.0, 0.3])
def test_the_filter_sums_over_all_paths(turning):
    source = MovingSprite(3, 5, 2, 3, 0.1, turning, seed=2)
    x = source.sample(11, generator())
    torch.testing.assert_close(source.log_prob(x), sprite(source, x).log(), rtol=1e-9, atol=0)


def test_a_video_costs_its_start_and_then_its_noise():
    source = MovingSprite()
    assert source.states == 1600
    assert source.conditional_entropy / 8 == pytest.approx(8.064, abs=5e-4)
    value, _ = source.entropy()
    # Almost every video shows which of 1600 states it began in; none can show more.
    assert math.log(1600) - 0.1 < value - source.conditional_entropy < math.log(1600) + 1e-9
    nats = -source.frame_log_prob(source.sample(1009, generator())).mean(0)
    assert 13 < nats[0] < 14.2  # ln 400 above the noise, but where sprites are lost in it
    assert nats[1] < nats[0] - 2
    assert (nats[4:] - 8.064).abs().max() < 0.5


def test_states_go_with_their_videos():
    source = MovingSprite(5, 7, 3, 2, 0.03, 0.4, seed=2)
    x, states = source.sample_labelled(4001, generator())
    assert torch.equal(x, source.sample(4001, generator()))
    law = torch.full((432,), 1 / 432, dtype=torch.float64)
    assert surprise(states[:, -1].bincount(minlength=432), law) < 4
    wrong = (x != source.pictures[states // 4]).double().mean().item()
    assert wrong == pytest.approx(0.03, abs=3 * math.sqrt(0.03 * 0.97 / x.numel()))
    straight = (states[:, 1:] == source.after[states[:, :-1]]).double().mean().item()
    assert straight == pytest.approx(0.7, abs=3 * math.sqrt(0.7 * 0.3 / states[:, 1:].numel()))

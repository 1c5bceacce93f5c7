"""Wrappers upon wrappers: limits inside and outside, company, saved states, seeds."""

import pytest
import torch

import morello
from morello.envs.rows import leaves
from morello.envs.wrappers import (
    FrameStack,
    Grey,
    NoisyTV,
    Resize,
    Rewards,
    StickyActions,
    TimeLimit,
    VisitCounts,
)

from ...support.film import LENGTHS, RESETS, Film, H, W, image, run
from ...support.timesteps import actions, assert_same, copy


def tower(env, limit_inside):
    if limit_inside:
        env = TimeLimit(env, 4)
    env = FrameStack(Resize(Grey(NoisyTV(StickyActions(env, 0.3, seed=3), seed=3)), 3, 4), 2)
    env = VisitCounts(Rewards(env, "sign"), 13)
    return env if limit_inside else TimeLimit(env, 4)


@pytest.mark.parametrize("written", [True, False])
def test_a_limit_inside_or_outside_cuts_the_same_episodes(written):
    inside, outside = (run(tower(Film(LENGTHS), where), written=written) for where in (True, False))
    for x, y in zip(inside, outside, strict=True):
        for name in ("reward", "discount", "first", "last", "visits", "coverage"):
            assert torch.equal(leaves(x)[name], leaves(y)[name]), name
        assert torch.equal(image(x)[x.first][..., 0], image(x)[x.first][..., 1])


@pytest.mark.parametrize("limit_inside", [True, False])
def test_rows_and_memory_give_the_same(limit_inside):
    a, b = (run(tower(Film(LENGTHS), limit_inside), written=w, resets=RESETS) for w in (True, False))
    for x, y in zip(a, b, strict=True):
        assert_same(x, y)


@pytest.mark.parametrize("limit_inside", [True, False])
def test_environments_do_not_depend_on_their_company(limit_inside):
    """Environment 3 of five is environment 0 of one that begins there."""

    def build(count, offset):
        env = morello.make("counting:steps", count, seed=2, env_offset=offset, frame_size=(H, W))
        env = TimeLimit(env, 5) if limit_inside else env
        env = NoisyTV(StickyActions(env, seed=11, env_offset=offset), seed=11, env_offset=offset)
        env = FrameStack(env, 2)
        return env if limit_inside else TimeLimit(env, 5)

    many, alone = build(5, 0), build(1, 3)
    chosen = actions(many, 31)
    many.reset()
    alone.reset()
    for a in chosen:
        x, y = leaves(many.step(a)), leaves(alone.step(a[3:4]))
        assert all(torch.equal(x[name][3], y[name][0]) for name in y)


@pytest.mark.parametrize("limit_inside", [True, False])
@pytest.mark.parametrize("when", range(9, 15))
def test_a_loaded_tower_goes_on_bit_for_bit(limit_inside, when):
    env = tower(Film(LENGTHS), limit_inside)
    run(env, steps=when)
    saved = {k: v.clone() for k, v in env.state_dict().items()}
    ahead = actions(env, 17, seed=5)
    expected = [copy(env.step(a)) for a in ahead]
    other = tower(Film(LENGTHS, seed=0), limit_inside)
    run(other, steps=3, seed=8)
    other.load_state_dict(saved)
    for a, x in zip(ahead, expected, strict=True):
        assert_same(other.step(a), x)


def test_a_seed_restarts_the_streams_of_wrappers_where_it_is_given():
    """There it goes on like a fresh one of that seed, elsewhere like one that was given none."""
    seeded, unseeded, fresh = (NoisyTV(StickyActions(Film([50] * 5), seed=s), 1.0, seed=s) for s in (1, 1, 0))
    run(seeded, steps=6)
    run(unseeded, steps=6)
    mask = torch.tensor([False, True, False, True, False])
    x, y, z = seeded.reset(seed=23, mask=mask), unseeded.reset(mask=mask), fresh.reset(seed=23)
    stuck = 0
    for a in [*actions(seeded, 29), None]:
        assert torch.equal(image(x), torch.where(mask.view(-1, 1, 1, 1), image(z), image(y)))
        assert not (image(y) == image(z)).flatten(1).all(1).any()
        if a is not None:
            x, y, z = seeded.step(a), unseeded.step(a), fresh.step(a)
            x_given, y_given, z_given = (env.env.env.given[-1] for env in (seeded, unseeded, fresh))
            assert torch.equal(x_given, torch.where(mask, z_given, y_given))
            stuck += int((y_given != z_given).sum())
    assert stuck > 20


def test_two_wrappers_of_one_seed_draw_apart():
    noisy, sticky = NoisyTV(Film(LENGTHS), seed=4), StickyActions(Film(LENGTHS), seed=4)
    assert not (noisy._bits() == sticky._bits()).any()

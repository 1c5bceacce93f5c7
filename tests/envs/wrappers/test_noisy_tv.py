"""The noisy television: where its noise is, what it is made of, and the remote."""

import math

import numpy as np
import pytest
import torch

from morello.envs.wrappers import (
    NoisyTV,
)

from ...support.film import LENGTHS, RESETS, C, Film, H, W, image, run, same_but
from ...support.splitmix import chained
from ...support.timesteps import actions, copy


@pytest.mark.parametrize(("fraction", "columns"), [(0.4, 3), (0.01, 1), (0.5, 4), (1.0, 7)])
def test_noise_fills_the_right_hand_fraction_and_nothing_else(fraction, columns):
    answers = run(NoisyTV(Film(LENGTHS), fraction), resets=RESETS)
    plain = run(Film(LENGTHS), resets=RESETS)
    same_but(answers, plain, "image")
    for x, y in zip(answers, plain, strict=True):
        assert torch.equal(image(x)[:, :, : W - columns], image(y)[:, :, : W - columns])
        assert all((image(x)[:, :, w] != image(y)[:, :, w]).any() for w in range(W - columns, W))


def noise_by_hand(seed, index, count, columns):
    """[H, columns, C] from Python's integers."""
    words = -(-H * columns * C // 8)
    stream = int.from_bytes(b"NoisyTV", "big")
    data = b"".join(chained(seed, stream, index, count, d).to_bytes(8, "little") for d in range(words))
    return np.frombuffer(data[: H * columns * C], np.uint8).reshape(H, columns, C)


def test_noise_is_fresh_in_every_row():
    answers = run(NoisyTV(Film(LENGTHS), seed=29, env_offset=31), steps=13)
    for t, x in enumerate(answers):
        for b in range(len(LENGTHS)):
            np.testing.assert_array_equal(image(x)[b, :, -3:].numpy(), noise_by_hand(29, 31 + b, t + 1, 3))


def test_noise_is_white():
    film = Film([199] * 3, height=11, width=13)
    shown = torch.stack([image(x)[:, :, -5:] for x in run(NoisyTV(film, 0.4), steps=199)]).double()  # [T, B, 11, 5, 3]
    counts = torch.histc(shown, 256, 0, 256)
    expected = shown.numel() / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)
    z = (shown - 127.5) / math.sqrt((256**2 - 1) / 12)
    for axis in range(5):  # over time, between environments, rows, columns and channels
        n = z.shape[axis] - 1
        product = z.narrow(axis, 1, n) * z.narrow(axis, 0, n)
        assert abs(float(product.mean())) < 4 / math.sqrt(product.numel())


def test_the_remote_changes_the_picture_and_nothing_else_does():
    lengths = (3, 17, 7, 2, 29)
    env, film = NoisyTV(Film(lengths), 0.4, "action", noop=3, seed=5), Film(lengths)
    film_inside = env.env
    assert env.spec.num_actions == 6
    assert env.spec.action_names == (*"abcde", "remote")
    chosen = actions(env, 61)
    now, plain = env.reset(), film.reset()
    count, switches = [1] * 5, 0
    for t in range(61):
        for b in range(5):
            np.testing.assert_array_equal(image(now)[b, :, -3:].numpy(), noise_by_hand(5, b, count[b], 3))
            assert torch.equal(image(now)[b, :, :-3], image(plain)[b, :, :-3])
        ended = now.last.tolist()
        now, plain = env.step(chosen[t]), film.step(chosen[t])
        same_but([now], [plain], "image")
        for b in range(5):
            remote = int(chosen[t, b]) == 5
            assert int(film_inside.given[-1][b]) == (3 if remote else int(chosen[t, b]))
            count[b] += remote or ended[b]
            switches += remote and not ended[b]
    assert switches > 20


def test_a_masked_reset_changes_the_channel_only_there():
    env = NoisyTV(Film([50] * 5), 1.0, "action")
    before = copy(env.reset())
    mask = torch.tensor([False, True, False, False, True])
    after = env.reset(mask=mask)
    assert torch.equal((image(after) == image(before)).flatten(1).all(1), ~mask)

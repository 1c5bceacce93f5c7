"""Stacks of images, against a deque for each environment."""

from collections import deque

import pytest
import torch

from morello.envs.wrappers import (
    FrameStack,
)

from ...support.film import LENGTHS, RESETS, Film, H, W, image, run, same_but


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(("n", "channels"), [(1, 3), (2, 3), (4, 1), (5, 2)])
def test_stacks_are_those_of_the_oracle(n, channels, written):
    env = FrameStack(Film(LENGTHS, channels=channels), n)
    assert env.spec.observation["image"] == ((H, W, n * channels), torch.uint8)
    assert env.spec.stacked == n
    answers = run(env, resets=RESETS, written=written)
    plain = run(Film(LENGTHS, channels=channels), resets=RESETS)
    same_but(answers, plain, "image")
    masks = {t + 1 + k: RESETS[t] for k, t in enumerate(RESETS)}  # number of the answer -> who was reset
    stacks = [deque(maxlen=n) for _ in LENGTHS]
    for t, (x, y) in enumerate(zip(answers, plain, strict=True)):
        for b, stack in enumerate(stacks):
            if t in masks and not masks[t][b]:
                pass  # the row shows what it showed
            elif y.first[b]:
                stack.extend([image(y)[b]] * n)
            else:
                stack.append(image(y)[b])
            assert torch.equal(image(x)[b], torch.cat(list(stack), -1)), (t, b)

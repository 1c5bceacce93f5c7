"""A checkpoint holds every generator: what is drawn after loading is what would have been drawn."""

import random

import numpy as np
import torch

from morello.agents.storage import checkpoint, rng_state


def draws():
    return [random.gauss(0, 1), random.random(), *np.random.randn(3), np.random.randint(9), *torch.rand(2).tolist()]


def test_all_draws_come_again_after_a_checkpoint(tmp_path):
    draws()
    checkpoint.save(tmp_path, 1, rng_state.state_dict(), keep=1)
    expected = draws()
    draws()
    rng_state.load_state_dict(checkpoint.load(tmp_path)[1])
    assert draws() == expected

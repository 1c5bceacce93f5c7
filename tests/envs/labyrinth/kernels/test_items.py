"""Kinds of items pay and do what their specification says."""

import numpy as np

from morello.envs.labyrinth.kernels.items import KIND, KINDS, kinds_table


def test_kinds_pay_and_do_what_the_facts_say() -> None:
    facts = {
        "apple": (1, 0),
        "lemon": (-1, 0),
        "strawberry": (2, 0),
        "fungi": (-10, 0),
        "goal": (10, 2),
        "watermelon": (20, 2),
        "mango": (100, 2),
        "vest": (1, 3),
        "mirage": (0, 3),
        "portal": (0, 1),
    }
    assert {k.name: (k.reward, k.effect) for k in KINDS[1:]} == facts
    table = kinds_table()
    assert table.dtype == np.float32
    assert table[KIND["lemon"], :6].tolist() == [2, 14, 28, 244, 222, 42]

"""Counts of visits, against a list for each environment."""

import pytest

from morello.envs.wrappers import (
    VisitCounts,
)

from ...support.film import RESETS, Film, run, same_but


@pytest.mark.parametrize("written", [True, False])
def test_visits_are_those_of_the_oracle(written):
    lengths = (3, 37, 7, 2, 29)
    answers = run(VisitCounts(Film(lengths), 13), resets=RESETS, written=written)
    plain = run(Film(lengths), resets=RESETS)
    same_but(answers, plain)
    masks = {t + 1 + k: RESETS[t] for k, t in enumerate(RESETS)}
    seen = [[] for _ in lengths]
    for t, (x, y) in enumerate(zip(answers, plain, strict=True)):
        for b, cells in enumerate(seen):
            if t not in masks or masks[t][b]:
                if y.first[b]:
                    cells.clear()
                cells.append(int(y.info["cell"][b]))
            assert int(x.info["visits"][b]) == cells.count(cells[-1]), (t, b)
            assert int(x.info["coverage"][b]) == len(set(cells)), (t, b)
    assert max(int(x.info["visits"].max()) for x in answers) > 3

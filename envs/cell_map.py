"""Where the cells of a task lie, for human viewers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CellMap(NamedTuple):
    """A grid of cells: ``info["cell"]`` is ``row * columns + column``. Cell (row, column) spans x from ``column`` to
    ``column + 1`` and y from ``row`` to ``row + 1``.
    """

    rows: int
    columns: int
    upwards: bool = False  # True: row 0 is drawn at the bottom
    walls: NDArray[np.float32] = np.zeros((0, 2, 2), np.float32)  # [n, 2, 2] ends (x, y); none if maps are not fixed

    def within(self, shown: NDArray[np.bool_]) -> tuple[float, float, float, float]:
        """Return the left, right, lowest and highest coordinates of all walls and of the cells ``shown`` [rows,
        columns]; those of the whole grid if there is neither.
        """
        row, column = np.nonzero(shown)
        x = np.concatenate([column, column + 1, self.walls[..., 0].ravel()])
        y = np.concatenate([row, row + 1, self.walls[..., 1].ravel()])
        if not len(x):
            return 0, self.columns, 0, self.rows
        return float(x.min()), float(x.max()), float(y.min()), float(y.max())

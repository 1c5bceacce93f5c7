"""Visit counts of cells: an oracle for count-based bonuses, and a measure of exploration."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import Wrapper


class VisitCounts(Wrapper):
    """Adds to info, based on ``info["cell"]``: ``visits`` [B] int64, the rows of this episode spent in the current
    cell, including this one, and ``coverage`` [B] int64, the number of distinct cells visited in this episode.

    ``cells`` is the number of cells (``env.num_cells``, where known); cells are 0 to ``cells - 1``. A larger cell
    raises UserError on the CPU, and fails an assertion of the device on CUDA, where checking it would synchronise.
    """

    def __init__(self, env: VectorEnv, cells: int) -> None:
        super().__init__(env)
        if cells < 1:
            raise UserError(f"VisitCounts needs at least 1 cell, not {cells}")
        self._cells = cells
        counts = torch.zeros(self.num_envs, cells, dtype=torch.int32, device=self.device)
        self._state |= {"counts": counts, "coverage": self._each(0)}
        self._change("visits", dtype=torch.int64)
        self._change("coverage", dtype=torch.int64)

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        if "cell" not in now.info:
            raise UserError(f"VisitCounts needs info['cell'], which {', '.join(self.spec.tasks)} does not give")
        cell, counts, coverage = now.info["cell"].unsqueeze(-1), self._state["counts"], self._state["coverage"]
        if self.device.type == "cpu" and not 0 <= int(cell.min()) <= int(cell.max()) < self._cells:
            seen = f"{int(cell.min())} to {int(cell.max())}"
            raise UserError(f"cells {seen} are visited, and VisitCounts has 0 to {self._cells - 1}; give it more cells")
        new = self._each(True) if stepped else begun
        counts.masked_fill_(begun.unsqueeze(-1), 0).scatter_add_(1, cell, new.int().unsqueeze(-1))
        coverage.masked_fill_(begun, 0).add_(new & (counts.gather(1, cell).squeeze(-1) == 1))

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        rows["visits"].copy_(self._state["counts"].gather(1, now.info["cell"].unsqueeze(-1)).squeeze(-1))
        rows["coverage"].copy_(self._state["coverage"])

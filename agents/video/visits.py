"""A heat map of the cells that a filmed agent has visited, for environments that draw no map of their own."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...envs.experience import Timestep
from ...envs.vector_env import VectorEnv
from .drawing import PANEL, Pixels

FLOOR, HERE = (38, 41, 50), (255, 255, 255)


class Visits:
    """Counts the visits of cells by environment 0 in the current episode, where the environment tells them."""

    def __init__(self, env: VectorEnv) -> None:
        self.plans = [env.cell_map(k) for k in range(len(env.spec.tasks))]
        self._counts: NDArray[np.int64] | None = None  # [rows, columns]
        self._upwards = False
        self._here = (0, 0)
        self._shown = 1  # side, in cells, of what is shown; it only grows during a video

    def add(self, timestep: Timestep) -> None:
        """Count the cell of a row."""
        plan = self.plans[int(timestep.task[0])]
        if plan is None or "cell" not in timestep.info:
            return
        if self._counts is None or timestep.first[0]:
            self._counts, self._upwards = np.zeros((plan.rows, plan.columns), np.int64), plan.upwards
        self._here = divmod(int(timestep.info["cell"][0]), plan.columns)
        self._counts[self._here] += 1
        self._shown = min(max(self._shown, *(at + 2 for at in self._here)), max(plan.rows, plan.columns))

    def draw(self, side: int) -> Pixels | None:
        """Draw the visits on a logarithmic scale, and the cell of the agent in white: uint8 [side, side, 3]; None where
        nothing was told.
        """
        if self._counts is None:
            return None
        counts = self._counts[: self._shown, : self._shown]
        heat = np.log(np.maximum(counts, 1)) / np.log(max(2, counts.max()))
        image = matplotlib.colormaps["inferno"](0.3 + 0.6 * heat, bytes=True)[..., :3]
        image = np.where(counts[..., None] > 0, image, np.array(FLOOR, np.uint8)).astype(np.uint8)
        image[self._here] = HERE
        picture = Image.fromarray(image[::-1] if self._upwards else image)
        scale = max(1, side // self._shown)
        canvas = Image.new("RGB", (side, side), PANEL)
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
        canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return np.asarray(canvas)

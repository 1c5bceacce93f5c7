"""ViZDoom's MyWayHome through EnvPool, with the actions and the resolution of ``vizdoom:MyWayHome``."""

# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

TASK = "MyWayHome-v1"
FRAME = (3, 84, 84)
"""Shape of an observation: channels, height, width."""
SCREEN = "RES_160X120"
"""Resolution in which Doom draws; its default takes twice the time. Frames are made from it by interpolation."""
ACTION_REPEAT = 4
"""Frames for which an action is held."""
BUTTONS = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], np.float64)
"""Buttons pressed by each action, [A, buttons]: none, turn left, turn right, move forward."""


class Batch:
    """B environments that EnvPool steps together; one that ends begins anew within the same step."""

    def __init__(self, num_envs: int, threads: int, seed: int) -> None:
        from envpool import make, make_spec

        _, height, width = FRAME
        self.num_envs = num_envs
        folder = tempfile.mkdtemp()
        self._end = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        scenario = Path(folder, "scenario.cfg")
        text = Path(make_spec(TASK).config.cfg_path).read_text(encoding="utf-8")
        scenario.write_text(re.sub(r"RES_\w+", SCREEN, text), encoding="utf-8")
        self.pool: Any = make(
            TASK,
            env_type="gymnasium",
            num_envs=num_envs,
            num_threads=min(num_envs, threads),
            seed=seed,
            img_height=height,
            img_width=width,
            stack_num=1,
            frame_skip=ACTION_REPEAT,
            cfg_path=str(scenario),
            use_inter_area_resize=False,
        )

    def reset(self) -> Any:
        """Begin all episodes and return images, uint8 [B, C, H, W]."""
        return self.pool.reset()[0]

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take actions [B]; return images, rewards, which episodes were terminated and truncated, [B] each, and the
        images before the new episodes, which are None if none has ended.
        """
        image, reward, terminated, truncated, _ = self.pool.step(BUTTONS[action])
        ended = terminated | truncated
        if not ended.any():
            return image, reward, terminated, truncated, None
        last, image = image, image.copy()
        image[ended] = self.pool.reset(np.flatnonzero(ended))[0]
        return image, reward, terminated, truncated, last

    def close(self) -> None:
        """End the simulators, which would otherwise leave their shared memory behind."""
        self.pool = None
        self._end()

"""What tests of run folders share: a spec, settings, and ways to look."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from morello.agents.storage.run_folder import Run
from morello.envs.experience import Spec

SPEC = Spec(
    observation={"image": ((67, 71, 3), torch.uint8), "vector": ((5,), torch.float32)},
    num_actions=7,
    action_names=tuple("abcdefg"),
    tasks=("one", "two"),
    frames_per_step=4,
    max_steps=None,
    resumable=True,
)
CONFIG = {
    "env": "toy:world",
    "preset": "a2c",
    "seed": 3,
    "torso": "auto",
    "memory": "lstm",
    "memory_size": 11,
    "dtype": "float32",
    "frame_size": [67, 71],
    "learner": {"gamma": 0.99, "clip": math.inf, "sign": None},
}


def lines(run: Run | Path) -> list[dict[str, Any]]:
    path = run.path if isinstance(run, Run) else run
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def python(program: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )

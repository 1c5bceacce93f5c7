"""Where a run came from: command, code, versions, hardware, job. No host or user name."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__

LONGEST_DIFF = 200_000
"""Characters of a diff that are kept."""
PACKAGES = ("torch", "numpy", "warp-lang", "gymnasium", "envpool", "safetensors")
JOB = (
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_PROCID",
    "PBS_JOBID", "LSB_JOBID", "RAY_JOB_ID",
)  # fmt: skip
"""Environment variables of batch systems."""

ROOT = Path(__file__).resolve().parents[1]
"""Of the package; that of the checkout, where it runs from one, also when imported through links."""


def provenance() -> dict[str, Any]:
    """What is true of this process now, as JSON."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "git": {"morello": checkout(ROOT, root=True), "working_folder": checkout(Path.cwd())},
        "versions": versions(),
        "hardware": hardware(),
        "job": {name: os.environ[name] for name in JOB if name in os.environ},
    }


def checkout(folder: Path, root: bool = False) -> dict[str, str] | None:
    """Commit and uncommitted changes of the git checkout that ``folder`` is in; with ``root``, is the root of."""
    top, _, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD").strip().rpartition("\n")
    if not top or (root and Path(top).resolve() != folder.resolve()):
        return None
    diff = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    if len(diff) > LONGEST_DIFF:
        diff = f"{diff[:LONGEST_DIFF]}\n[{len(diff) - LONGEST_DIFF:,} more characters]"
    return {"commit": commit, "diff": diff}


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing if there is no git or it refuses."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def versions() -> dict[str, str | None]:
    """Of Python, morello and the packages that decide what is computed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "morello": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {**found, "cuda": torch.version.cuda}


def hardware() -> dict[str, Any]:
    """Processor, cores, threads and GPUs."""
    gpus = range(torch.cuda.device_count())
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in gpus],
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two starts of a run and may change its numbers, each as "what: before -> now"."""
    differences = []
    for group in ("versions", "hardware"):
        for name in sorted(before.get(group, {}).keys() | now[group].keys()):
            old, new = before.get(group, {}).get(name), now[group].get(name)
            if old != new:
                differences.append(f"{name}: {old} -> {new}")
    return differences

"""Provenance of a run: command without its secrets, code, versions, hardware, job. No host or user name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from .files import replace_file
from .git import checkout
from .masking import masked
from .read_json import read_json

PROVENANCE = "provenance.json"
CODE = ({"commit": str, "diff": str}, None)
START = {"versions?": {str: (str, None)}, "hardware?": {str: Any}, "git?": {"morello?": CODE, "working_folder?": CODE}}
SHAPE = {"starts": [START], "diffs?": {str: str}}
"""Shape of the file: each start of the run, and their uncommitted changes, stored once each by SHA-256."""
PACKAGES = ("torch", "numpy", "warp-lang", "gymnasium", "envpool", "safetensors")
JOB = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_PROCID",
    "PBS_JOBID",
    "LSB_JOBID",
    "RAY_JOB_ID",
)
"""Environment variables of batch systems."""

ROOT = Path(__file__).resolve().parents[2]
"""Root of the package or, if it runs from a checkout, of the checkout, also when imported through links."""


def add_start(folder: Path) -> list[str]:
    """Record in the run ``folder`` that it is started now. Return the changes since the last start that may affect its
    results. UserError if the existing record cannot be read.
    """
    path = folder / PROVENANCE
    found: dict[str, Any] = {"starts": []}
    with contextlib.suppress(FileNotFoundError):
        found = read_provenance(path)
    now = provenance()
    diffs: dict[str, str] = dict(found.get("diffs", {}))
    starts = [_with_diff_by_hash(start, diffs) for start in (*found["starts"], now)]
    data = (json.dumps({"starts": starts, "diffs": diffs}, indent=2) + "\n").encode()
    replace_file(path, data, 0o600 if diffs else 0o666)
    return changes(found["starts"][-1], now) if found["starts"] else []


def read_provenance(path: Path) -> dict[str, Any]:
    """Return starts and diffs. UserError for a damaged file; FileNotFoundError if there is none."""
    found: dict[str, Any] = read_json(path, SHAPE, "restore it from a copy, or delete it")
    return found


def _with_diff_by_hash(start: dict[str, Any], diffs: dict[str, str]) -> dict[str, Any]:
    """Return ``start`` with its diffs replaced by "sha256:...", under which they are added to ``diffs``."""
    git = {}
    for name, code in start.get("git", {}).items():
        if code and code["diff"] and not code["diff"].startswith("sha256:"):
            key = "sha256:" + hashlib.sha256(code["diff"].encode()).hexdigest()
            diffs[key] = code["diff"]
            code = {**code, "diff": key}
        git[name] = code
    return {**start, "git": git}


def provenance() -> dict[str, Any]:
    """Describe this process as JSON."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _text(shlex.join(masked(sys.argv))),
        "git": {"morello": checkout(ROOT, root=True), "working_folder": checkout(Path.cwd())},
        "versions": versions(),
        "hardware": hardware(),
        "job": {name: _text(os.environ[name]) for name in JOB if name in os.environ},
    }


def _text(words: str) -> str:
    """Return ``words`` with bytes that are not UTF-8 escaped, so that they can be read back."""
    return words.encode(errors="backslashreplace").decode()


def versions() -> dict[str, str | None]:
    """Return the versions of Python, morello and the packages that determine results."""
    found: dict[str, str | None] = {"python": platform.python_version(), "morello": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {**found, "cuda": torch.version.cuda}


def hardware() -> dict[str, Any]:
    """Describe processor, cores, threads and GPUs."""
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
    """List the differences between two starts of a run that may affect its results, each as "what: before -> now"."""
    differences = []
    for group in ("versions", "hardware"):
        for name in sorted(before.get(group, {}).keys() | now[group].keys()):
            old, new = before.get(group, {}).get(name), now[group].get(name)
            if old != new:
                differences.append(f"{name}: {old} -> {new}")
    return differences

"""What rewards cost in the stored measurement, for lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files


def costs() -> Mapping[str, float]:
    """Return the share by which each intrinsic reward lengthened training in the stored record of ``morello bench
    throughput --intrinsic all`` (84x84 images on two CPU cores); nothing without that record.
    """
    record = files("morello.benchmarks") / "results" / "throughput-intrinsic-cpu.json"
    if not record.is_file():
        return {}
    found: Mapping[str, float] = json.loads(record.read_text(encoding="utf-8")).get("overhead", {})
    return found

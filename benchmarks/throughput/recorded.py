"""What rewards cost in the stored measurement, for lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files


def costs() -> Mapping[str, float]:
    """Return the share by which each built-in intrinsic reward lengthened training of ``a2c`` at 84x84 on two CPU cores
    (``morello bench throughput --intrinsic all``); nothing without the stored record.
    """
    record = files("morello.benchmarks") / "results" / "throughput-intrinsic-cpu.json"
    if not record.is_file():
        return {}
    found: Mapping[str, float] = json.loads(record.read_text(encoding="utf-8"))["overhead"]
    return found

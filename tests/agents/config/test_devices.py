"""What is set for the process that trains."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, resource, sys, torch
from morello.agents.config.devices import keep_freed_memory
if sys.argv[1] != "keep":  # thresholds that do not grow with what is freed, as glibc's own may
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-1, 128 << 10)
    mallopt(-3, 128 << 10)
if sys.argv[1] != "leave":
    keep_freed_memory()
def update():
    return [torch.full((3 << 20,), 1.0) for _ in range(4)]  # 48 MiB, all of it freed again
for _ in range(8):  # small blocks find their places first
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    update()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets options of glibc's malloc, which is not used here")
def test_freed_memory_is_kept_and_not_cleared_anew():
    free = {k: v for k, v in os.environ.items() if k not in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
    chosen = free | {"MALLOC_TRIM_THRESHOLD_": "131072"}
    faults = {}
    for case, how, variables in (("kept", "keep", free), ("left", "leave", free), ("chosen", "both", chosen)):
        words = [sys.executable, "-c", CODE, how]
        faults[case] = int(subprocess.run(words, env=variables, capture_output=True, text=True, check=True).stdout)
    pages = 10 * (48 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert faults["kept"] < pages / 100
    assert faults["left"] > pages / 50  # fewer than pages where the system clears several at once
    assert faults["chosen"] > pages / 50  # what the user has set holds

"""What is set for the process that trains."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from morello.agents.config.devices import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def update():
    return [torch.full((3 << 20,), 1.0) for _ in range(4)]  # 48 MiB, all of it freed again
update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    update()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets options of glibc's malloc, which is not used here")
def test_freed_memory_is_kept_and_not_cleared_anew():
    # A threshold that is given holds, whereas glibc's own grows with what is freed and may hide the difference.
    given = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 << 10), "MALLOC_TRIM_THRESHOLD_": str(128 << 10)}
    faults = {}
    for how in ("keep", "leave"):
        done = subprocess.run([sys.executable, "-c", CODE, how], env=given, capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    pages = 10 * (48 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert faults["keep"] < pages / 100
    assert faults["leave"] > pages / 10  # whole pages may be huge

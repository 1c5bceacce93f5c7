"""Signals while workers start: their parent decides, they say nothing, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
import morello
if __name__ == "__main__":
    try:
        morello.make("gym:tests.support.gymnasium_worlds:SlowToMake-v0", 1, env_workers=1)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def descendants(pid):
    """The processes that ``pid`` and its children have started, by number."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds, what):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def parent(tmp_path):
    """A process whose worker takes a minute to start."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    paths = os.pathsep.join([str(ROOT), str(ROOT / ".typings"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    started = subprocess.Popen(
        [sys.executable, script], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield started
    started.kill()
    started.communicate()


def masks(pid):
    """Which signals a process has blocked, ignored or caught, and which it has caught; None if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = {k: int(v, 16) for k, v in (x.split(":\t") for x in lines) if k in ("SigBlk", "SigIgn", "SigCgt")}
    return (found["SigBlk"] | found["SigIgn"] | found["SigCgt"], found["SigCgt"]) if found else None


def test_what_is_started_withstands_signals_from_its_first_moment(parent):
    every, serving = sum(1 << (n - 1) for n in SIGNALS), False
    deadline = time.monotonic() + 120
    while not serving:
        assert time.monotonic() < deadline
        assert parent.poll() is None
        for pid in descendants(parent.pid):
            if (seen := masks(pid)) is not None and runs(pid):
                assert seen[0] & every == every, Path(f"/proc/{pid}/cmdline").read_text()
                serving = serving or seen[1] & every == every


@pytest.mark.parametrize(
    ("number", "code", "pause"),
    [
        (signal.SIGINT, 130, 0.5),
        (signal.SIGTERM, -signal.SIGTERM, 0),
        (signal.SIGHUP, -signal.SIGHUP, 0.2),
        (signal.SIGUSR1, -signal.SIGUSR1, 0.5),
        (signal.SIGUSR2, -signal.SIGUSR2, 0),
    ],
)
def test_a_signal_while_workers_start_leaves_neither_a_traceback_nor_a_process(number, code, pause, parent):
    wait_until(lambda: len(descendants(parent.pid)) >= 2 or parent.poll() is not None, "no workers")
    time.sleep(pause)  # another moment of their start
    started = descendants(parent.pid)
    os.killpg(parent.pid, number)  # as a terminal does
    _, said = parent.communicate(timeout=120)
    assert parent.returncode == code, said
    assert "Traceback" not in said
    assert len(started) >= 2  # a worker, and multiprocessing's own
    wait_until(lambda: not any(map(runs, started)), "somebody was left behind")

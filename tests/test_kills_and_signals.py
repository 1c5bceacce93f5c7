"""The trials of kills and signals in their short form: see docs/reliability.md for the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).parent / "trials"


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        (["kill.py", "--trials", "4"], "kill: 4 kills "),
        (["signals.py", "--rounds", "1", "--signals", "1"], "signals: 5 signals "),
    ],
    ids=["kill", "signals"],
)
def test_nothing_is_lost(words, figures):
    done = subprocess.run([sys.executable, TRIALS / words[0], *words[1:]], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(figures)
    assert " 0 failures" in done.stdout

"""The trials of docs/reliability.md in short: the long forms are commands."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).parent / "trials"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fuzz.py --trials 36 --evaluations 4 --seed 11", "36 damaged files and 4 damaged evaluations"),
        ("power_loss.py --trials 8 --seed 11", "8 cuts"),
        ("full_disk.py --trials 2 --seed 11", "full disk: 2 runs"),
    ],
)
def test_in_short(words, says):
    name, *flags = words.split()
    done = subprocess.run([sys.executable, TRIALS / name, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert ": 0 " in done.stdout


def test_what_was_not_synced_is_lost_on_the_trials_disk(tmp_path):
    """The disk of the power loss trial forgets: a file without fsync, a name without its folder's."""
    sys.path.insert(0, str(TRIALS))
    try:
        import disk
    finally:
        sys.path.remove(str(TRIALS))
    root = tmp_path / "root"
    root.mkdir()
    with disk.record(root) as events:
        descriptor = os.open(root / "f", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"12345")
        os.fsync(descriptor)
        os.write(descriptor, b"67")
        os.close(descriptor)
        folder = os.open(root, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        os.rename(root / "f", root / "g")
    left = set()
    for seed in range(60):
        after = disk.Disk()
        for event in events:
            after.play(event)
        after.lose_power(tmp_path / f"{seed}", random.Random(seed))
        left |= {(p.name, p.read_bytes()) for p in (tmp_path / f"{seed}").iterdir()}
    assert {data for _, data in left} == {b"12345", b"1234567", b"12345\0\0", b"123456"}
    assert {name for name, _ in left} == {"f", "g"}

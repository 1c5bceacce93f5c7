"""Our training, measured for a moment."""

import os
import sys

import pytest

from morello.benchmarks.versus.libraries import OURS
from morello.benchmarks.versus.turns import Turns


def test_ours_is_measured(tmp_path, monkeypatch):
    pytest.importorskip("envpool")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    monkeypatch.setenv("PYTHONPATH", path)
    told = []
    turns = Turns(2, 0, 0.0, 0.2, tmp_path, lambda stage, text: told.append((stage, text)))
    assert turns.measure(OURS, "", 0, "once") > 0
    assert told[0] == ("once", f"{OURS}, starting")

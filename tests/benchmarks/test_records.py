"""A result names the commit of the package that was measured."""

import subprocess
from pathlib import Path

import pytest

import morello
from morello.agents.storage.provenance import ROOT
from morello.benchmarks.records import circumstances


def test_the_commit_is_that_of_the_package():
    package = Path(morello.__file__).resolve().parent
    assert package == ROOT
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("not a git checkout")
    assert circumstances(())["commit"] == asked.stdout.strip()

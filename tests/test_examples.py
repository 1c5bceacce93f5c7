"""The examples run, stay short, and do what they say."""

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_under_60_lines(path):
    assert len(path.read_text().splitlines()) < 60


def test_training_loop(monkeypatch, capsys):
    words = ["training_loop.py", "--steps", "6400", "--num-envs", "8", "--unroll", "8"]
    monkeypatch.setattr(sys, "argv", words)
    load(EXAMPLES[1]).main()
    assert "step     6,400" in capsys.readouterr().out


def test_custom_level(tmp_path):
    from morello.envs.labyrinth.levels import LEVELS

    module = load(EXAMPLES[0])
    try:
        total = module.main(steps=60)
        module.picture(str(tmp_path / "map.png"))
    finally:
        del LEVELS["lemon_corridor"]
    assert -5 < total < 25
    assert (tmp_path / "map.png").stat().st_size > 500

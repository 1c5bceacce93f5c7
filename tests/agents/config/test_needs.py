"""Rewards that read what only some environments tell."""

import pytest

from morello.__main__ import main

TINY = ["--num-envs", "2", "--unroll", "4", "--steps", "8", "--quiet"]


@pytest.mark.parametrize("flags", [["coverage.weight", "1"], ["count.weight", "1", "--intrinsic.count.key", "cell"]])
def test_where_it_is_not_told_that_is_one_sentence(flags, tmp_path, capsys):
    words = ["train", "a2c", "--env", "gym:CartPole-v1", *TINY, "--run", str(tmp_path / "run")]
    assert main([*words, f"--intrinsic.{flags[0]}", *flags[1:]]) == 2
    assert "reads the 'cell' of the agent, which this environment does not tell" in capsys.readouterr().err
    assert main([*words, "--intrinsic.coverage.weight", "0"]) == 0

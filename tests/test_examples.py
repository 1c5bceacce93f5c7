"""The examples run, stay short, and do what they say."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
BY_NAME = {path.stem: path for path in EXAMPLES}


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
    load(BY_NAME["training_loop"]).main()
    assert "step     6,400" in capsys.readouterr().out


def test_custom_level(tmp_path):
    from morello.envs.labyrinth.levels import LEVELS

    module = load(BY_NAME["custom_level"])
    try:
        total = module.main(steps=60)
        module.picture(str(tmp_path / "map.png"))
    finally:
        del LEVELS["lemon_corridor"]
    assert -5 < total < 25
    assert (tmp_path / "map.png").stat().st_size > 500


def test_custom_loss(tmp_path, capsys):
    from morello.__main__ import main
    from morello.auxiliaries import AUXILIARY_LOSSES

    file, run = str(BY_NAME["custom_loss"]), str(tmp_path / "run")
    tiny = "--env labyrinth:seekavoid_arena_01 --frame-size 36 36 --steps 600 --num-envs 4 --log-every 100 --threads 1"
    try:
        words = ["train", "a2c-lstm", *tiny.split(), "--import", file, "--aux.next-colour.weight", "1", "--run", run]
        assert main(words) == 0
        assert main(["list", "losses", "--import", file]) == 0
        assert "the mean colour of the next frame" in capsys.readouterr().out
        records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        assert records[-1]["loss/next_colour"] < records[0]["loss/next_colour"]
        assert records[-1]["next_colour/gradient_share"] > 0
        del AUXILIARY_LOSSES["next_colour"]
        assert main(["train", "--resume", "--run", run, "--steps", "700"]) == 2
        assert "--import its file" in capsys.readouterr().err
        assert main(["eval", run, "--episodes", "2"]) == 0  # an evaluation needs no loss
        assert main(["train", "--resume", "--run", run, "--steps", "700", "--import", file]) == 0
    finally:
        AUXILIARY_LOSSES.pop("next_colour", None)


def test_custom_bonus(tmp_path, capsys):
    from morello.__main__ import main
    from morello.auxiliaries import INTRINSIC_REWARDS

    file, run = str(BY_NAME["custom_bonus"]), str(tmp_path / "run")
    tiny = "--env labyrinth:my_way_home_sparse --frame-size 36 36 --steps 600 --num-envs 4 --log-every 100 --threads 1"
    own = "--intrinsic.surprise.weight 0.1 --intrinsic.surprise.learning-rate 0.003 --extrinsic.weight 0"
    try:
        words = ["train", "a2c", *tiny.split(), "--import", file, *own.split(), "--run", run]
        assert main(words) == 0
        assert main(["list", "intrinsic", "--import", file]) == 0
        assert "how badly the next observation is predicted" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            main(["train", "a2c", "--import", file, "--help"])
        said = capsys.readouterr().out
        assert "--intrinsic.surprise.hidden" in said
        assert "--intrinsic.surprise.normalise" in said
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert config["intrinsic"]["surprise"]["weight"] == 0.1
        assert config["extrinsic"] == {"weight": 0}
        records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        logged = {"surprise/reward", "surprise/divisor", "surprise/value", "loss/value/surprise", "loss/surprise"}
        assert logged | {"surprise/change"} <= records[-1].keys()
        assert records[-1]["surprise/gradient_share"] == 0
        for words, flag in (
            (["--intrinsic.surprise.gamma", "1"], "--intrinsic.surprise.gamma"),
            (["--intrinsic.surprise.normalise", "most"], "normalise"),
            (["--intrinsic.surprise.hidden", "9", "--intrinsic.surprise.weight", "0"], "has settings but weight 0"),
            (["--extrinsic.weight", "-1"], "--extrinsic.weight"),
        ):
            assert main(["train", "a2c", *tiny.split(), "--import", file, *own.split()[:2], *words]) == 2
            assert flag in capsys.readouterr().err
        del INTRINSIC_REWARDS["surprise"]
        assert main(["train", "--resume", "--run", run, "--steps", "700"]) == 2
        assert "a reward 'surprise' that is not known here: --import its file" in capsys.readouterr().err
        assert main(["eval", run, "--episodes", "2"]) == 0  # an evaluation needs no reward
        assert main(["train", "--resume", "--run", run, "--steps", "700", "--import", file]) == 0
    finally:
        INTRINSIC_REWARDS.pop("surprise", None)

"""`morello bench reached`: steps until a level is reached, by experiment and environment."""

import json
import math
from pathlib import Path

import pytest

from morello.__main__ import main
from morello.benchmarks.report.reached import median, natural, positions, shared


def write(path, env, *seeds):
    path.parent.mkdir(exist_ok=True)
    curves = [{"step": [1000 * (i + 1) for i in range(len(s))], "episode_return": s, "success": s} for s in seeds]
    path.write_text(json.dumps({"env": env, "preset": "a2c", "seeds": [{"curve": curve} for curve in curves]}))
    return str(path)


def test_each_seed_is_shown_with_the_step_at_which_it_first_reached_the_level(tmp_path, capsys):
    files = [
        write(tmp_path / "none" / "a.json", "labyrinth:rooms_chain_10", [0.0, 0.1, 0.2], [0.0, 0.0]),
        write(tmp_path / "none" / "b.json", "labyrinth:rooms_chain_2", [0.0, 0.96, 0.1], [1.0, 0.0, 0.0]),
        write(tmp_path / "count" / "c.json", "labyrinth:rooms_chain_10", [0.0, 0.94, 0.95]),
    ]
    assert main(["bench", "reached", *files, "--out", str(tmp_path / "out")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1] == ["labyrinth:rooms_chain", "none", "count"]
    assert lines[3] == ["2", "1,", "2"]
    assert lines[4] == ["10", "2", "never", "in", "3", "3"]
    assert (tmp_path / "out" / "reached.png").stat().st_size > 5000


def test_names_are_shown_as_they_are(tmp_path, capsys):
    envs = "a:[/b]_$\\frac$1", "a:[/b]_\u00b2"
    files = [write(tmp_path / f"[red]{n}" / "a.json", env, [0.0, 1.0]) for n, env in enumerate(envs)]
    assert main(["bench", "reached", *files, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("[red]0", "[red]1", "a:[/b]", "$\\frac$1", "\u00b2"))


def test_wrong_input_is_refused_in_a_sentence(tmp_path, capsys):
    good = write(tmp_path / "none" / "a.json", "labyrinth:rooms_chain_10", [0.0, 0.1])
    for words, sentence in (
        ([], "Name records of morello bench curves"),
        ([good, "--measure", "entropy"], "has no numbers named 'entropy': give --measure one of episode_return"),
        ([str(tmp_path / "missing.json")], "is not a record of morello bench curves: No such file"),
        ([good, "--level", "nan"], "--level must be a finite number"),
        ([good, "--measure", "step"], "has no numbers named 'step': give --measure one of episode_return, success."),
        ([good, write(tmp_path / "none" / "b.json", "labyrinth:rooms_chain_10", [0.1])], "is a second record of"),
    ):
        assert main(["bench", "reached", *words, "--out", str(tmp_path)]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "column", [5, None, [], [0, 1, 10**400], [math.nan] * 2, [math.inf, 1], [True, False], ["1", 1], [None, None]]
)
def test_a_damaged_column_is_refused(tmp_path, capsys, column):
    path = write(tmp_path / "none" / "a.json", "labyrinth:rooms_chain_10", [0.0, 0.1])
    record = json.loads(Path(path).read_text())
    record["seeds"][0]["curve"]["success"] = column
    Path(path).write_text(json.dumps(record))
    for words in (["reached", path], ["curves", path, "--measure", "success"]):
        assert main(["bench", *words, "--out", str(tmp_path)]) == 2
        assert "has no numbers named 'success': give --measure one of episode_return." in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_said(tmp_path, capsys):
    path = write(tmp_path / "none" / "a.json", "labyrinth:rooms_chain_10", [0.0, 0.1])
    (tmp_path / "reached.png").mkdir()
    assert main(["bench", "reached", path, "--out", str(tmp_path)]) == 2
    assert "reached.png cannot be written" in capsys.readouterr().err


def test_the_line_of_medians_is_broken_where_half_of_the_seeds_never_reached_the_level():
    assert median([(5.0, 9.0), (None, 9.0), (7.0, 9.0)]) == 7.0
    assert math.isnan(median([(5.0, 9.0), (None, 9.0)]))


def test_environments_with_different_numbers_are_drawn_at_them():
    assert positions(["2", "10"]) == [2, 10]
    assert positions(["3", "03"]) == positions(["3", "x"]) == positions(["3", "\u00b2"]) == [0, 1]


@pytest.mark.parametrize(
    ("names", "common", "rest"),
    [
        (["a:b_2", "a:b_10"], "a:b", ["2", "10"]),
        (["m:Key-S3R3", "m:Key-S4R3"], "m:Key", ["S3R3", "S4R3"]),
        (["m:Key-S3"], "", ["m:Key-S3"]),
        (["a:b", "c:d"], "", ["a:b", "c:d"]),
    ],
)
def test_what_names_share_is_said_once(names, common, rest):
    assert shared(names) == (common, rest)
    assert sorted(sorted(names), key=natural) == names

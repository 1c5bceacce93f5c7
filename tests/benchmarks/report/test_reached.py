"""`morello bench reached`: steps until a level is reached, by experiment and environment."""

import json

import pytest

from morello.__main__ import main
from morello.benchmarks.report.reached import natural, shared


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
    assert lines[0] == ["labyrinth:rooms_chain"]
    assert ["thousand", "steps", "2", "10"] in lines
    assert next(line for line in lines if line[0] == "none") == "none 1, 2 never in 3, never in 2".split()
    assert next(line for line in lines if line[0] == "count") == ["count", "3"]
    assert (tmp_path / "out" / "reached.png").stat().st_size > 5000


def test_wrong_input_is_refused_in_a_sentence(tmp_path, capsys):
    good = write(tmp_path / "none" / "a.json", "labyrinth:rooms_chain_10", [0.0, 0.1])
    for words, sentence in (
        ([], "Name records of morello bench curves"),
        ([good, "--measure", "entropy"], "has no numbers named 'entropy': give --measure one of episode_return"),
        ([str(tmp_path / "missing.json")], "is not a record of morello bench curves: No such file"),
    ):
        assert main(["bench", "reached", *words, "--out", str(tmp_path)]) == 2
        assert sentence in capsys.readouterr().err


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
    assert sorted(reversed(names), key=natural) == names

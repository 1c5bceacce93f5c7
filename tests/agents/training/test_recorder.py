"""Records of exploration: where there are cells, exactly resumed, and from checkpoints that lack them."""

import json

import pytest

from morello.agents.storage import checkpoint
from morello.agents.training.train import train

from ...support.forging import forge
from ...support.small_run import POLE, ROOM, SMALL_ROOMS, records, same, stopped


def explored(folder):
    return [{k: v for k, v in record.items() if k.startswith("explore/")} for record in records(folder)]


def exploration(folder):
    return checkpoint.load(folder / "checkpoints")[1]["exploration"]


def test_a_run_among_cells_records_what_it_explores(tmp_path):
    train(run=str(tmp_path / "run"), **ROOM)
    found = explored(tmp_path / "run")
    assert len(found) == 3
    for record, metrics in zip(found, records(tmp_path / "run"), strict=True):
        assert 1 < record["explore/cells"] <= 9  # the floor of a room of 5 x 5 with its walls
        assert 0 < record["explore/visit_entropy"] < 2.2  # log 9
        assert ("explore/cells_per_episode" in record) == (metrics["episodes"] > 0)
        assert record.get("explore/cells_per_episode", 1) <= record["explore/cells"]
    assert any("explore/cells_per_episode" in record for record in found)


def test_a_run_without_cells_records_nothing_of_that(tmp_path):
    train(run=str(tmp_path / "run"), **POLE)
    assert explored(tmp_path / "run") == [{}] * 3
    assert "exploration" not in checkpoint.load(tmp_path / "run" / "checkpoints")[1]


def test_what_was_explored_is_part_of_what_is_resumed(tmp_path):
    train(run=str(tmp_path / "whole"), **SMALL_ROOMS)
    stopped(tmp_path / "run", SMALL_ROOMS, at=400)
    train(run=str(tmp_path / "run"), resume=True, **SMALL_ROOMS)
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    assert same(exploration(tmp_path / "run"), exploration(tmp_path / "whole"))
    assert exploration(tmp_path / "run")["visits"].sum() == 605  # every row, the first ones included


def without_exploration(folder):
    """Makes the newest checkpoint what earlier versions left."""
    newest = max((folder / "checkpoints").glob("step_*"))
    tree = json.loads((newest / "tree.json").read_text())
    tree["tree"]["dict"] = [pair for pair in tree["tree"]["dict"] if pair[0] != "exploration"]
    forge(newest, "tree.json", json.dumps(tree).encode())
    (folder / "checkpoints" / "latest.json").write_bytes((newest / "manifest.json").read_bytes())


def test_a_run_of_an_earlier_version_begins_to_record(tmp_path):
    stopped(tmp_path / "run", SMALL_ROOMS, at=400)
    without_exploration(tmp_path / "run")
    step, saved = checkpoint.load(tmp_path / "run" / "checkpoints")
    assert "exploration" not in saved
    train(run=str(tmp_path / "run"), resume=True, **SMALL_ROOMS)
    assert exploration(tmp_path / "run")["visits"].sum() == 605 - step


@pytest.mark.parametrize("forged", [1, {"dict": []}])
def test_what_is_no_exploration_is_refused(tmp_path, forged):
    stopped(tmp_path / "run", SMALL_ROOMS, at=200)
    newest = max((tmp_path / "run" / "checkpoints").glob("step_*"))
    tree = json.loads((newest / "tree.json").read_text())
    next(pair for pair in tree["tree"]["dict"] if pair[0] == "exploration")[1] = forged
    forge(newest, "tree.json", json.dumps(tree).encode())
    (tmp_path / "run" / "checkpoints" / "latest.json").write_bytes((newest / "manifest.json").read_bytes())
    with pytest.raises(Exception, match="cannot go on: its state/exploration is not"):
        train(run=str(tmp_path / "run"), resume=True, **SMALL_ROOMS)

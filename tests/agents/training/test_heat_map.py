"""Heat maps of exploration: the colours of cells, and the pictures that a run leaves."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from morello.agents.training import recorder
from morello.agents.training.heat_map import heat_map
from morello.agents.training.train import train
from morello.envs.cell_map import CellMap
from morello.envs.exploration import Heat

from ...support.small_run import POLE, SMALL_ROOMS, records

GREY = (232, 233, 238)


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def centre(image, colour):
    """Mean row and column of the pixels of about this colour."""
    found = np.argwhere(np.abs(image - colour).max(-1) < 3)
    assert len(found) > 200
    return found.mean(0)


def drawn(upwards, visits, reward=None, columns=4):
    plan = CellMap(3, columns, upwards)
    rewards = {} if reward is None else {"bonus": reward.unsqueeze(0)}
    return pixels(heat_map(Heat(visits.unsqueeze(0), rewards), [plan], ["task"], "after 7 steps"))


@pytest.mark.parametrize("upwards", [True, False])
def test_cells_are_where_the_map_has_them(upwards):
    """Row 0, column 1 is visited a hundred times (yellow), row 2, column 3 ten times (green), 0 and 0 never."""
    visits = torch.zeros(12, dtype=torch.int64)
    visits[1], visits[11], visits[8] = 100, 10, 1
    image = drawn(upwards, visits)
    often, less, once = centre(image, (253, 231, 36)), centre(image, (32, 144, 140)), centre(image, (68, 1, 84))
    assert (often[0] > less[0] + 50) == upwards
    assert less[1] > often[1] + 100 > once[1] + 150
    assert abs(once[0] - less[0]) < 40  # but for the colour bar's share


def test_rewards_are_shown_where_something_arrived():
    visits, reward = torch.ones(12, dtype=torch.int64), torch.full((12,), torch.nan, dtype=torch.float64)
    plain = drawn(True, visits)
    with_reward = drawn(True, visits, reward)
    assert with_reward.shape[1] > 1.5 * plain.shape[1]
    grey = np.abs(with_reward - GREY).max(-1) < 3
    assert grey[:, grey.shape[1] // 2 :].sum() > 10_000  # all of the right map
    reward[:] = 0.5
    assert (np.abs(drawn(True, visits, reward) - GREY).max(-1) < 3).sum() < grey.sum() / 3


def test_tasks_may_have_fewer_cells_than_others_and_none_may_be_visited():
    plans = [CellMap(3, 4), CellMap(2, 3, walls=np.array([[[0, 0], [3, 0]], [[0, 2], [3, 2]]], np.float32))]
    heat = Heat(torch.zeros(2, 12, dtype=torch.int64), {"a": torch.full((2, 12), torch.nan, dtype=torch.float64)})
    assert pixels(heat_map(heat, plans, ["one", "two"])).size > 0


def images(folder):
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator.Images("exploration") if "exploration" in accumulator.Tags()["images"] else []


def test_a_run_among_cells_leaves_a_picture_with_every_checkpoint(tmp_path):
    train(run=str(tmp_path / "run"), **SMALL_ROOMS)
    found = images(tmp_path / "run")
    assert [image.step for image in found] == [120, 240, 360, 480, 600]
    assert (tmp_path / "run" / "exploration.png").read_bytes() == found[-1].encoded_image_string
    assert found[0].encoded_image_string != found[-1].encoded_image_string


def test_a_run_without_cells_leaves_none(tmp_path):
    train(run=str(tmp_path / "run"), **POLE)
    assert not images(tmp_path / "run")
    assert not (tmp_path / "run" / "exploration.png").exists()


def test_a_picture_that_fails_costs_nothing_else(tmp_path, monkeypatch, capsys):
    def fail(self):
        raise RuntimeError("no colours")

    train(run=str(tmp_path / "whole"), **SMALL_ROOMS)
    monkeypatch.setattr(recorder.Recorder, "picture", fail)
    train(run=str(tmp_path / "run"), **SMALL_ROOMS)
    assert "no picture of exploration at step 120: RuntimeError: no colours" in capsys.readouterr().err
    assert records(tmp_path / "run") == records(tmp_path / "whole")

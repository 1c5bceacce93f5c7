"""The column beside a film: what is bright, where it stands, and what a run has to show."""

import json

import numpy as np
import torch

from morello.agents.config.load import load
from morello.agents.storage import checkpoint
from morello.agents.training.train import train
from morello.agents.video.drawing import CHERRY
from morello.agents.video.film import watch
from morello.agents.video.side_panel import BOXES, WIDTH, Curve, SidePanel, side_panel
from morello.auxiliaries import AuxiliaryLoss

FRAME = np.full((540, 960, 3), 7, np.uint8)


class Corner(AuxiliaryLoss):
    """Knows the lower left quarter, as brightly as it is told."""

    def __init__(self):
        super().__init__(self.Config())

    def forward(self, rollout, features):
        raise NotImplementedError  # a film never trains

    def heat(self, features):
        return torch.tensor([[0.0, 0.0], [float(features), 0.0]])


def bright(column, box, x, y):
    """Brightness at a share of a box's width and height, below its title."""
    left, top, right, bottom = box
    return int(column[int(top + 34 + y * (bottom - top - 46)), int(left + 12 + x * (right - left - 24))].sum())


def test_heat_is_the_right_way_up_and_as_bright_as_it_was_at_most():
    column = SidePanel({"corner": Corner()}, [])
    drawn = [column.draw(FRAME, heat)[:, 960:] for heat in (2.0, 0.5)]
    assert drawn[0].shape == (540, WIDTH, 3)
    for picture in drawn:
        assert bright(picture, BOXES[0], 0.25, 0.75) > 2 * bright(picture, BOXES[0], 0.75, 0.25)
    assert bright(drawn[0], BOXES[0], 0.25, 0.75) > bright(drawn[1], BOXES[0], 0.25, 0.75)
    assert (column.draw(FRAME, 1.0)[:, :960] == FRAME).all()


def test_a_curve_has_a_bar_for_each_horizon():
    column = SidePanel({}, [Curve("cpc accuracy", np.array([0.8, 0.1]), 0.05)]).draw(FRAME, None)[:, 960:]
    left, top, _, bottom = BOXES[0]
    height = [int((column[top:bottom, left + 12 + dx] == CHERRY).all(-1).sum()) for dx in (20, 120)]
    assert height[0] > 6 * height[1] > 6


def test_a_run_shows_what_its_losses_know(tmp_path):
    options = {"env": "labyrinth:seekavoid_arena_01", "frame_size": (36, 36), "steps": 200, "num_envs": 4}
    options |= {"unroll": 10, "threads": 1, "quiet": True, "torso": "shallow", "log_every": 100}
    run = train("a2c", aux={"pixel_control": 1.0, "cpc": 1.0}, run=tmp_path / "run", **options)
    column = side_panel(load(run.path), run.path)
    assert list(column.losses) == ["pixel_control"]
    assert [len(curve.values) for curve in column.curves] == [10]
    record = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert column.curves[0].values[3] == record["cpc/accuracy_by_horizon/4"]
    film = watch(run.path, seconds=0.2)
    assert film.stat().st_size > 1000
    plain = train("a2c", run=tmp_path / "plain", **options)
    assert side_panel(load(plain.path), plain.path) is None


def test_restored_heads_are_the_trained_ones(tmp_path):
    options = {"env": "labyrinth:seekavoid_arena_01", "frame_size": (36, 36), "steps": 200, "num_envs": 4}
    options |= {"threads": 1, "quiet": True, "torso": "shallow"}
    run = train("a2c", aux={"pixel_control": 1.0}, run=tmp_path / "run", **options)
    _, saved = checkpoint.load(run.path / "checkpoints", part=("learner", "plugins", "pixel_control"))
    module = side_panel(load(run.path), run.path).losses["pixel_control"]
    assert all(torch.equal(saved[k], v) for k, v in module.state_dict().items())

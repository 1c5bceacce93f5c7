"""A checkpoint with other things in it than were saved, and right hashes: refused in a sentence, not at a step."""

import json
import math

import pytest
import torch

from morello.__main__ import main
from morello.agents.optim import RMSProp
from morello.agents.storage import checkpoint
from morello.agents.training.restoring import refuse_odd_slots, refuse_other_kind
from morello.agents.training.train import train

from ...support.forging import forge

COUNTING = {
    "env": "counting:steps",
    "num_envs": 2,
    "unroll": 4,
    "steps": 16,
    "log_every": 16,
    "threads": 1,
    "quiet": True,
}

FRESH = {
    "t": torch.zeros(2, 3),
    "n": 0,
    "x": 0.0,
    "w": "a",
    "f": True,
    "none": None,
    "some": (1, [2]),
    "any": {},
    "more": [],
}


def test_what_is_alike():
    saved = {"t": torch.ones(2, 3), "n": 7, "x": 2, "w": "b", "f": False, "none": {"x": 1}, "some": [3, (4,)]}
    refuse_other_kind(saved | {"any": {"b": 1}, "more": [1, 2], "further": 1}, FRESH)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t", 3),
        ("t", torch.zeros(3, 2)),
        ("t", torch.zeros(2, 3, dtype=torch.float64)),
        ("n", -1),
        ("n", 2**63),
        ("n", True),
        ("n", 1.0),
        ("n", "1"),
        ("n", None),
        ("x", math.nan),
        ("x", "1"),
        ("w", 1),
        ("f", 1),
        ("some", (1,)),
        ("some", (1, [-2])),
        ("some", {}),
        ("any", []),
        ("any", None),
        ("more", {}),
    ],
)
def test_what_is_not(key, value):
    with pytest.raises(ValueError, match=f"its state/{key}.* is not what this version writes there"):
        refuse_other_kind(FRESH | {key: value}, FRESH)
    with pytest.raises(ValueError, match="its state is not"):
        refuse_other_kind({k: v for k, v in FRESH.items() if k != key}, FRESH)


def test_an_optimiser_with_the_memory_of_another_parameter():
    parameter = torch.nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([parameter])
    refuse_odd_slots([adam])  # it has none yet
    good = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    adam.state[parameter] = good
    refuse_odd_slots([adam])
    for bad in (good | {"exp_avg": torch.zeros(5)}, good | {"exp_avg": "x"}, {"step": torch.tensor(1.0)}):
        adam.state[parameter] = bad
        with pytest.raises(ValueError, match="an optimiser's"):
            refuse_odd_slots([adam])


@pytest.mark.parametrize("left", [(), ("updates",), ("mean_square",)])
def test_a_memory_that_there_is_from_the_start_may_not_lack(left):
    parameter = torch.nn.Parameter(torch.zeros(3))
    ours = RMSProp([parameter])
    refuse_odd_slots([ours])
    ours.state[parameter] = {k: v for k, v in ours.state[parameter].items() if k in left}
    with pytest.raises(ValueError, match="an optimiser's memory lacks a part"):
        refuse_odd_slots([ours])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("learner", "optimizer", "policy.weight", "updates"), "7"),
        (("learner", "optimizer", "policy.weight"), {"dict": []}),
        (("learner", "optimizers", "reward_prediction", 0), {"dict": []}),
        (("learner", "optimizers", "reward_prediction", 0, "updates"), None),
        (("learner", "optimizer", "policy.weight", "updates"), -1),
        (("learner", "steps"), 3),
        (("actor",), None),
        (("done", "log"), None),
        (("records",), "x"),
        (("seconds",), {"float": "nan"}),
        (("statistics",), []),
        (("environment",), {"dict": []}),
        (("generators", "torch"), 1),
        (("averages",), [1]),
        (("owed",), 3),
    ],
)
def test_no_part_of_a_checkpoint_can_bring_a_run_down(tmp_path, capsys, path, value):
    run = tmp_path / "run"
    train("a2c", run=run, aux={"reward_prediction": 0.5}, **COUNTING)
    newest = max((run / "checkpoints").glob("step_*"))
    tree = json.loads((newest / "tree.json").read_text())
    node = tree["tree"]
    for key in path[:-1]:
        node = dict(node["dict"])[key]
    place = next(pair for pair in node["dict"] if pair[0] == path[-1])
    place[1] = value
    forge(newest, "tree.json", json.dumps(tree).encode())
    (run / "checkpoints" / "latest.json").write_bytes((newest / "manifest.json").read_bytes())
    assert checkpoint.load(run / "checkpoints")[0] == 16
    assert main(["train", "--run", str(run), "--resume", "--steps", "24", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "cannot go on" in said
    assert said.count("\n") == 1

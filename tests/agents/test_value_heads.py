"""Value heads go by the names of their streams, in checkpoints too, also in those of the time when they had numbers."""

import json

import pytest
import torch

from morello.agents.model import ActorCritic, heads_by_name
from morello.agents.plugins import refuse_reserved
from morello.agents.training.train import train
from morello.auxiliaries import IntrinsicConfig, IntrinsicReward, Scored
from morello.envs.errors import UserError
from morello.envs.experience import Spec

SPEC = Spec({"vector": ((5,), torch.float32)}, 3, ("a", "b", "c"), ("task",), 1, None, True)
SHORT = {
    "env": "gym:CartPole-v1",
    "num_envs": 8,
    "unroll": 8,
    "threads": 1,
    "quiet": True,
    "checkpoint_every": 0,
    "log_every": 2560,
    "seed": 0,
    "constant_rate": True,
    "learning_rate": 3e-3,
}


class Always(IntrinsicReward):
    """The same bonus at every step."""

    def __init__(self, bonus):
        super().__init__(IntrinsicConfig(weight=0.1, gamma=0.5, normalise="none"))
        self.bonus = bonus

    def score(self, rollout, features, state):
        return Scored(torch.full_like(rollout.reward, self.bonus))


def test_a_resumed_run_may_name_its_rewards_in_another_order(tmp_path):
    one, nothing = (("one", 1.0), ("nothing", 0.0))

    def rewards(*named):
        return {name: Always(bonus) for name, bonus in named}

    folder = str(tmp_path / "run")
    train("a2c", steps=15_360, run=folder, plugins=rewards(one, nothing), **SHORT)
    train("a2c", steps=15_424, run=folder, plugins=rewards(nothing, one), resume=True, **SHORT)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 15_424
    assert last["one/value"] == pytest.approx(2, abs=0.2)  # 1 / (1 - gamma)
    assert last["nothing/value"] == pytest.approx(0, abs=0.2)


def test_numbered_heads_are_read():
    model, other = (ActorCritic(SPEC, torso="mlp", streams=("extrinsic", "1")) for _ in range(2))
    numbered = {k.replace("values.extrinsic.", "values.0."): v for k, v in model.state_dict().items()}
    assert "values.0.weight" in numbered
    other.load_state_dict(heads_by_name(numbered))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_head_a_stream():
    model = ActorCritic(SPEC, torso="mlp", streams=("extrinsic", "b", "a"))
    out = model.act({"vector": torch.randn(7, 5)}, torch.ones(7, dtype=torch.bool), model.initial_state(7))
    assert [*out.value] == ["extrinsic", "b", "a"]
    assert all(v.shape == (1, 7) for v in out.value.values())
    bases = {v.untyped_storage().data_ptr() for v in out.value.values()}
    assert len(bases) == 3  # none shares memory with another


def test_a_stream_may_be_called_by_a_number():
    model, other = (ActorCritic(SPEC, torso="mlp", streams=("extrinsic", "0")) for _ in range(2))
    other.load_state_dict(heads_by_name(model.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["", "a.b", "keys", "training", "_modules", "value/it", "a/b"])
def test_names_that_no_head_or_metric_can_have_are_refused(name):
    with pytest.raises(UserError, match="cannot be called"):
        refuse_reserved([name])

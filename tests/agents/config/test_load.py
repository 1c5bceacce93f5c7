"""Agents read back from run folders, of which nothing is run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from morello.agents.config.load import load
from morello.agents.model import ActorCritic
from morello.agents.storage import checkpoint
from morello.agents.storage.run_folder import Run
from morello.envs.errors import UserError
from morello.envs.experience import Spec

from ...support.run_folders import CONFIG, SPEC


def trained(folder: Path, spec: Spec = SPEC, streams: Sequence[str] = ("extrinsic",), **config: Any) -> ActorCritic:
    """A run with a checkpoint of a model with random weights."""
    settings = {**CONFIG, **config}
    torso = "nature" if "image" in spec.observation else "mlp"
    model = ActorCritic(spec, torso=torso, memory=settings["memory"], memory_size=11, streams=streams)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    with Run.create(folder, settings, spec) as run:
        checkpoint.save(
            run.checkpoints, 123, {"learner": {"model": model.state_dict(), "steps": torch.tensor(123)}}, keep=1
        )
    return model


def observation(batch: int, spec: Spec = SPEC) -> dict[str, torch.Tensor]:
    made = {
        "image": lambda shape: torch.randint(0, 256, (batch, *shape), dtype=torch.uint8),
        "vector": lambda shape: torch.randn(batch, *shape),
    }
    return {name: made[name](shape) for name, (shape, _) in spec.observation.items()}


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
@pytest.mark.parametrize("streams", [("extrinsic",), ("extrinsic", "b", "a")])
def test_a_loaded_agent_is_the_one_that_was_saved(tmp_path, memory, streams):
    model = trained(tmp_path, memory=memory, streams=streams)
    agent = load(tmp_path)
    assert (agent.step, agent.config, agent.spec) == (123, CONFIG | {"memory": memory}, SPEC)
    mine, state = model.initial_state(5), agent.initial_state(5)
    generator = torch.Generator().manual_seed(1)
    for t in range(4):
        seen, first, reward = observation(5), torch.tensor([t == 0, False, t == 2, False, True]), torch.randn(5)
        out = model.act(seen, first, mine._replace(reward=reward))
        before = generator.get_state()
        action, after = agent.act(seen, state, first, reward, generator=generator)
        told, _ = agent.act(seen, state._replace(reward=reward), first, generator=generator.set_state(before))
        assert torch.equal(action, told)  # the reward may also be put into the state
        best, _ = agent.act(seen, state, first, reward, greedy=True)
        assert torch.equal(best, out.logits[0].argmax(-1))
        logits = agent.model.act(seen, first, state._replace(reward=reward)).logits
        assert torch.equal(logits, out.logits)
        assert action.dtype == torch.int64
        assert torch.equal(after.action, action)
        mine, state = after._replace(memory=out.memory), after
        assert not any(p.requires_grad for p in agent.model.parameters())


def test_actions_are_drawn_from_the_policy(tmp_path):
    spec = SPEC._replace(observation={"vector": ((5,), torch.float32)})
    trained(tmp_path, spec, memory="none")
    agent = load(tmp_path)
    count = 7_001
    seen = {"vector": torch.randn(5).expand(count, 5)}
    state, first = agent.initial_state(count), torch.ones(count, dtype=torch.bool)
    policy = agent.model.act(seen, first, state).logits[0, 0].softmax(-1)
    action, _ = agent.act(seen, state, first, generator=torch.Generator().manual_seed(2))
    drawn = torch.bincount(action, minlength=7) / count
    assert policy.max() < 0.9
    torch.testing.assert_close(drawn, policy, atol=0.03, rtol=0)


def test_the_newest_good_checkpoint_is_taken(tmp_path, capsys):
    model = trained(tmp_path)
    checkpoint.save(tmp_path / "checkpoints", 124, {"learner": {"model": {}}}, keep=2)
    next((tmp_path / "checkpoints").glob("*124/tree.json")).write_text("")
    agent = load(str(tmp_path))
    assert agent.step == 123
    assert "falling back" in capsys.readouterr().err
    assert torch.equal(agent.model.policy.weight, model.policy.weight)


def test_what_an_agent_cannot_be_made_of(tmp_path):
    Run.create(tmp_path / "empty", CONFIG, SPEC).close()
    with pytest.raises(UserError, match="no checkpoint yet"):
        load(tmp_path / "empty")
    trained(tmp_path / "run")
    with pytest.raises(UserError, match="device 'nowhere'"):
        load(tmp_path / "run", device="nowhere")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for change in (
        {"memory": "gru"},
        {"memory_size": 13},
        {"torso": "shallow"},
        {"torso": "gone"},
        {"memory": None},
    ):
        (tmp_path / "run" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match=r"another network|setting 'memory' is None") as error:
            load(tmp_path / "run")
        assert "\n" not in str(error.value)


def test_an_agent_shown_something_else_says_what_it_knows(tmp_path):
    trained(tmp_path)
    agent = load(tmp_path)
    state, first, seen = agent.initial_state(2), torch.ones(2, dtype=torch.bool), observation(2)
    for wrong in (
        {"image": seen["image"]},
        seen | {"vector": torch.randn(2, 7)},
        seen | {"image": seen["image"].float()},
        seen | {"image": seen["image"].permute(0, 3, 1, 2)},
    ):
        with pytest.raises(UserError, match="trained to see"):
            agent.act(wrong, state, first)


def test_loading_runs_nothing_that_the_folder_names(tmp_path, monkeypatch):
    """A configuration is data: what it names is looked up in our tables or refused."""
    trained(tmp_path)
    (tmp_path / "evil.py").write_text("raise AssertionError")
    config = json.loads((tmp_path / "config.json").read_text())
    names = {"env": "evil:x", "preset": "evil", "plugins": ["evil"], "torso": "evil"}
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, **names, "torso": "auto"}))
    load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, **names}))
    with pytest.raises(UserError, match="another network"):
        load(tmp_path)
    assert "evil" not in sys.modules

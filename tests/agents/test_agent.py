"""Acting with a loaded agent: what it takes, and what it says of what it cannot take."""

import numpy as np
import pytest
import torch

from morello.agents.agent import Agent
from morello.agents.model import ActorCritic
from morello.envs.errors import UserError
from morello.envs.experience import Spec

SHAPES = {"image": ((36, 40, 3), torch.uint8), "vector": ((5,), torch.float32)}
SPEC = Spec(SHAPES, 3, ("a", "b", "c"), ("one",), 1, None, False)
B = 4


@pytest.fixture(scope="module", params=["none", "lstm", "transformer"])
def agent(request):
    torch.manual_seed(0)
    return Agent(ActorCritic(SPEC, torso="shallow", memory=request.param, memory_size=8), SPEC, {}, 0)


def seen(batch=B):
    image = torch.randint(0, 256, (batch, 36, 40, 3), dtype=torch.uint8)
    return {"image": image, "vector": torch.randn(batch, 5)}


FIRST = torch.tensor([True, False, True, False])
REWARD = torch.tensor([1.0, -2.0, 0.5, 7.0])


def test_arrays_and_lists_are_as_good_as_tensors(agent):
    observation = seen()
    state = agent.initial_state(B)
    for _ in range(2):  # of both kinds of state: the first, and what an act answered
        expected, after = agent.act(observation, state, FIRST, REWARD, generator=torch.Generator().manual_seed(1))
        arrays = {k: v.numpy() for k, v in observation.items()}
        wide = observation | {"vector": observation["vector"].double().numpy()}
        for given, first, reward in (
            (arrays, FIRST.numpy(), REWARD.numpy()),
            (wide, FIRST.tolist(), REWARD.tolist()),
            (observation, FIRST, REWARD.double()),
        ):
            action, _ = agent.act(given, state, first, reward, generator=torch.Generator().manual_seed(1))
            assert torch.equal(action, expected)
        state = after
    assert agent.act(observation | {"more": 1}, state, FIRST)[0].shape == (B,)


def changed(**parts):
    return lambda agent: {
        "observation": seen(),
        "state": agent.initial_state(B),
        "first": FIRST,
        **{k: v(agent) if callable(v) else v for k, v in parts.items()},
    }


MISTAKES = {
    "a tensor": (changed(observation=torch.zeros(B, 5)), "must be a dict of image and vector, not a Tensor"),
    "a part less": (changed(observation={"image": seen()["image"]}), "see 'vector' as .*given nothing"),
    "not a batch": (changed(observation={k: v[0] for k, v in seen().items()}), r"\[B, 36, 40, 3\]; .* \[36, 40, 3\]"),
    "a number": (changed(observation=seen() | {"vector": 1.0}), r"torch.float32 \[B, 5\]; it was given .* \[\]"),
    "fractions": (changed(observation=seen() | {"image": np.zeros((B, 36, 40, 3))}), "given torch.float64"),
    "whole numbers": (changed(observation=seen() | {"vector": np.zeros((B, 5), int)}), "given torch.int64"),
    "words": (changed(observation=seen() | {"vector": "north"}), "'vector' as .*not a str"),
    "two batches": (changed(observation=seen() | {"vector": torch.zeros(3, 5)}), "4 of 'image', 3 of 'vector'"),
    "nobody": (changed(observation=seen(0)), "at least 1; there are 0 of 'image'"),
    "first of another batch": (changed(first=FIRST[:3]), r"first is torch.bool \[4\] .*, not torch.bool \[3\]"),
    "first in numbers": (changed(first=FIRST.float()), r"first is torch.bool \[4\] .*, not torch.float32 \[4\]"),
    "first in a column": (changed(first=FIRST[:, None]), r"not torch.bool \[4, 1\]"),
    "no first": (changed(first=None), r"first is torch.bool \[4\] .*, not a NoneType"),
    "reward of another batch": (changed(reward=REWARD[:3]), r"reward is torch.float32 \[4\] .* \[3\]"),
    "reward in whole numbers": (changed(reward=torch.ones(B, dtype=torch.int64)), "reward is .*, not torch.int64"),
    "no state": (changed(state=()), "state must come from initial_state or the previous act, not be a tuple"),
    "state of another batch": (
        changed(state=lambda agent: agent.initial_state(3)),
        "state is for 3 environments, the observations are for 4",
    ),
    "state of another agent": (
        changed(state=lambda agent: agent.initial_state(B)._replace(memory=(torch.zeros(B, 9),))),
        "to another agent",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_gets_one_sentence(agent, what):
    arguments, words = MISTAKES[what]
    with pytest.raises(UserError, match=words) as refused:
        agent.act(**arguments(agent))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("batch", [0, -1, 2.0, "3", None, True])
def test_a_batch_is_a_number_of_environments(agent, batch):
    with pytest.raises(UserError, match="at least 1"):
        agent.initial_state(batch)


@pytest.mark.gpu
def test_devices_may_differ_but_for_generators():
    agent = Agent(ActorCritic(SPEC, torso="shallow", memory="gru", memory_size=8).cuda(), SPEC, {}, 0)
    state = agent.initial_state(B)
    action, _ = agent.act(seen(), state, FIRST, REWARD)
    assert action.device.type == "cuda"
    with pytest.raises(UserError, match="generator is on cpu, the agent on cuda"):
        agent.act(seen(), state, FIRST, generator=torch.Generator())

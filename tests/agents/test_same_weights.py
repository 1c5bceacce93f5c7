"""A2C's weights stay what they were, bit for bit: those of a plain loop written apart, and stored hashes of them."""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic

B, T, UPDATES = 7, 11, 50
CONFIG = LearnerConfig(gamma=0.9, learning_rate=3e-3, reward="clip", epsilon=1e-5)
SETTINGS = {
    "feed-forward": ("none", CONFIG),
    "recurrent": ("lstm", replace(CONFIG, timeout_terminates=True, max_grad_norm=40.0, value_cost=0.3)),
}

KEPT = {
    "torch 2.13.0, AVX512, AuthenticAMD family 25": ["a736d1279e77b5527340", "907429df9086fa740568"],
    "torch 2.13.0, AVX2, AuthenticAMD family 25": ["a736d1279e77b5527340", "907429df9086fa740568"],
}
"""Hashes by versions, instructions and kind of processor, in the order of ``SETTINGS``."""


def made(memory):
    torch.manual_seed(5)
    env = morello.make("counting:steps", num_envs=B, frame_size=(36, 44))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13)
    return model, Actor(env, model, T, seed=5)


def learnt(name, updates=UPDATES):
    """The weights after some updates of the learner."""
    memory, config = SETTINGS[name]
    model, actor = made(memory)
    learner = Learner(model, config, UPDATES * B * T)
    for _ in range(updates):
        learner.step(actor.collect())
    return model.state_dict()


def plain(name, updates=UPDATES):
    """The same from a loop of its own: A2C with RMSProp, whose mean square is the mean of what it has received."""
    memory, c = SETTINGS[name]
    model, actor = made(memory)
    parameters = list(model.parameters())
    squares = [torch.zeros_like(p) for p in parameters]
    for update in range(updates):
        rollout = actor.collect()
        crossing, final = rollout.last[:-1], rollout.last[1:]
        rows, zero = ~crossing, torch.zeros(())
        out = model.unroll(rollout)
        value, logits = out.value["extrinsic"], out.logits[:-1]
        known = value.detach()
        reward, discount = rollout.reward.clamp(-1, 1), c.gamma * rollout.discount
        if c.timeout_terminates:
            discount = torch.where(final, zero, discount)
        target = back(known, reward, discount, rows)
        advantage = reward + torch.where(discount == 0, zero, discount * target[1:]) - known[:-1]
        taken, log_pi = (F.log_softmax(logits, -1) for _ in range(2))  # whose gradients are added at the logits
        terms = (
            (c.value_cost, (target[:-1] - value[:-1]) ** 2 / 2),
            (1.0, -taken.gather(-1, rollout.action[..., None])[..., 0] * torch.where(rows, advantage, zero)),
            (c.entropy_cost, (log_pi.exp() * log_pi).sum(-1)),
        )
        means = [cost * (torch.where(rows, x, zero).sum() / rows.sum()) for cost, x in terms]
        for p in parameters:
            p.grad = None
        torch.stack(means).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, c.max_grad_norm)
        rate, n = c.learning_rate * (1 - update / UPDATES), update + 1
        decay = (c.rms_decay - c.rms_decay**n) / (1 - c.rms_decay**n)
        with torch.no_grad():
            for p, square in zip(parameters, squares, strict=True):
                square.mul_(decay).addcmul_(p.grad, p.grad, value=1 - decay)
                p.add_(p.grad / (square.sqrt() + c.epsilon), alpha=-rate)
    return model.state_dict()


def back(value, reward, discount, rows):
    """Returns to the end of the unroll, as errors of the value that are passed back; the last row is the value's."""
    delta = reward + torch.where(discount == 0, 0.0, discount * value[1:]) - value[:-1]
    delta, passed = torch.where(rows, delta, 0.0), torch.where(rows, discount, 0.0)
    errors, error = [], torch.zeros(B)
    for t in reversed(range(T)):
        error = torch.addcmul(delta[t], passed[t], error)
        errors.insert(0, error)
    target = value.clone()
    target[:-1] += torch.stack(errors)
    return target


def hashed(weights):
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


def kind():
    """What decides the order of sums: torch, its instructions, and the maker and family that MKL and oneDNN go by."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    lines = dict(line.replace("\t", "").split(":", 1) for line in told.split("\n\n")[0].splitlines() if ":" in line)
    maker = lines.get("vendor_id", platform.machine()).strip()
    family = lines.get("cpu family", "?").strip()
    version = torch.__version__.split("+")[0]
    return f"torch {version}, {torch.backends.cpu.get_cpu_capability()}, {maker} family {family}"


@pytest.mark.parametrize("name", SETTINGS)
def test_the_weights_are_those_of_a_plain_loop_bit_for_bit(name):
    mine, its = learnt(name, updates=13), plain(name, updates=13)
    assert [k for k in its if not torch.equal(mine[k], its[k])] == []
    assert not torch.equal(mine["policy.weight"], learnt(name, updates=12)["policy.weight"])


LESS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
CODE = """
import torch
torch.set_num_threads(1)
from tests.agents.test_same_weights import SETTINGS, hashed, kind, learnt
print(kind())
for name in SETTINGS:
    print(hashed(learnt(name)))
"""


@pytest.mark.parametrize("less", [False, True], ids=["native", "avx2"])
def test_the_weights_are_those_of_earlier_versions(less):
    """In a process of its own, for instructions are chosen when torch is loaded."""
    plain = {k: v for k, v in os.environ.items() if k not in LESS}
    chosen = plain | (LESS if less else {})
    done = subprocess.run([sys.executable, "-c", CODE], env=chosen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here, *found = done.stdout.splitlines()
    if here not in KEPT:
        pytest.skip(f"there are no stored weights for {here}: they are {found} here")
    assert found == KEPT[here]

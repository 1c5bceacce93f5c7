"""An environment of random images, rewards and cells, and what wrappers make of it."""

import torch

from morello.envs.experience import Spec, Timestep
from morello.envs.rows import empty_timestep, leaves, write_rows
from morello.envs.vector_env import VectorEnv

from .timesteps import actions, copy

H, W, C = 5, 7, 3


class Film(VectorEnv):
    """Random images, rewards and cells by the number of the row; environment b's episodes take ``lengths[b]`` steps.
    Keeps the actions it was given.
    """

    capturable, restarts = False, []

    def __init__(self, lengths, height=H, width=W, channels=C, seed=0, cells=13, terminates=True):
        g = torch.Generator().manual_seed(seed)
        B = len(lengths)
        self.num_envs, self.lengths, self.terminates = B, torch.tensor(lengths), terminates
        self.images = torch.randint(0, 256, (997, B, height, width, channels), generator=g, dtype=torch.uint8)
        self.rewards, self.cells = torch.randn(997, B, generator=g) * 3, torch.randint(cells, (997, B), generator=g)
        self.spec = Spec(
            {"image": ((height, width, channels), torch.uint8)}, 5, tuple("abcde"), ("film",), 1, max(lengths), True
        )
        self.own = empty_timestep(self.spec, B, cell=torch.zeros(B, dtype=torch.int64))
        self.row, self.age = torch.full((B,), -1), torch.zeros(B, dtype=torch.int64)
        self.given, self.resets, self.closed = [], 0, False

    def reset(self, seed=None, mask=None):
        self.resets += 1
        mask = torch.ones(self.num_envs, dtype=torch.bool) if mask is None else mask
        self.row, self.age = self.row + mask, torch.where(mask, 0, self.age)
        return self.answer(None)

    def step(self, action, out=None):
        self.given.append(action.clone())
        self.row, self.age = self.row + 1, torch.where(self.age == self.lengths, 0, self.age + 1)
        return self.answer(out)

    def answer(self, out):
        b, first, last = torch.arange(self.num_envs), self.age == 0, self.age == self.lengths
        row = self.row % 997
        reward = torch.where(first, 0, self.rewards[row, b])
        discount = torch.where(last & torch.tensor(self.terminates), 0.0, 1.0)
        now = Timestep(
            {"image": self.images[row, b]}, reward, discount, first, last, 0 * self.row, {"cell": self.cells[row, b]}
        )
        return write_rows(write_rows(now, self.own), out)  # its own memory is always the same

    def state_dict(self):
        return {"row": self.row, "age": self.age}

    def load_state_dict(self, state):
        self.row, self.age = state["row"].clone(), state["age"].clone()

    def close(self):
        self.closed = True


LENGTHS = (3, 11, 7, 2, 5)


def run(env, steps=41, seed=0, written=True, resets=()):
    """The answers of ``env``, written into rows of the caller's or not; before step t in ``resets`` that mask is."""
    answers = [copy(env.reset())]
    for t, action in enumerate(actions(env, steps, seed)):
        if t in resets:
            answers.append(copy(env.reset(mask=resets[t])))
        if not written:
            answers.append(copy(env.step(action)))
            continue
        out = Timestep(*(empty_like(x) for x in answers[0]))
        assert env.step(action, out) is out
        answers.append(out)
    return answers


def empty_like(x):
    """What was not written is not zero."""
    return {k: empty_like(v) for k, v in x.items()} if isinstance(x, dict) else torch.full_like(x, 77)


RESETS = {
    9: torch.tensor([False, True, True, False, False]),
    10: torch.tensor([True, False, True, False, True]),
    23: torch.tensor([False, False, False, True, False]),
}


def image(step):
    return step.observation["image"]


def same_but(answers, plain, *changed):
    """Everything else is as it was without the wrapper."""
    for x, y in zip(answers, plain, strict=True):
        x, y = leaves(x), leaves(y)
        for name in y.keys() - set(changed):
            assert torch.equal(x[name], y[name]), name

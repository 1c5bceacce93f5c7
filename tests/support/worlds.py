"""Tiny worlds with known answers, for learning tests."""

import torch

from morello.envs.experience import Spec, Timestep
from morello.envs.rows import write_rows
from morello.envs.vector_env import VectorEnv


class Cue(VectorEnv):
    """A one-hot cue at the first row, ``delay`` blank rows, then one act: +1 if it names the cue, then it terminates.

    ``honest=False`` draws the paid action afresh, whatever the cue: the negative control.
    """

    def __init__(self, num_envs, cues=3, delay=0, honest=True, seed=0):
        self.num_envs, self.cues, self.delay, self.honest = num_envs, cues, delay, honest
        self.generator = torch.Generator().manual_seed(seed)
        names = tuple(f"say_{i}" for i in range(cues))
        self.spec = Spec({"vector": ((cues,), torch.float32)}, cues, names, ("cue",), 1, delay + 1, False)

    def draw(self):
        return torch.randint(self.cues, (self.num_envs,), generator=self.generator)

    def reset(self, seed=None, mask=None):
        self.age = torch.zeros(self.num_envs, dtype=torch.int64)
        self.cue = self.draw()
        return self.answer(torch.zeros(self.num_envs), torch.zeros(self.num_envs, dtype=torch.bool))

    def step(self, action, out=None):
        over = self.age > self.delay
        acts = self.age == self.delay
        paid = self.cue if self.honest else self.draw()
        reward = torch.where(acts, (action == paid).float(), 0.0)
        self.age = torch.where(over, 0, self.age + 1)
        self.cue = torch.where(over, self.draw(), self.cue)
        timestep = self.answer(reward, acts)
        if out is None:
            return timestep
        out.observation["vector"].copy_(timestep.observation["vector"])
        for mine, theirs in zip(out[1:6], timestep[1:6], strict=True):
            mine.copy_(theirs)
        return out

    def answer(self, reward, last):
        shown = torch.nn.functional.one_hot(self.cue, self.cues).float() * (self.age == 0).unsqueeze(-1)
        return Timestep(
            {"vector": shown},
            reward,
            torch.where(last, 0.0, 1.0),
            self.age == 0,
            last,
            torch.zeros(self.num_envs, dtype=torch.int64),
            {},
        )


class Lock(VectorEnv):
    """A row of ``length`` places with a reward of 1 behind the last. In each, one action of three leads on, drawn by
    ``seed``, and the others into a pit for the rest of the episode, which is of ``length`` steps.
    """

    def __init__(self, num_envs, length=10, seed=0):
        self.num_envs, self.length = num_envs, length
        self.right = torch.randint(3, (length,), generator=torch.Generator().manual_seed(seed))
        self.place = self.age = torch.zeros(num_envs, dtype=torch.int64)  # -1: in the pit
        shown = {"vector": ((length + 2,), torch.float32)}
        self.spec = Spec(shown, 3, ("a", "b", "c"), ("lock",), 1, length, False)

    def reset(self, seed=None, mask=None):
        self.place = self.age = torch.zeros_like(self.place)
        return self.answer(None)

    def step(self, action, out=None):
        over = self.age == self.length
        led = (self.place >= 0) & (action == self.right[self.place.clamp(0, self.length - 1)])
        self.place = torch.where(over, 0, torch.where(led, self.place + 1, -1))
        self.age = torch.where(over, 0, self.age + 1)
        return self.answer(out)

    def answer(self, out):
        last, opened = self.age == self.length, self.place == self.length
        seen = torch.nn.functional.one_hot(self.place + 1, self.length + 2).float()
        none = torch.zeros_like(self.place)
        now = Timestep({"vector": seen}, opened.float(), (~last).float(), self.age == 0, last, none, {})
        return write_rows(now, out)

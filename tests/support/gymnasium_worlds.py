"""Small Gymnasium environments: one that shows every kind of space, one that breaks and one that draws in every way."""

import os
import signal
import subprocess
import time
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Parts(gymnasium.Env):
    """Episodes of 3 to 6 steps: odd ones terminate, even ones are truncated. Shows when and after which action."""

    observation_space = spaces.Dict(
        {
            "picture": spaces.Box(0, 255, (3, 5, 7), np.uint8),
            "mission": spaces.Text(20),
            "clock": spaces.Discrete(8, start=1),
            "where": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float64), spaces.MultiBinary(2))),
        }
    )
    action_space = spaces.Discrete(3, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock, self.action = 0, 0
        self.length, self.noise = int(self.np_random.integers(3, 7)), self.np_random.uniform(-1, 1)
        return self._look(), {}

    def step(self, action):
        assert action in (5, 6, 7), action
        assert self.clock < self.length, "stepped after its end"
        self.clock, self.action = self.clock + 1, action
        over = self.clock == self.length
        return self._look(), 10 * self.clock + action, over and self.length % 2 == 1, over and self.length % 2 == 0, {}

    def _look(self):
        picture = np.zeros((3, 5, 7), np.uint8)
        picture[0], picture[1], picture[2, 0, 0] = self.clock, self.action, 200
        where = np.array([self.noise, self.clock / 10]), np.array([1, self.clock % 2], np.int8)
        return {"picture": picture, "mission": "go", "clock": np.int64(1 + self.clock), "where": where}


class Faulty(gymnasium.Env):
    """Breaks as ``fault`` says, at step ``at`` of the episodes of environments whose seed is ``bad`` (None: of all)."""

    observation_space = spaces.Box(-10, 10, (3,), np.float32)
    action_space = spaces.Discrete(2)
    made: ClassVar[int] = 0

    def __init__(self, fault="raise", at=2, bad=1):
        type(self).made += 1
        self.fault, self.at, self.bad, self.seed = fault, at, bad, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = self.seed if seed is None else seed
        self.clock = 0
        if self.fault == "reset" and self.bad in (None, self.seed):
            raise OSError("no world\nto be had")
        if self.fault == "killed in reset" and self.bad in (None, self.seed):
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.clock += 1
        observation, reward = np.full(3, self.clock, np.float32), 1.0
        if self.bad in (None, self.seed) and self.clock == self.at:
            if self.fault == "raise":
                raise ZeroDivisionError("the world ended")
            if self.fault == "exit":
                raise SystemExit(3)
            if self.fault == "abort":
                os.abort()
            if self.fault == "leave":
                os._exit(7)
            if self.fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "sleep":
                time.sleep(1e6)
            while self.fault == "spin":
                pass
            if self.fault == "nan":
                observation[1] = np.nan
            if self.fault == "beyond":
                observation[1] = 10.5
            if self.fault == "reward":
                reward = float("inf")
            if self.fault == "shape":
                observation = np.zeros(4, np.float32)
            if self.fault == "type":
                observation = np.zeros(3, complex)
        return observation, reward, False, self.clock == 5, {}


class Unruly(Faulty):
    """Faults that no `Exception` is, and answers that look like others. ``calls`` notes what happens to it."""

    calls: ClassVar[list] = []

    def __init__(self, fault="panic", at=2, bad=1):
        if fault == "exit in init":
            raise SystemExit(0)
        super().__init__(fault, at, bad)
        if fault == "child":
            self.child = subprocess.Popen(["sleep", "600"])

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        type(self).calls.append(type(action))
        if self.bad in (None, self.seed) and self.clock == self.at:
            if self.fault == "panic":
                raise Panic("the rust is gone")
            if self.fault == "mute":
                raise MuteError
            if self.fault == "text":
                terminated = "False"
            if self.fault == "price":
                reward = "1.5"
            if self.fault == "child":
                self.child.terminate()
                self.child.wait()
        return observation, reward, terminated, truncated, info

    def close(self):
        type(self).calls.append("closed")
        if self.fault in ("panic", "bad close"):
            raise SystemExit(3)


class Panic(BaseException):
    """As what Rust's panics become."""


class MuteError(Exception):
    """Cannot say what it is."""

    def __str__(self):
        raise ValueError("no words")


class Slow(Faulty):
    """Takes its time over every reset."""

    def reset(self, *, seed=None, options=None):
        time.sleep(0.7)
        return super().reset(seed=seed)


class SlowToMake(Faulty):
    """Takes a minute to be made."""

    def __init__(self):
        time.sleep(60)
        super().__init__()


class Drawn(Parts):
    """Draws the clock and, when told to, something else or nothing."""

    metadata: ClassVar[dict] = {"render_modes": ["rgb_array"], "render_fps": 15}
    made: ClassVar[list] = []

    def __init__(self, render_mode=None, draws="clock"):
        type(self).made.append(render_mode)
        self.render_mode, self.draws, self.canvas = render_mode, draws, np.zeros((4, 6, 3), np.uint8)

    def render(self):
        assert self.render_mode == "rgb_array"
        if self.draws == "missing":
            raise gymnasium.error.DependencyNotInstalled("pygame is not installed\nrun pip")
        if self.draws == "exit":
            raise SystemExit(1)
        if self.draws == "clock":
            self.canvas[:] = self.clock
            return self.canvas  # always the same one
        shapes = {"grey": (4, 6), "alpha": (4, 6, 4), "empty": (0, 6, 3), "float": (4, 6, 3)}
        picture = np.full(shapes.get(self.draws, (4, 6, 3)), self.clock, float if self.draws == "float" else np.uint8)
        return {"nothing": None, "text": "a picture", "list": [picture, picture]}.get(self.draws, picture)


class Perilous(Faulty):
    """Each environment breaks in a way of its own, which its first seed decides."""

    WAYS = ("none", "abort", "leave", "killed", "sleep", "spin", "raise", "nan")

    def reset(self, *, seed=None, options=None):
        answer = super().reset(seed=seed)
        self.bad, self.fault = None, self.WAYS[self.seed] if self.seed < len(self.WAYS) else "none"
        return answer


gymnasium.register("Parts-v0", Parts)
gymnasium.register("Faulty-v0", Faulty)
gymnasium.register("Perilous-v0", Perilous)
gymnasium.register("Drawn-v0", Drawn)
gymnasium.register("Unruly-v0", Unruly)
gymnasium.register("Slow-v0", Slow)
gymnasium.register("SlowToMake-v0", SlowToMake)
gymnasium.register("Nothing-v0", lambda: _with(observation_space=spaces.Box(0, 1, (0,))))
gymnasium.register("FourAxes-v0", lambda: _with(observation_space=spaces.Box(0, 255, (4, 5, 7, 3), np.uint8)))
gymnasium.register("Continuous-v0", lambda: _with(action_space=spaces.Box(-1, 1, (2,))))
gymnasium.register("FloatImage-v0", lambda: _with(observation_space=spaces.Box(0, 1, (5, 7, 3))))
gymnasium.register("Graph-v0", lambda: _with(observation_space=spaces.Sequence(spaces.Discrete(3))))
gymnasium.register(
    "TwoImages-v0",
    lambda: _with(observation_space=spaces.Dict(left=_image(), right=_image())),
)


def _image():
    return spaces.Box(0, 255, (5, 7), np.uint8)


def _with(**attributes):
    env = Parts()
    for name, value in attributes.items():
        setattr(env, name, value)
    return env

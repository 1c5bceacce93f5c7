"""MiniWorld's 3D environments, drawn off screen by the system's OpenGL."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import subprocess
import sys
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium
import torch

from ..errors import UserError, suggest
from . import osmesa
from .gymnasium import Gymnasium, make_one

SCRIPT = """
import runpy, pyglet
pyglet.options["headless"] = True
{}
from pyglet.gl import gl_info, glu
print(gl_info.get_renderer())
"""
WAYS = {"egl": "", "osmesa": f"runpy.run_path({osmesa.__file__!r})['use']()"}
"""How to draw without a display, best first, and what pyglet needs before it looks for a window."""
PACKAGES = "apt-get install libegl1 libgl1 libglu1-mesa"

FILMED = 480
"""Pixels, about: the longer side of the pictures for people."""

_turn = [1]  # the display list of the environment being drawn
_numbers = itertools.count(1)


class MiniWorld(Gymnasium):
    """B environments ``MiniWorld-{name}-v0`` in this process, stepped one after the other; see `Workers` for more.

    Images are uint8 [*frame_size, 3]. ``way`` is one of `WAYS`; the first MiniWorld of a process decides.
    """

    def __init__(
        self, name: str, num_envs: int, device: torch.device, seed: int, *,
        frame_size: tuple[int, int] = (60, 80), way: str = "egl",
        env_offset: int = 0, restart_envs: bool = False, render: bool = False,
    ) -> None:  # fmt: skip
        height, width = frame_size
        if min(height, width) < 1:
            raise UserError(f"images are at least 1 x 1, not {height} x {width}")
        if name not in names(way):
            raise UserError(f"MiniWorld has no environment {name!r}; {suggest(name, names(way))}")
        # Its window is a second picture, of 30 MB at its usual size, which nobody looks at but in films.
        scale = max(1, FILMED // max(height, width)) if render else 1
        sizes = {
            "obs_height": height, "obs_width": width, "window_height": scale * height, "window_width": scale * width
        }  # fmt: skip
        super().__init__(
            f"MiniWorld-{name}-v0", num_envs, device, seed,
            env_offset=env_offset, restart_envs=restart_envs, render=render, **sizes,
        )  # fmt: skip

    def _make(self, **more: Any) -> gymnasium.Env[Any, Any]:
        _turn[0] = number = next(_numbers)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many samples a pixel it settled for
            return _OwnWalls(make_one(self.name, self._arguments | more), number)


class _OwnWalls(gymnasium.Wrapper[Any, Any, Any, Any]):
    """MiniWorld compiles what does not move into OpenGL's display list 1, which all environments of a process share: as
    it is, each draws the walls of whichever was reset last. Here each has a list of its own.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], number: int) -> None:
        super().__init__(env)
        self._number = number

    def reset(self, **options: Any) -> Any:
        _turn[0] = self._number
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        _turn[0] = self._number
        return self.env.step(action)

    def render(self) -> Any:
        _turn[0] = self._number
        return self.env.render()

    def close(self) -> None:
        """It closes no more than the window people look at; the one it draws in holds its memory."""
        import_module("pyglet.gl").glDeleteLists(self._number, 1)
        super().close()
        world: Any = self.env.unwrapped
        world.shadow_window.close()


def names(way: str) -> list[str]:
    """Ours of all that MiniWorld registers: without prefix and version."""
    _load(way)
    return [i.removeprefix("MiniWorld-").removesuffix("-v0") for i in gymnasium.registry if i.startswith("MiniWorld-")]


def _load(way: str) -> None:
    """Import MiniWorld, which opens a window at once."""
    # llvmpipe's own threads cost more than they bring for pictures this small, and the cores have workers.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if "pyglet.gl" not in sys.modules:
        pyglet: Any = import_module("pyglet")
        pyglet.options["headless"] = True
        if way == "osmesa":
            osmesa.use()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyglet, of the way it found a display
        import_module("miniworld")
    gl: Any = import_module("pyglet.gl")
    world: Any = import_module("miniworld.miniworld")
    world.glNewList = lambda _, mode: gl.glNewList(_turn[0], mode)
    world.glCallList = lambda _: gl.glCallList(_turn[0])
    world.glDeleteLists = lambda _, count: gl.glDeleteLists(_turn[0], count)


@cache
def way_to_draw() -> str:
    """One of `WAYS` that works here. UserError, naming what to install, if there is none.

    Each is tried in a process of its own: a pyglet that has failed once is of no more use.
    """
    if find_spec("miniworld") is None:
        raise UserError("MiniWorld is not installed: pip install 'morello[envs]'")
    reasons = {}
    for way in WAYS:
        reasons[way] = attempt(way)
        if reasons[way] is None:
            return way
    said = "; ".join(f"{way}: {reason}" for way, reason in reasons.items())
    raise UserError(f"MiniWorld draws with the system's OpenGL, which is missing ({said}): {PACKAGES}")


def attempt(way: str) -> str | None:
    """Why nothing can be drawn this way, or None if it can."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(WAYS[way])]
    tried = subprocess.run(command, capture_output=True, text=True)
    return (tried.stderr.strip() or "it crashed").splitlines()[-1] if tried.returncode else None

"""MiniWorld's 3D environments, rendered off screen with the system's OpenGL."""

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
"""Methods of drawing without a display, in order of preference, and the code pyglet needs before it opens a window."""
PACKAGES = "apt-get install libegl1 libgl1 libglu1-mesa"

FILMED = 480
"""Approximate longer side of the pictures for human viewers, in pixels."""

_turn = [1]  # display list of the environment being drawn
_numbers = itertools.count(1)


class MiniWorld(Gymnasium):
    """B environments ``MiniWorld-{name}-v0`` in this process, stepped one after the other; `Workers` uses several
    processes.

    Images are uint8 [*frame_size, 3]. ``way`` is one of `WAYS`; the first MiniWorld of a process determines it.
    """

    def __init__(
        self,
        name: str,
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        frame_size: tuple[int, int] = (60, 80),
        way: str = "egl",
        env_offset: int = 0,
        restart_envs: bool = False,
        render: bool = False,
    ) -> None:
        height, width = frame_size
        if min(height, width) < 1:
            raise UserError(f"images are at least 1 x 1, not {height} x {width}")
        if name not in names(way):
            raise UserError(f"MiniWorld has no environment {name!r}; {suggest(name, names(way))}")
        # Its window is a second picture, of 30 MB at its usual size, which is only used in videos.
        scale = max(1, FILMED // max(height, width)) if render else 1
        sizes = {
            "obs_height": height,
            "obs_width": width,
            "window_height": scale * height,
            "window_width": scale * width,
        }
        super().__init__(
            f"MiniWorld-{name}-v0",
            num_envs,
            device,
            seed,
            env_offset=env_offset,
            restart_envs=restart_envs,
            render=render,
            **sizes,
        )

    def _make(self, **more: Any) -> gymnasium.Env[Any, Any]:
        _turn[0] = number = next(_numbers)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the number of samples per pixel
            return _OwnWalls(make_one(self.name, self._arguments | more), number)


class _OwnWalls(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives each environment its own display list. MiniWorld compiles static geometry into OpenGL's display list 1,
    which all environments of a process share, so that each would draw the walls of whichever was reset last.
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
        """Close MiniWorld's window and also the one it draws in, which MiniWorld leaves open and which holds memory."""
        import_module("pyglet.gl").glDeleteLists(self._number, 1)
        super().close()
        world: Any = self.env.unwrapped
        world.shadow_window.close()


def names(way: str) -> list[str]:
    """Return our names of all environments that MiniWorld registers: without prefix and version."""
    _load(way)
    return [i.removeprefix("MiniWorld-").removesuffix("-v0") for i in gymnasium.registry if i.startswith("MiniWorld-")]


def _load(way: str) -> None:
    """Import MiniWorld, which opens a window on import."""
    # llvmpipe's own threads do not pay off for images this small, and the workers use the cores.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if "pyglet.gl" not in sys.modules:
        pyglet: Any = import_module("pyglet")
        pyglet.options["headless"] = True
        if way == "osmesa":
            osmesa.use()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyglet warns about the display it found
        import_module("miniworld")
    gl: Any = import_module("pyglet.gl")
    world: Any = import_module("miniworld.miniworld")
    world.glNewList = lambda _, mode: gl.glNewList(_turn[0], mode)
    world.glCallList = lambda _: gl.glCallList(_turn[0])
    world.glDeleteLists = lambda _, count: gl.glDeleteLists(_turn[0], count)


@cache
def way_to_draw() -> str:
    """Return one of `WAYS` that works here. UserError, naming the packages to install, if there is none.

    Each is tried in its own process: pyglet cannot be used again after a failure.
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
    """Return the reason why drawing this way fails, or None if it works."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(WAYS[way])]
    tried = subprocess.run(command, capture_output=True, text=True)
    return (tried.stderr.strip() or "it crashed").splitlines()[-1] if tried.returncode else None

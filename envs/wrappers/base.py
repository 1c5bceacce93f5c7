"""What every wrapper shares: it is a `VectorEnv` over another one.

A wrapper changes a few tensors of the answer. Given ``out``, the environments inside write all others into its rows
themselves; asked without, they answer in fresh memory, and the wrapper adds more of it for what it changes. What is
shown is always a function of the inner answer and of the wrapper's state, so that a masked reset can show the rows that
it leaves alone once more, wherever the last ones were written to.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, as_mask
from ..errors import UserError
from ..experience import Timestep
from ..rows import matching_rows
from ..vector_env import Player, VectorEnv
from .random import random_bits


class Wrapper(VectorEnv):
    """Changes nothing; a wrapper says what it does in ``_act``, ``_then``, ``_update`` and ``_write``.

    ``send`` and ``recv`` are the two halves of ``step``, over pools, which have them.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env: Any = env
        self.num_envs, self.spec = env.num_envs, env.spec
        self.device, self.codes, self.num_cells = env.device, env.codes, env.num_cells
        self._state: dict[str, Tensor] = {}  # what decides the future; changed in place, as CUDA graphs need it
        self._changed: dict[str, Tensor] = {}  # what is changed, by name: tensors of that kind, without memory
        self._frame: Tensor | None = None  # where the inner image goes, if it is not shown as it is

    @property
    def capturable(self) -> bool:
        """On CUDA, ``step`` may be recorded in a graph: it neither waits nor decides anything on the host."""
        return bool(self.env.capturable)

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams there."""
        begun = as_mask(mask, self.num_envs, self.device)
        now = self.env.reset(seed, None if mask is None else begun)
        if seed is not None:
            self._reseed(seed, begun)
        self._update(now, begun, stepped=False)
        return self._show(now, None)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Ended environments begin anew instead."""
        inside = self._inside(out)
        return self._finish(self.env.step(self._act(action), inside), inside, out)

    def send(self, action: Tensor) -> None:
        """Let the environments act: ``action`` [B] int64."""
        self.env.send(self._act(action))

    def recv(self, out: Timestep | None = None) -> Timestep:
        """The answer to what was sent."""
        inside = self._inside(out)
        return self._finish(self.env.recv(inside), inside, out)

    def _inside(self, out: Timestep | None) -> Timestep | None:
        """Rows for the environments inside: those of ``out``, but for an image of another shape. UserError for rows of
        another kind.
        """
        if out is None:
            return None
        matching_rows(self._changed, out)
        return out if self._frame is None else _with(out, {"image": self._frame})

    def _finish(self, now: Timestep, inside: Timestep | None, out: Timestep | None) -> Timestep:
        now = self._then(now, inside)
        self._update(now, now.first, stepped=True)
        return self._show(now, out)

    def _show(self, now: Timestep, out: Timestep | None) -> Timestep:
        """What the inner answer ``now`` looks like: in ``out``, in which it lies, or in fresh memory."""
        if out is not None:
            self._write(now, matching_rows(self._changed, out))
            return out
        rows = {name: torch.empty_like(x, device=self.device) for name, x in self._changed.items()}
        self._write(now, rows)
        return _with(now, rows)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides the future: the wrapper's own, and after ``env.`` that of the environments inside."""
        inner = {f"env.{name}": tensor for name, tensor in self.env.state_dict().items()}
        return inner | {name: tensor.clone() for name, tensor in self._state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict`` of the same wrappers over the same environments, or raise UserError."""
        for name, mine in self._state.items():
            if name not in state or state[name].shape != mine.shape:
                saved = list(state[name].shape) if name in state else "missing"
                raise UserError(f"saved {name} is {saved}, that of this {type(self).__name__} {list(mine.shape)}")
        self.env.load_state_dict({k.removeprefix("env."): v for k, v in state.items() if k.startswith("env.")})
        for name, mine in self._state.items():
            mine.copy_(state[name])

    @property
    def restarts(self) -> list[int]:
        """[B], times each environment inside was made anew; [] where none ever is."""
        return list(self.env.restarts)

    def render(self) -> NDArray[np.uint8] | None:
        """Draw environment 0 for people, as the environments inside do."""
        picture: NDArray[np.uint8] | None = self.env.render()
        return picture

    def top_view(self, height: int, width: int, trail: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        """Draw the map of the environments inside."""
        picture: NDArray[np.uint8] | None = self.env.top_view(height, width, trail)
        return picture

    def oracle(self) -> Player | None:
        """Return the scripted player of the environments inside, whose actions these take."""
        player: Player | None = self.env.oracle()
        return player

    def close(self) -> None:
        """Close the environments inside."""
        self.env.close()

    def _act(self, action: Tensor) -> Tensor:
        """What the environments inside are to do."""
        return action

    def _then(self, now: Timestep, out: Timestep | None) -> Timestep:
        """Anything more to be done inside, whose answer ``now`` is and whose rows are ``out``."""
        return now

    def _reseed(self, seed: int, where: Tensor) -> None:
        """Restart the wrapper's random streams."""

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        """Take in the inner answer ``now``. Rows of ``begun`` [B] begin an episode; the others are one step further
        if ``stepped``, else the same as before.
        """

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        """Fill ``rows``, named as ``_changed``; they may be the memory of ``now``. Changes no state."""

    def _each(self, value: int | bool, dtype: torch.dtype | None = None) -> Tensor:
        """[B] of ``value``: int64 or bool unless ``dtype``."""
        return torch.full((self.num_envs,), value, dtype=dtype, device=self.device)

    def _checked(self, action: Tensor) -> Tensor:
        """``action``, before it is mixed with others and environments inside can no longer see what is wrong. On CUDA
        they do not look at its values either, since that would mean waiting.
        """
        return as_action(action, self.num_envs, self.spec.num_actions, self.device)

    def _image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the inner image. UserError if there is none."""
        seen = self.env.spec.observation
        if "image" not in seen:
            shown = f"{', '.join(self.spec.tasks)} shows only {', '.join(seen)}"
            raise UserError(f"{type(self).__name__} needs an image, and {shown}: leave it out")
        height, width, channels = seen["image"][0]
        return height, width, channels

    def _resized(self, height: int, width: int, channels: int) -> None:
        """From here on the image has this shape; the inner one gets memory of its own, for where rows are given."""
        shape = (height, width, channels)
        self.spec = self.spec._replace(observation={**self.spec.observation, "image": (shape, torch.uint8)})
        self._frame = self._memory(*self._image_shape())
        self._change("image", *shape, dtype=torch.uint8)

    def _change(self, name: str, *shape: int, dtype: torch.dtype) -> None:
        """From here on ``name`` [B, *shape] is what ``_write`` makes of it."""
        self._changed[name] = torch.empty(self.num_envs, *shape, dtype=dtype, device="meta")

    def _memory(self, *shape: int) -> Tensor:
        return torch.zeros(self.num_envs, *shape, dtype=torch.uint8, device=self.device)


def unwrapped(env: VectorEnv) -> VectorEnv:
    """The environment inside all wrappers."""
    while isinstance(env, Wrapper):
        env = env.env
    return env


class RandomWrapper(Wrapper):
    """With random numbers of its own: a hash of the seed, what they are for (``STREAM``), the global index of the
    environment, and a count that its subclass moves on. Environment 0 has global index ``env_offset``.
    """

    STREAM: ClassVar[int]  # larger than any index, so that no number is also one of Labyrinth's

    def __init__(self, env: VectorEnv, seed: int, env_offset: int) -> None:
        super().__init__(env)
        self._index = torch.arange(env_offset, env_offset + env.num_envs, device=self.device)
        self._state |= {"seed": self._each(seed), "count": self._each(0)}

    def _reseed(self, seed: int, where: Tensor) -> None:
        self._state["seed"].masked_fill_(where, seed)
        self._state["count"].masked_fill_(where, 0)

    def _bits(self) -> Tensor:
        """[B] int64: 64 random bits for the present count."""
        return random_bits(self._state["seed"], self.STREAM, self._index, self._state["count"])


def _with(step: Timestep, rows: dict[str, Tensor]) -> Timestep:
    """``step`` with other tensors for those named in ``rows``; a name it does not have becomes info."""
    observation = {name: rows.get(name, tensor) for name, tensor in step.observation.items()}
    fields = {name: row for name, row in rows.items() if name in Timestep._fields}
    info = {name: row for name, row in rows.items() if name not in observation and name not in fields}
    return step._replace(observation=observation, info={**step.info, **info}, **fields)

"""Base class of wrappers: a `VectorEnv` over another one.

A wrapper changes a few tensors of the answer. Given ``out``, the environments inside write all others into its rows
directly; without it, they answer in new memory, and the wrapper allocates more for the tensors it changes. The output
is always a function of the inner answer and of the wrapper's state, so that a masked reset can repeat the rows
that it does not change, wherever the last ones were written.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, as_mask
from ..cell_map import CellMap
from ..errors import UserError
from ..experience import Timestep
from ..rows import matching_rows
from ..vector_env import Player, VectorEnv
from .random import random_bits


class Wrapper(VectorEnv):
    """A wrapper without effect; subclasses implement ``_act``, ``_then``, ``_update`` and ``_write``.

    ``send`` and ``recv`` are the two halves of ``step``, available over pools, which provide them.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env: Any = env
        self.num_envs, self.spec = env.num_envs, env.spec
        self.device, self.codes, self.num_cells = env.device, env.codes, env.num_cells
        self._state: dict[str, Tensor] = {}  # determines the future; changed in place, as CUDA graphs require
        self._changed: dict[str, Tensor] = {}  # changed tensors by name, as meta tensors of their shape and dtype
        self._frame: Tensor | None = None  # memory for the inner image, if it is not passed through

    @property
    def capturable(self) -> bool:
        """True if, on CUDA, ``step`` may be recorded in a graph: it neither synchronises nor branches on the host."""
        return bool(self.env.capturable)

    def reset(self, seed: int | Tensor | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams there; one
        for each environment, [B], over environments that take as many.
        """
        begun = as_mask(mask, self.num_envs, self.device)
        now = self.env.reset(seed, None if mask is None else begun)
        if seed is not None:
            self._reseed(seed, begun)
        self._update(now, begun, stepped=False)
        return self._show(now, None)

    def stagger(self) -> None:
        """Advance the clocks of the current episodes to different times, as the environments inside do."""
        self.env.stagger()

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Ended environments begin a new episode instead."""
        inside = self._inside(out)
        return self._finish(self.env.step(self._act(action), inside), inside, out)

    def send(self, action: Tensor) -> None:
        """Start a step: ``action`` [B] int64."""
        self.env.send(self._act(action))

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Return the answer to the actions sent."""
        inside = self._inside(out)
        return self._finish(self.env.recv(inside), inside, out)

    def _inside(self, out: Timestep | None) -> Timestep | None:
        """Return rows for the environments inside: those of ``out``, except for an image of another shape. UserError
        for rows that do not match.
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
        """Return the wrapper's answer for the inner answer ``now``: in ``out``, which contains it, or in new memory."""
        if out is not None:
            self._write(now, matching_rows(self._changed, out))
            return out
        rows = {name: torch.empty_like(x, device=self.device) for name, x in self._changed.items()}
        self._write(now, rows)
        return _with(now, rows)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that determines the future: the wrapper's state, and the inner one prefixed ``env.``."""
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
        """Number of times each environment inside [B] was recreated; [] if that is not supported."""
        return list(self.env.restarts)

    def render(self) -> NDArray[np.uint8] | None:
        """Draw environment 0 for human viewers, as the environments inside do."""
        picture: NDArray[np.uint8] | None = self.env.render()
        return picture

    def top_view(
        self, height: int, width: int, trail: NDArray[np.float32], heat: bool = False
    ) -> NDArray[np.uint8] | None:
        """Draw the map of the environments inside."""
        picture: NDArray[np.uint8] | None = self.env.top_view(height, width, trail, **({"heat": True} if heat else {}))
        return picture

    def cell_map(self, task: int = 0) -> CellMap | None:
        """Return the map of the cells of a task, that of the environments inside."""
        plan: CellMap | None = self.env.cell_map(task)
        return plan

    def oracle(self) -> Player | None:
        """Return the scripted player of the environments inside; its actions apply to these."""
        player: Player | None = self.env.oracle()
        return player

    def close(self) -> None:
        """Close the environments inside."""
        self.env.close()

    def _act(self, action: Tensor) -> Tensor:
        """Return the actions for the environments inside."""
        return action

    def _then(self, now: Timestep, out: Timestep | None) -> Timestep:
        """Do any further work inside, where ``now`` is the inner answer and ``out`` its rows, and return the answer."""
        return now

    def _reseed(self, seed: int | Tensor, where: Tensor) -> None:
        """Restart the wrapper's random streams."""

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        """Update the state from the inner answer ``now``. Rows of ``begun`` [B] begin an episode; the others are one
        step further if ``stepped``, else unchanged.
        """

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        """Fill ``rows``, named as in ``_changed``; they may share the memory of ``now``. Must not change the state."""

    def _each(self, value: int | bool, dtype: torch.dtype | None = None) -> Tensor:
        """Return [B] filled with ``value``: int64 or bool unless ``dtype`` is given."""
        return torch.full((self.num_envs,), value, dtype=dtype, device=self.device)

    def _checked(self, action: Tensor) -> Tensor:
        """Return ``action`` validated, before it is combined with others and the environments inside can no longer
        detect errors. On CUDA they do not check its values either, since that would synchronise.
        """
        return as_action(action, self.num_envs, self.spec.num_actions, self.device)

    def _image_shape(self) -> tuple[int, int, int]:
        """Return height, width, channels of the inner image. UserError if there is none."""
        seen = self.env.spec.observation
        if "image" not in seen:
            shown = f"{', '.join(self.spec.tasks)} shows only {', '.join(seen)}"
            raise UserError(f"{type(self).__name__} needs an image, and {shown}: omit it")
        height, width, channels = seen["image"][0]
        return height, width, channels

    def _resized(self, height: int, width: int, channels: int) -> None:
        """Declare the shape of the wrapper's image, and allocate memory for the inner one, used if rows are given."""
        shape = (height, width, channels)
        self.spec = self.spec._replace(observation={**self.spec.observation, "image": (shape, torch.uint8)})
        self._frame = self._memory(*self._image_shape())
        self._change("image", *shape, dtype=torch.uint8)

    def _change(self, name: str, *shape: int, dtype: torch.dtype) -> None:
        """Declare that ``_write`` produces ``name`` [B, *shape]."""
        self._changed[name] = torch.empty(self.num_envs, *shape, dtype=dtype, device="meta")

    def _memory(self, *shape: int) -> Tensor:
        return torch.zeros(self.num_envs, *shape, dtype=torch.uint8, device=self.device)


def unwrapped(env: VectorEnv) -> VectorEnv:
    """Return the environment inside all wrappers."""
    while isinstance(env, Wrapper):
        env = env.env
    return env


class RandomWrapper(Wrapper):
    """A wrapper with its own random numbers: a hash of the seed, their purpose (``STREAM``), the global index of the
    environment, and a count that the subclass increments. Environment 0 has global index ``env_offset``.
    """

    STREAM: ClassVar[int]  # larger than any index, so that no number coincides with Labyrinth's

    def __init__(self, env: VectorEnv, seed: int, env_offset: int) -> None:
        super().__init__(env)
        self.index = torch.arange(env_offset, env_offset + env.num_envs, device=self.device)
        self._state |= {"seed": self._each(seed), "count": self._each(0)}

    def _reseed(self, seed: int | Tensor, where: Tensor) -> None:
        mine = self._state["seed"]
        mine.copy_(torch.where(where, torch.as_tensor(seed, device=self.device), mine))
        self._state["count"].masked_fill_(where, 0)

    def _bits(self) -> Tensor:
        """Return 64 random bits for the current count, [B] int64."""
        return random_bits(self._state["seed"], self.STREAM, self.index, self._state["count"])


def _with(step: Timestep, rows: dict[str, Tensor]) -> Timestep:
    """Return ``step`` with the tensors named in ``rows`` replaced; names it does not have are added to info."""
    observation = {name: rows.get(name, tensor) for name, tensor in step.observation.items()}
    fields = {name: row for name, row in rows.items() if name in Timestep._fields}
    info = {name: row for name, row in rows.items() if name not in observation and name not in fields}
    return step._replace(observation=observation, info={**step.info, **info}, **fields)

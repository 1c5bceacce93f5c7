"""Labyrinth through Gymnasium: ``gymnasium.make("Labyrinth/seekavoid_arena_01-v0")``, or ``make_vec``.

Inputs and outputs are NumPy arrays; outputs are new arrays. A seed s means s + i for environment i, which then plays
the episodes of a single environment with that seed. Vector environments reset an ended environment at its next step
(``AutoresetMode.NEXT_STEP``). Torch and Warp are imported when an environment is made, not when levels are registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .level import REPEAT
from .levels import LEVELS

if TYPE_CHECKING:
    from torch import Tensor

    from ..experience import Timestep
    from ..wrappers.noisy_tv import NoisyTV
    from .labyrinth import Labyrinth

SEEDS = 2**63
"""Seeds are taken modulo this number: Labyrinth stores them as int64."""

Array = NDArray[Any]
Info = dict[str, Any]


def register() -> None:
    """Register every level as ``Labyrinth/<level>-v0``, unless already registered."""
    for name in LEVELS:
        id = f"Labyrinth/{name}-v0"
        if id not in gymnasium.registry:
            gymnasium.register(
                id,
                entry_point=f"{__name__}:LabyrinthEnv",
                vector_entry_point=f"{__name__}:LabyrinthVectorEnv",
                kwargs={"level": name},
            )


def _worlds(level: str, num_envs: int, **options: Any) -> Labyrinth | NoisyTV:
    from ..wrappers.noisy_tv import NoisyTV
    from .making import make_levels

    env = make_levels([level], num_envs, **options)
    worlds: Labyrinth = env.env if isinstance(env, NoisyTV) else env
    for index in (worlds.world.env_index, *([env.index] if isinstance(env, NoisyTV) else [])):
        index.zero_()  # environments differ only by their seed
    return env


def _numpy(answer: Timestep) -> tuple[Array, Array, Array, Array, dict[str, Array]]:
    """Return observation, reward, terminated, truncated and info of all environments."""

    def array(tensor: Tensor) -> Array:
        return tensor.cpu().numpy()

    last, discount = array(answer.last), array(answer.discount)
    info = {name: array(value) for name, value in answer.info.items()}
    image, reward = array(answer.observation["image"]), array(answer.reward)
    return image, reward, last & (discount == 0), last & (discount == 1), info


class LabyrinthEnv(gymnasium.Env[Array, np.int64]):
    """One environment. ``frame_size`` is height and width in pixels; ``device`` "cpu" or "cuda"."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    def __init__(
        self, level: str, render_mode: str | None = None, frame_size: tuple[int, int] = (84, 84), device: str = "cpu"
    ) -> None:
        self.metadata = {**self.metadata, "render_fps": LEVELS[level].physics.hz / REPEAT}
        self.render_mode = render_mode
        self._worlds = _worlds(level, 1, frame_size=frame_size, device=device)
        self.observation_space = spaces.Box(0, 255, (*frame_size, 3), np.uint8)
        self.action_space = spaces.Discrete(self._worlds.spec.num_actions)
        self.max_steps = self._worlds.spec.max_steps
        self._frame: Array | None = None
        self._seeded = False

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Array, Info]:
        """Begin an episode; without a seed the random stream continues, or starts at random if never seeded."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        self._seeded = True
        observation, *_, info = _numpy(self._worlds.reset(None if seed is None else seed % SEEDS))
        self._frame = observation[0]
        return observation[0].copy(), {name: value[0] for name, value in info.items()}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, Info]:
        """Act for four simulator ticks."""
        import torch

        answer = self._worlds.step(torch.tensor([int(action)]))
        observation, reward, terminated, truncated, info = _numpy(answer)
        self._frame = observation[0]
        values = {name: value[0] for name, value in info.items()}
        return observation[0].copy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), values

    def render(self) -> Array | None:
        """Return the last observation, uint8 [H, W, 3]; None without a render mode or before the first reset."""
        return None if self.render_mode is None or self._frame is None else self._frame.copy()

    def close(self) -> None:
        """End the worker threads."""
        self._worlds.close()


class LabyrinthVectorEnv(gymnasium.vector.VectorEnv[Array, Array, Array]):
    """``num_envs`` environments in one batch."""

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 15,
        "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        level: str,
        num_envs: int = 1,
        render_mode: str | None = None,
        frame_size: tuple[int, int] = (84, 84),
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.metadata = {**self.metadata, "render_fps": LEVELS[level].physics.hz / REPEAT}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self._worlds = _worlds(level, num_envs, frame_size=frame_size, device=device, threads=threads)
        self.single_observation_space = spaces.Box(0, 255, (*frame_size, 3), np.uint8)
        self.single_action_space = spaces.Discrete(self._worlds.spec.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._frames: Array | None = None
        self._seeded = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[Array, Info]:
        """Begin episodes, everywhere or where ``options["reset_mask"]`` is True; see `LabyrinthEnv.reset` for None."""
        import torch

        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds: list[int | None] = [None] * self.num_envs
        if seed is not None:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"reset_mask must be bool, of length {self.num_envs}, with at least one True")
        if not self._seeded:
            seeds = [int(self.np_random.integers(2**31)) if s is None else s for s in seeds]
        given = np.array([s is not None for s in seeds])
        numbers = torch.tensor([0 if s is None else int(s) % SEEDS for s in seeds])
        for part, streams in ((mask & given, numbers), (mask & ~given, None)):
            if part.any():
                answer = self._worlds.reset(streams, torch.from_numpy(part))
        self._seeded = True
        self._frames, *_, info = _numpy(answer)
        return self._frames.copy(), self._masked(info)

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Info]:
        """Act; where an episode had ended the action is ignored and a new one begins."""
        import torch

        answer = self._worlds.step(torch.as_tensor(np.asarray(actions)))
        self._frames, reward, terminated, truncated, info = _numpy(answer)
        return self._frames.copy(), reward, terminated, truncated, self._masked(info)

    def render(self) -> tuple[Array, ...] | None:
        """Return the last observations, uint8 [H, W, 3] each; None without a render mode or before the first reset."""
        return None if self.render_mode is None or self._frames is None else tuple(self._frames.copy())

    def close_extras(self, **kwargs: Any) -> None:
        """End the worker threads."""
        self._worlds.close()

    def _masked(self, info: dict[str, Array]) -> Info:
        """Add Gymnasium's masks of a vector environment: for each key, the environments that provide it."""
        return {**info, **{f"_{name}": np.ones(self.num_envs, bool) for name in info}}

"""Replay: past experience, kept on the device as whole unrolls for losses that learn from it again; the oldest is
dropped first.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Tensor

from ..auxiliaries.generators import set_state
from ..envs.experience import AgentState, Rollout
from ..envs.trees import tree_map

MOST = 2**24
"""Maximum number of windows that torch.multinomial can choose from."""
UNROLLS = "unrolls"
"""Reader name for whole unrolls: one batch is shared by all losses."""


@dataclass(frozen=True)
class ReplayConfig:
    """Replay that pixel control, feature control, value replay, reward prediction and CURL learn from, and, if asked,
    the policy.
    """

    capacity: Annotated[int, Meta(ge=1)] = 64_000
    """Number of steps to keep, counted over all environments."""
    ratio: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Replayed steps per newly collected step, in one batch that pixel and feature control and value replay share.
    With several epochs there is one such batch as often as --replay.every says."""
    state: Literal["stored", "zero"] = "stored"
    """Memory state at the start of a replayed unroll: stored (as it was when collected) or zero (as in UNREAL)."""
    every: Literal["epoch", "rollout"] = "epoch"
    """When losses on the replay are computed: in the first update of each epoch or of each rollout."""
    policy: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Fraction of replayed unrolls in the batch of the policy and value losses, corrected by V-trace
    (Espeholt et al. 2018: 0.5); 0 learns the policy from new experience only."""
    burn_in: Annotated[int, Meta(ge=0)] = 0
    """Steps at the start of a replayed unroll that only warm up the memory (Kapturowski et al. 2019)."""


class Replay:
    """A ring buffer of ``capacity // (T B)`` rollouts like ``example``, each with its T + 1 rows and its initial state.

    No sample crosses the boundary of a rollout. Each reader, identified by name, draws from its own generator, so that
    readers do not influence each other's samples. ValueError if not even one rollout fits, if the replay does not fit
    in memory, or if it holds more steps than `MOST`.
    """

    def __init__(self, example: Rollout, config: ReplayConfig, seed: int = 0) -> None:
        self.config = config
        self.T, self.B = example.action.shape
        self.slots = config.capacity // (self.T * self.B)
        if not self.slots:
            raise ValueError(
                f"a replay of {config.capacity:,} steps does not hold one rollout of {self.B} x {self.T}: "
                "raise --replay.capacity"
            )
        if self.slots * self.T * self.B > MOST:
            raise ValueError(f"a replay holds {MOST:,} steps at most, not {config.capacity:,}: lower --replay.capacity")
        if config.burn_in >= self.T:
            raise ValueError(f"--replay.burn-in {config.burn_in} leaves nothing of an unroll of {self.T}")
        needed, there = self.slots * size(example) / 2**30, total_memory(example.reward.device) / 2**30
        if needed > there:
            raise ValueError(
                f"a replay of {config.capacity:,} steps takes {needed:,.1f} GiB of memory and there are {there:,.1f}: "
                "lower --replay.capacity"
            )
        self.added = 0
        self._kept: dict[str, Any] = {  # [slots, ...] each
            name: tree_map(lambda x: x.new_zeros((self.slots, *x.shape)), getattr(example, name)) for name in FIELDS
        }
        self.seed, self.device = seed, example.reward.device
        self.generators: dict[str, torch.Generator] = {}

    @property
    def filled(self) -> int:
        """Return the number of slots in use."""
        return min(self.added, self.slots)

    @property
    def rewards(self) -> set[str]:
        """Return the names of the intrinsic rewards that are stored."""
        return set(self._kept["intrinsic"])

    def add(self, rollout: Rollout) -> None:
        """Store a copy of a rollout in place of the oldest."""
        slot = self.added % self.slots
        for name, kept in self._kept.items():
            tree_map(lambda to, x: to[slot].copy_(x), kept, getattr(rollout, name))
        self.added += 1

    def unrolls(self, reader: str = UNROLLS, ratio: float | None = None) -> Rollout:
        """Sample whole unrolls [T + 1, N, ...] uniformly for ``reader``, each with the state that it began with; with
        ``state`` "zero" its memory is zero. N is ``ratio`` times B, rounded, and at least 1; if not given, the ratio is
        that of the settings.
        """
        count = max(1, round((self.config.ratio if ratio is None else ratio) * self.B))
        pick = torch.randint(self.filled * self.B, (count,), generator=self._of(reader), device=self.device)
        slot, env = pick // self.B, pick % self.B
        state: AgentState = tree_map(lambda x: x[slot, env], self._kept["state"])
        if self.config.state == "zero":
            state = state._replace(memory=tree_map(torch.zeros_like, state.memory))
        return self._gather(slot, env, torch.zeros_like(slot), self.T, state)

    def windows(self, reader: str, count: int, length: int, *, skewed: bool = False) -> Rollout:
        """Sample ``count`` windows of ``length`` steps [length + 1, count, ...] for ``reader``: rows 0 to length - 1
        belong to one episode, and the last step is a transition.

        With ``skewed``, half of them end with a non-zero reward (Jaderberg et al. 2017), or all or none if only one of
        the two kinds exists; of those, half end with a positive and half with a negative reward if both occur (so that
        a constant living cost does not crowd out rare rewards). The state is empty.
        """
        # Indexed by the last row of a window, [slots, T - length + 1, B].
        first, last = (self._kept[name][: self.filled] for name in ("first", "last"))
        ends = slice(length - 1, self.T)
        whole = ~last[:, ends]
        for back in range(length - 1):
            whole &= ~first[:, length - 1 - back : self.T - back]
        weight = whole.double()
        if skewed:
            reward = self._kept["reward"][: self.filled, ends]
            kinds = torch.stack([whole & kind for kind in (reward == 0, reward > 0, reward < 0)])
            counts = kinds.flatten(1).sum(1)
            share = torch.ones_like(counts, dtype=torch.float64)
            share[1:] /= (counts[1:] > 0).sum().clamp(min=1)
            weight = ((share / counts.clamp(min=1)).view(-1, 1, 1, 1) * kinds).sum(0)
        weight = torch.where(weight.sum() > 0, weight, 1.0)  # no such window: the loss has to mask the sample
        pick = torch.multinomial(weight.flatten(), count, replacement=True, generator=self._of(reader))
        slot, start, env = torch.unravel_index(pick, weight.shape)
        nothing = AgentState((), torch.full_like(env, -1), weight.new_zeros(count, dtype=torch.float32))
        return self._gather(slot, env, start, length, nothing)

    def _of(self, reader: str) -> torch.Generator:
        if reader not in self.generators:
            seed = zlib.crc32(f"replay {reader}".encode()) + self.seed
            self.generators[reader] = torch.Generator(self.device).manual_seed(seed)
        return self.generators[reader]

    def _gather(self, slot: Tensor, env: Tensor, start: Tensor, length: int, state: AgentState) -> Rollout:
        """Gather columns [length + 1, N] that begin at row ``start`` [N]."""
        rows = start + torch.arange(length + 1, device=start.device).unsqueeze(-1)

        def take(name: str, count: int) -> Any:
            return tree_map(lambda x: pick(x, (slot * x.shape[1] + rows[:count]) * self.B + env), self._kept[name])

        def pick(x: Tensor, at: Tensor) -> Tensor:
            # For x [slots, rows, B, ...] this is several times as fast as three indices.
            return x.flatten(0, 2).index_select(0, at.flatten()).view(*at.shape, *x.shape[3:])

        long = {name: take(name, length + 1) for name in ROWS}
        short = {name: take(name, length) for name in STEPS}
        return Rollout(**long, **short, info={}, state=state)

    def state_dict(self) -> dict[str, Any]:
        """Return the complete contents, which are as large as the replay."""
        generators = {name: generator.get_state() for name, generator in self.generators.items()}
        return {"kept": self._kept, "added": torch.tensor(self.added), "generators": generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        kept = {"intrinsic": {}} | state["kept"]  # a checkpoint lacks what is empty
        tree_map(lambda mine, its: mine.copy_(its), self._kept, kept)
        self.added = int(state["added"])
        for name, kept in state["generators"].items():
            set_state(self._of(name), kept)


def size(rollout: Rollout) -> int:
    """Return the number of bytes needed to store a rollout."""
    sizes: list[int] = []

    def note(x: Tensor) -> Tensor:
        sizes.append(x.nbytes)
        return x

    for name in FIELDS:
        tree_map(note, getattr(rollout, name))
    return sum(sizes)


def total_memory(device: torch.device) -> int:
    """Return the memory of the device, or of this machine, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cut(rollout: Rollout, begin: int, end: int, state: AgentState) -> Rollout:
    """Return rows ``begin`` to ``end``, both included, of a rollout, with ``state`` as its initial state."""
    rows, steps = slice(begin, end + 1), slice(begin, end)
    return rollout._replace(
        info={},
        state=state,
        **{name: tree_map(lambda x: x[rows], getattr(rollout, name)) for name in ROWS},
        **{name: tree_map(lambda x: x[steps], getattr(rollout, name)) for name in STEPS},
    )


ROWS = ("observation", "first", "last", "task", "skill")
"""Fields of a rollout with T + 1 rows, except ``info``, which no replay stores."""
STEPS = ("action", "logits", "reward", "discount", "intrinsic")
"""Fields of a rollout with T rows."""
FIELDS = (*ROWS, *STEPS, "state")

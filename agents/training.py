"""Training as a person runs it: build, loop, log, evaluate, checkpoint, resume."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..envs.errors import UserError
from ..envs.experience import closing
from ..envs.statistics import EpisodeStatistics
from . import checkpoint, generators
from .evaluate import SEED, agent_policy, batch_size, evaluate
from .learner import NonFiniteError
from .parts import build, environment
from .plugins import Plugin
from .presets import Config
from .progress import Progress
from .runners import Sync
from .runs import CHECKPOINTS, Run, default_folder
from .settings import FREE_TO_CHANGE, preset_named, resolve, with_overrides


def train(
    settings: str | Config = "a2c",
    *,
    preset: str = "custom",
    plugins: Mapping[str, Plugin] | None = None,
    on_record: Callable[[dict[str, Any]], None] | None = None,
    **overrides: Any,
) -> Run:
    """Train an agent and return its run folder: what ``morello train`` does.

    ``settings`` is the name of a preset or a whole Config (which ``preset`` names); ``overrides`` are fields of Config
    or LearnerConfig (``env=..., steps=..., learning_rate=...``). ``plugins`` are auxiliary losses and intrinsic rewards
    by name. ``on_record`` sees each record of metrics. Raises UserError for what the caller can put right and
    NonFiniteError when training diverges.
    """
    if isinstance(settings, str):
        preset, settings = settings, preset_named(settings, overrides.get("unroll"))
    config = resolve(with_overrides(settings, overrides))
    return Training(preset, config, plugins).run(on_record)


class Training:
    """One run in its folder, from the first step or from its newest checkpoint."""

    def __init__(self, preset: str, config: Config, plugins: Mapping[str, Plugin] | None = None) -> None:
        here = Path.cwd()
        self.config = config
        self.parts = build(config, plugins)
        os.chdir(here)  # some environments go elsewhere, and would take the run with them
        self.statistics = EpisodeStatistics(config.num_envs, len(self.parts.env.spec.tasks), config.device)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor | int] = {}
        self.done = {"eval": 0, "checkpoint": 0, "log": 0}  # the step of the last one
        self.seconds_before, self.restarts_before = 0.0, 0  # of earlier sittings
        self.notes: list[str] = []
        self.started = time.perf_counter()
        self.mark = (0.0, 0)  # seconds and steps at the last record
        added = {k: [type(p.module).__name__, p.weight, p.gamma] for k, p in (plugins or {}).items()}
        settings = {**dataclasses.asdict(config), "preset": preset, "plugins": added}
        folder = Path(config.run) if config.run else default_folder(config.env, preset, config.seed)
        if config.resume and checkpoint.exists(folder / CHECKPOINTS):
            self.folder = Run.open(folder)
            with ExitStack() as undo:
                undo.callback(self.folder.close)
                self._refuse_other(settings)
                kept = FREE_TO_CHANGE - {"run", "resume", "quiet"}
                self.folder.update_config({k: v for k, v in settings.items() if k in kept})
                found = checkpoint.load(folder / CHECKPOINTS)
                assert found is not None
                try:
                    self._restore(found[1])
                except ValueError as error:  # a loss whose file has changed
                    raise UserError(f"{self.folder.path} cannot go on: {error}.") from error
                self.folder.truncate_metrics(self.steps)
                undo.pop_all()
        else:
            self.folder = Run.create(folder, settings, self.parts.env.spec, restart=config.resume)

    @property
    def steps(self) -> int:
        """Agent steps so far."""
        return self.parts.learner.steps

    @property
    def seconds(self) -> float:
        """Spent on this run, earlier sittings included."""
        return self.seconds_before + time.perf_counter() - self.started

    @property
    def restarts(self) -> int:
        """Times an environment broke and was made anew, earlier sittings included."""
        now: list[int] = getattr(self.parts.env, "restarts", [])
        return self.restarts_before + sum(now)

    def run(self, on_record: Callable[[dict[str, Any]], None] | None = None) -> Run:
        """Train to the end of the budget, or until a signal asks to stop."""
        config = self.config
        runner = Sync(self.parts.actor, self.parts.learner)
        self.started = time.perf_counter()
        self.mark = (self.seconds, self.steps)
        failed: OSError | None = None
        with (
            closing(self.parts.env),
            self.folder,
            Progress(config, self.folder.path, self.steps) as progress,
            stop_requested() as stop,
        ):
            for change in self.folder.changes:
                progress.message(f"not as at the last start: {change}", warning=True)
            for note in self.notes:
                progress.message(note, warning=True)
            if self.steps == 0:
                failed = self._checkpoint(progress)
            runner.diagnose = self._logs_next()
            for rollout, metrics in runner:
                self.statistics.update(rollout)
                self._accumulate(metrics)
                progress.tick(self.steps)
                finished = self.steps >= config.steps
                runner.diagnose = self._logs_next()
                log, score = self._due("log", config.log_every), self._due("eval", config.eval_every)
                if log or score or finished:
                    record = self._record(runner)
                    if score or (finished and config.eval_every):
                        record |= self._evaluate(progress)
                    self.folder.log(record)
                    progress.update(record)
                    if on_record is not None:
                        on_record(record)
                if self._due("checkpoint", config.checkpoint_every) or finished or stop:
                    failed = self._checkpoint(progress)
                if stop:
                    progress.message(f"stopped at step {self.steps:,}; go on with --resume --run {self.folder.path}")
                    break
        if failed is not None:
            raise failed
        return self.folder

    def _due(self, what: str, every: int) -> bool:
        """Whether a multiple of ``every`` steps was passed since the last time."""
        if every and self.steps // every > self.done[what] // every:
            self.done[what] = self.steps
            return True
        return False

    def _logs_next(self) -> bool:
        """Whether the next update is the last before a record: then the learner also measures what is costly."""
        config, after = self.config, self.steps + self.config.num_envs * self.config.unroll
        return after >= config.steps or after // config.log_every > self.steps // config.log_every

    def _accumulate(self, metrics: dict[str, Tensor]) -> None:
        """Sums, and of how many: NaN in what a loss says means that there was nothing to average."""
        for k, v in metrics.items():
            there: Tensor | int = 1
            if k.partition("/")[0] in self.parts.learner.plugins:
                there = ~torch.isnan(v)
                v = torch.where(there, v, 0.0)
            self.sums[k] = self.sums[k] + v if k in self.sums else v
            self.counts[k] = self.counts.get(k, 0) + there

    def _record(self, runner: Sync) -> dict[str, Any]:
        """Means since the last record: the one place where the host waits for the device."""
        all_of_it = torch.cat([(v.double() / self.counts[k]).flatten() for k, v in self.sums.items()]).tolist()
        means: dict[str, float] = {}
        for name, v in self.sums.items():
            names = [f"{name}/{i + 1}" for i in range(len(v))] if v.dim() else [name]  # a curve, point by point
            means |= {each: all_of_it.pop(0) for each in names}
        means = {k: v for k, v in means.items() if not math.isnan(v)}
        if means.pop("finite") < 1:
            raise NonFiniteError(
                f"A loss or gradient became non-finite before step {self.steps:,}; updates since then were skipped. "
                "Lower --learning-rate or --max-grad-norm."
            )
        spent = runner.drain_seconds()
        seconds, steps = self.seconds - self.mark[0], self.steps - self.mark[1]
        self.mark = (self.seconds, self.steps)
        record: dict[str, Any] = {
            "step": self.steps,
            "frames": self.steps * self.parts.env.spec.frames_per_step,
            "updates": self.parts.learner.updates,
            **self.statistics.report(self.parts.env.spec.tasks, self.parts.env.spec.success),
            **means,
            **({"restarts": self.restarts} if self.config.restart_envs else {}),
            "learning_rate": self.parts.learner.learning_rate,
            "time/seconds": self.seconds,
            "time/steps_per_second": steps / seconds,
            **{f"time/{k}": v for k, v in spent.items()},
            "time/other": max(0.0, seconds - sum(spent.values())),
        }
        self.sums, self.counts = {}, {}
        return record

    def _evaluate(self, progress: Progress) -> dict[str, float]:
        """Score of the present policy in environments of its own, seeded by the step."""
        config, model = self.config, self.parts.model
        tasks = len(self.parts.env.spec.tasks)
        num_envs = batch_size(config.eval_episodes, tasks, config.num_envs)
        with closing(environment(config, num_envs, config.seed + SEED)) as env:
            result = evaluate(agent_policy(model, num_envs, seed=self.steps), env, config.eval_episodes)
        low, high = result.interval
        progress.message(f"evaluation at step {self.steps:,}: {result.mean:.2f} [{low:.2f}, {high:.2f}]")
        if config.eval_video:
            from .watch import clip

            with closing(environment(config, 1, config.seed + SEED)) as env:
                self.folder.video("evaluation", clip(model, env), self.steps)
        success = {} if result.success is None else {"eval/success": result.success}
        return {"eval/return": result.mean, "eval/low": low, "eval/high": high, **success}

    def _checkpoint(self, progress: Progress) -> OSError | None:
        """Write one; a full disk costs the checkpoint, never the run; non-finite weights replace no good one."""
        self.done["checkpoint"] = self.steps
        for name, p in self.parts.model.named_parameters():
            if not torch.isfinite(p).all():
                raise NonFiniteError(
                    f"The weights '{name}' became non-finite by step {self.steps:,}; the checkpoint before stays the "
                    "newest. Lower --learning-rate, or raise --epsilon."
                )
        try:
            checkpoint.save(self.folder.path / CHECKPOINTS, self.steps, self._state(), self.config.keep)
        except checkpoint.CheckpointNotWritten as error:
            progress.message(str(error), warning=True)
            return error
        progress.message(f"checkpoint at step {self.steps:,}")
        return None

    def _state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on."""
        env, replay = self.parts.env, self.parts.learner.replay
        return {
            "learner": self.parts.learner.state_dict(),
            "actor": self.parts.actor.state_dict(),
            "environment": env.state_dict() if env.spec.resumable else None,
            "statistics": self.statistics.state_dict(),
            "sums": self.sums,
            "counts": self.counts,
            "done": self.done,
            "seconds": self.seconds,
            "restarts": self.restarts,
            "generators": generators.state_dict(),
            "replay": replay.state_dict() if replay and self.config.checkpoint_replay else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        parts = self.parts
        parts.learner.load_state_dict(state["learner"])
        self.statistics.load_state_dict(state["statistics"])
        if state["environment"] is None:
            self.notes.append(f"{self.config.env} cannot save its state: its episodes begin anew.")
            parts.actor.begin_anew(state["actor"], (self.config.seed + self.steps) % 2**30)
        else:
            parts.env.load_state_dict(state["environment"])
            parts.actor.load_state_dict(state["actor"])
        if len(state["actor"]["generator"]) != len(parts.actor.generator.get_state()):
            self.notes.append("the checkpoint is of another kind of device: its random numbers begin anew.")
        self.sums = {k: v.to(self.config.device) for k, v in state["sums"].items()}
        self.counts = {k: torch.as_tensor(v, device=self.config.device) for k, v in state["counts"].items()}
        self.done = state["done"]
        self.seconds_before, self.restarts_before = state["seconds"], state["restarts"]
        generators.load_state_dict(state["generators"])
        if parts.learner.replay is not None:
            if state["replay"] is None:
                self.notes.append("the replay was not in the checkpoint (--checkpoint-replay): it begins empty.")
            else:
                parts.learner.replay.load_state_dict(state["replay"])

    def _refuse_other(self, settings: dict[str, Any]) -> None:
        """A resumed run must be the run that was begun."""
        for name, value in settings.items():
            begun = self.folder.config.get(name)
            if name not in FREE_TO_CHANGE and _plain(value) != _plain(begun):
                raise UserError(
                    f"{self.folder.path} was begun with {name} = {begun}, not {value}: resume it "
                    "with its own settings, or start another run in another folder."
                )


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


@contextmanager
def stop_requested() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM, SIGINT or SIGUSR1 asks to stop; a second signal stops at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    before = {int(n): signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

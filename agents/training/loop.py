"""The training loop of one run: build, train, log, evaluate, checkpoint, resume."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from ...auxiliaries import Auxiliary
from ...envs.errors import UserError
from ...envs.observation_reader import one_line
from ...envs.vector_env import closing
from ..config.build import build
from ..config.checked import read_checked
from ..config.config import Config
from ..config.load import MISFITS, refuse_other_sizes
from ..config.registered import copied
from ..config.resuming import refuse_fewer_steps, refuse_other, to_save
from ..config.saved import FREE_TO_CHANGE
from ..config.trust import module_of
from ..config.validation import flag_of
from ..finite import NonFiniteError, refuse_non_finite
from ..runners import RUNNERS, Runner
from ..storage import checkpoint, rng_state
from ..storage.config_file import CHECKPOINTS
from ..storage.lock import FolderMovedError
from ..storage.metrics import METRICS, is_record
from ..storage.paths import typed
from ..storage.run_folder import Run, default_folder
from .interim import figures, film, score
from .progress import Progress
from .recorder import Recorder
from .restoring import refuse_odd_slots, refuse_other_kind
from .schedule import Schedule, passes
from .signals import Stop, Stopped

DIAGNOSED = 256
"""Least number of updates between two diagnoses of the encoder, each of which costs as much as two or three updates."""


class Training:
    """One run in its folder, from the first step or from its newest checkpoint. ``stop`` may end it early."""

    def __init__(
        self, preset: str, config: Config, plugins: Mapping[str, Auxiliary] | None = None, stop: Stop | None = None
    ) -> None:
        self.config, self.stop = config, Stop() if stop is None else stop
        here = Path.cwd()  # before building an environment, which may change directory
        folder = here / (config.run or default_folder(config.env, preset, config.seed))
        self.shown = typed(folder, here)
        plugins = copied(plugins)
        settings = to_save(preset, config, plugins)
        resumes = config.resume and checkpoint.exists(folder / CHECKPOINTS)
        if resumes:
            refuse_other(self.shown, read_checked(folder)[0], settings)
            refuse_other_sizes(folder)
        self.parts = build(config, plugins)
        self.recorder = Recorder(config, self.parts)
        self.schedule = Schedule()
        self.saved: int | None = None  # the step of the newest checkpoint
        self.alarmed = False  # an error occurred since: save the current state
        self.owed: dict[str, Any] | None = None  # a record whose evaluation was interrupted
        self.notes: list[str] = [
            f"the reward '{name}' is 0 throughout: it warms up for {module.config.warmup_steps:,} steps, and the run "
            f"has {config.steps:,} ({flag_of(f'intrinsic.{name}.warmup_steps')})"
            for name, module in self.parts.learner.streams.rewards.items()
            if module.config.warmup_steps > config.steps - config.num_envs * config.unroll
        ]
        try:
            if resumes:
                self._resume(folder, settings)
            else:
                self.folder = Run.create(folder, settings, self.parts.env.spec)
        except BaseException:
            with closing(self.parts.env):
                raise

    def _resume(self, folder: Path, settings: dict[str, Any]) -> None:
        """Continue from the newest checkpoint. Nothing is written before everything is known to fit."""
        self.folder = Run.open(folder, spec=self.parts.env.spec)
        with ExitStack() as undo:
            undo.callback(self.folder.close)
            found = checkpoint.load(self.folder.checkpoints)
            assert found is not None
            made, state = found
            refuse_fewer_steps(self.shown, self.folder.config["steps"], self.config.steps, made)
            try:
                self._restore(state)
                relogged = self.owed is not None
                records = int(state["records"]) - relogged
            except MISFITS as error:  # a loss whose file has changed, a checkpoint of another run
                raise UserError(f"{self.shown} cannot go on: {one_line(error).rstrip('.')}.") from error
            kept = FREE_TO_CHANGE - {"run", "resume", "quiet"}
            self.folder.update_config({k: v for k, v in settings.items() if k in kept})
            if lost := self.folder.truncate_metrics(self.steps - relogged, records):
                self.notes.append(f"{METRICS} lacks {lost} of the {records} records before step {self.steps:,}.")
            undo.pop_all()
        self.saved = self.steps

    @property
    def steps(self) -> int:
        """Return the number of agent steps so far."""
        return self.parts.learner.steps

    def run(self, on_record: Callable[[dict[str, Any]], None] | None = None) -> Run:
        """Train to the end of the budget. Raises `Stopped` after a signal. If anything ends training early, a
        checkpoint keeps what was learned, provided that the state is known to be consistent.
        """
        runner = RUNNERS[self.config.runner](self.parts.actor, self.parts.learner)
        if not self.parts.env.spec.resumable:  # otherwise complete the rollout, so that resuming is exact
            self.parts.actor.check = self.stop.check
        self.recorder.begin()
        with (
            closing(self.parts.env),
            self.folder,
            Progress(self.config, self.shown, self.steps) as progress,
            self.stop.noted(),
        ):
            try:
                failed = self._train(runner, progress, on_record or (lambda record: None))
            except Stopped as stopped:
                if stopped.whole:
                    self._leave(runner, progress, stopped)
                raise
            except (NonFiniteError, checkpoint.CheckpointNotWritten, FolderMovedError):
                raise
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                # A signal also reaches simulators, which may be killed by it or handle Ctrl-C themselves.
                number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else self.stop.number
                if number is not None:
                    signalled = Stopped(number)
                    self._leave(runner, progress, signalled)
                    raise signalled from error
                if self._keep(runner, progress):
                    said = f"an error ends the run at step {self.steps:,}; to go on: {self.command}"
                    progress.message(said, warning=True)
                raise
        self.stop.check()
        if failed is not None:
            raise failed
        return self.folder

    def _train(self, runner: Runner, progress: Progress, on_record: Callable[[dict[str, Any]], None]) -> OSError | None:
        """Train update by update. Return the error that prevented the last checkpoint from being written, if any."""
        config, failed = self.config, None
        for change in self.folder.changes:
            progress.message(f"changed since the last start: {change}", warning=True)
        for note in self.notes:
            progress.message(note, warning=True)
        if self.owed is not None:
            record, self.owed = self.owed, None
            on_record(self._log(record, progress, score=config.eval_every > 0))
            self.saved = None
        elif self.steps >= config.steps:
            more = f"{self.command} --steps {2 * self.steps}"
            progress.message(f"{self.shown} is finished, with {self.steps:,} steps; to train longer: {more}")
        if self.saved is None:
            failed = self._checkpoint(progress)
        self.stop.check()
        runner.diagnose = self._diagnoses_next()
        for rollout, metrics in runner:
            self.recorder.add(rollout, metrics)
            progress.tick(self.steps)
            finished = self.steps >= config.steps
            runner.diagnose = self._diagnoses_next()
            log = self.schedule.due("log", config.log_every, self.steps)
            score = self.schedule.due("eval", config.eval_every, self.steps) or (finished and config.eval_every > 0)
            if log or score or finished:
                on_record(self._log(self.recorder.record(runner), progress, score))
            if self.schedule.due("checkpoint", config.checkpoint_every, self.steps) or finished or self.alarmed:
                self._draw(progress)
                failed = self._checkpoint(progress, last=finished)
            if not finished:
                self.stop.check()
        return failed

    def _log(self, record: dict[str, Any], progress: Progress, score: bool) -> dict[str, Any]:
        """Write a record, after an evaluation if one is due."""
        try:
            if score:
                record = record | self._evaluate(progress)
        except KeyboardInterrupt:
            self.owed = record  # a resumed run evaluates first
            raise
        finally:
            self.folder.log(record)
            progress.update(record)
        return record

    @property
    def command(self) -> str:
        """Return the command that resumes this run."""
        trust = " --trust" if module_of(self.config.env) else ""
        return f"morello train --run {self.shown} --resume{trust}"

    def _leave(self, runner: Runner, progress: Progress, stopped: Stopped) -> None:
        """Save the current state if possible, and print how to resume."""
        kept = self._keep(runner, progress)
        lost = "" if kept else ", without a checkpoint of it"
        progress.message(f"{stopped} at step {self.steps:,}{lost}; to go on: {self.command}", warning=True)
        stopped.said = True

    def _keep(self, runner: Runner, progress: Progress) -> bool:
        """Write a checkpoint of this step unless there is one. Return False if it cannot be written."""
        if self.saved != self.steps and runner.doing != "learning":
            try:
                self._checkpoint(progress, anew=runner.doing == "acting", last=True)
            except FolderMovedError as error:
                progress.message(str(error), warning=True)
            except Exception as error:  # must not hide the reason why the run ends
                progress.message(f"checkpoint of step {self.steps:,} not written: {one_line(error)}", warning=True)
        return self.saved == self.steps

    def _diagnoses_next(self) -> bool:
        """Return whether the next update is one for which the learner also computes costly metrics: the last one before
        records that are at least ``DIAGNOSED`` updates apart, and before the last record.
        """
        config = self.config
        steps, every = config.num_envs * config.unroll, config.log_every
        rollouts = math.ceil(DIAGNOSED / config.learner.updates)
        return passes(self.steps, steps, every * math.ceil(rollouts * steps / every), config.steps)

    def _evaluate(self, progress: Progress) -> dict[str, float]:
        """Score the current policy; return nothing if that fails, because training does not depend on it."""
        config, model, check = self.config, self.parts.model, self.stop.check
        found: dict[str, float] = {}
        try:
            result = score(config, model, len(self.parts.env.spec.tasks), self.steps, check)
            found = figures(result)
            low, high = result.interval
            progress.message(f"evaluation at step {self.steps:,}: {result.mean:.2f} [{low:.2f}, {high:.2f}]")
            if config.eval_video:
                self.folder.video("evaluation", film(config, model, check), self.steps)
        except Exception as error:
            check()  # a signal also reaches simulators, which may be killed by it
            self.alarmed = True
            what = one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"
            missing = "film" if found else "evaluation"
            progress.message(f"no {missing} at step {self.steps:,}: {what}", warning=True)
        return found

    def _draw(self, progress: Progress) -> None:
        """Draw what was explored, if the environment tells it; training does not depend on it. The picture comes before
        the checkpoint, so that its means of rewards go on from there in a resumed run.
        """
        try:
            if (png := self.recorder.picture()) is not None:
                self.folder.picture("exploration", png, self.steps)
        except Exception as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            progress.message(f"no picture of exploration at step {self.steps:,}: {what}", warning=True)

    def _checkpoint(self, progress: Progress, anew: bool = False, last: bool = False) -> OSError | None:
        """Write a checkpoint. A full disk costs only the checkpoint, never the run, and non-finite weights never
        replace an intact checkpoint. With ``anew`` the environments' state is omitted, so that a resumed run begins new
        episodes. The ``last`` checkpoint may replace older ones if the disk is full; without the first one training
        does not begin.
        """
        self.schedule.done["checkpoint"], self.alarmed = self.steps, False
        refuse_non_finite(self.parts.model, self.steps)
        try:
            self.folder.save(self.steps, self._state(anew), self.config.keep, last=last)
        except checkpoint.CheckpointNotWritten as error:
            if self.steps == 0:
                raise checkpoint.CheckpointNotWritten(f"{error}; training does not begin without it") from error
            progress.message(str(error), warning=True)
            return error
        self.saved = self.steps
        progress.message(f"checkpoint at step {self.steps:,}")
        return None

    def _state(self, anew: bool) -> dict[str, Any]:
        """Return all state on which the rest of the run depends."""
        env, replay = self.parts.env, self.parts.learner.replay
        return {
            "learner": self.parts.learner.state_dict(),
            "actor": self.parts.actor.state_dict(),
            "environment": env.state_dict() if env.spec.resumable and not anew else None,
            "done": self.schedule.done,
            "owed": self.owed,
            **self.recorder.state_dict(),
            "records": self.folder.records,
            "generators": rng_state.state_dict(),
            "replay": replay.state_dict() if replay and self.config.checkpoint_replay else None,
        }

    def _fresh(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state of a run that has not begun, for comparison with restored state. It omits parts that grow,
        parts that depend on the device and parts that are checked by their readers.
        """
        fresh = self._state(anew=state["environment"] is None)
        learner, actor = fresh["learner"], fresh["actor"]
        learner |= {"model": {}, "plugins": {}, "memories": {}}
        del learner["generator"], learner["advantages"]  # which earlier versions lack
        if "exploration" not in state:
            fresh.pop("exploration", None)
        elif "exploration" in fresh and isinstance(state["exploration"], Mapping):
            saved, counts = state["exploration"].get("arrivals"), fresh["exploration"]["arrivals"]
            if isinstance(saved, Tensor) and saved.shape == counts.shape[1:]:
                fresh["exploration"]["arrivals"] = saved  # in earlier versions those of all rewards together
        learner["optimizers"] = {k: {} for k in learner["optimizers"]}
        return fresh | {"actor": actor | {"generator": None}, "averages": {}, "replay": None}

    def _restore(self, state: dict[str, Any]) -> None:
        parts = self.parts
        refuse_other_kind(state, self._fresh(state))
        if state["owed"] is not None and not (is_record(state["owed"]) and "step" in state["owed"]):
            raise ValueError("its pending record is invalid")
        parts.learner.load_state_dict(state["learner"])
        refuse_odd_slots(parts.learner.gradients.plugged.values())
        self.recorder.load_state_dict(state)
        if state["environment"] is None:
            why = "was interrupted in a rollout" if parts.env.spec.resumable else "cannot save its state"
            self.notes.append(f"{self.config.env} {why}: it starts new episodes.")
            parts.actor.begin_anew(state["actor"], (self.config.seed + self.steps) % 2**30)
            if self.config.stagger:
                parts.env.stagger()
        else:
            parts.env.load_state_dict(state["environment"])
            parts.actor.load_state_dict(state["actor"])
        if len(state["actor"]["generator"]) != len(parts.actor.generator.get_state()):
            self.notes.append("the checkpoint is from another kind of device: new random numbers are drawn.")
        self.schedule.done, self.owed = state["done"], state["owed"]
        rng_state.load_state_dict(state["generators"])
        if parts.learner.replay is not None:
            if state["replay"] is None:
                self.notes.append("the replay was not in the checkpoint (--checkpoint-replay): it begins empty.")
            else:
                parts.learner.replay.load_state_dict(state["replay"])

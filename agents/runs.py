"""Run folders: everything of one run in one place, and reading it back.

::

    config.json      settings and the environment's spec: what it takes to rebuild the agent
    provenance.json  a list of starts: command, code, versions, hardware, job
    metrics.jsonl    one record a line
    tensorboard/     the same as events
    checkpoints/     see ``checkpoint``
    videos/
    lock             held by the process that trains
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import re
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ..envs.errors import UserError
from ..envs.experience import Spec
from . import checkpoint
from .agent import Agent
from .checkpoint import to_stderr
from .metrics import EVENTS, METRICS, Metrics, read_records
from .model import ActorCritic, heads_by_name
from .provenance import changes, provenance

CONFIG, PROVENANCE, LOCK = "config.json", "provenance.json", "lock"
CHECKPOINTS, VIDEOS = "checkpoints", "videos"
LABELS = ("env", "preset", "seed")
WHERE = "Runs are folders like runs/<env>/<preset>/<seed>-<time>."


def default_folder(env: str, preset: str, seed: int) -> Path:
    """runs/<env>/<preset>/<seed>-<time to the microsecond>, with "-" for ":" and "/" in names."""
    names = (name.replace(":", "-").replace("/", "-") for name in (env, preset))
    return Path("runs", *names, f"{seed}-{datetime.now():%Y%m%d-%H%M%S-%f}")


class Run:
    """A run folder that this process writes; no other can while it is open.

    ``create`` one or ``open`` one to go on, and close it, or use it in a ``with``. ``changes`` says what is not
    as it was at the last start: versions, hardware, threads.
    """

    def __init__(self, path: Path, config: dict[str, Any], spec: Spec, warn: Callable[[str], None]) -> None:
        self.path, self.config, self.spec, self.warn = path, config, spec, warn
        self.changes: list[str] = []
        self.metrics = Metrics(path, warn)
        self._lock = _Lock(path / LOCK, warn)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        config: Mapping[str, Any],
        spec: Spec,
        *,
        restart: bool = False,
        warn: Callable[[str], None] = to_stderr,
    ) -> Self:
        """A new run; ``config`` is plain JSON. UserError if ``folder`` holds one or anything else, or is in use.

        A run that ended before its first checkpoint can be begun anew; if it left metrics, only with
        ``restart``, which drops them.
        """
        path = Path(folder)
        with _explained(f"cannot make the run folder {path}"):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_others_files(path)
            run = cls(path, dict(config), spec, warn)
            with run._closed_on_error():
                metrics = path / METRICS
                begun = metrics.exists() and metrics.stat().st_size > 0
                if checkpoint.exists(path / CHECKPOINTS) or (begun and not restart):
                    raise UserError(f"{path} already holds a run: --resume goes on with it; or name another folder")
                for name in (METRICS, PROVENANCE):
                    (path / name).unlink(missing_ok=True)
                shutil.rmtree(path / EVENTS, ignore_errors=True)
                checkpoint.replace_file(path / CONFIG, _json({**config, "spec": spec_to_json(spec)}))
                run._begin()
        return run

    @classmethod
    def open(cls, folder: str | Path, *, warn: Callable[[str], None] = to_stderr) -> Self:
        """A run to go on with. UserError if there is none, or it is in use."""
        path = Path(folder)
        config, spec = read_config(path)
        with _explained(f"cannot open the run folder {path}"):
            run = cls(path, config, spec, warn)
            with run._closed_on_error():
                run._begin()
        return run

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def videos(self) -> Path:
        """Folder of videos."""
        return self.path / VIDEOS

    def _begin(self) -> None:
        """Tidy up after a process that was killed, and add this start to the provenance."""
        checkpoint.remove_leftovers(self.path)
        self.checkpoints.mkdir(exist_ok=True)
        self.videos.mkdir(exist_ok=True)
        self.metrics.mend()
        path, starts = self.path / PROVENANCE, list[Any]()
        if path.exists():
            try:
                starts += json.loads(path.read_bytes())["starts"]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} is damaged: restore it from a copy, or delete it") from error
        now = provenance()
        self.changes = changes(starts[-1], now) if starts else []
        checkpoint.replace_file(path, _json({"starts": [*starts, now]}))

    def log(self, record: Mapping[str, Any]) -> None:
        """One record of numbers and strings, with its "step": a line of metrics.jsonl, scalars in TensorBoard."""
        self._check_open()
        self.metrics.log(record)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars for TensorBoard alone."""
        self._check_open()
        self.metrics.scalars(step, values)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """``frames`` (uint8 [T, H, W, 3], tensor or array) for TensorBoard."""
        self._check_open()
        self.metrics.video(name, frames, step, fps)

    def truncate_metrics(self, step: int) -> None:
        """Forget the records of later steps: a resumed run makes them again."""
        self._check_open()
        with _explained(f"cannot rewrite {self.path / METRICS}"):
            self.metrics.truncate(step)

    def update_config(self, settings: Mapping[str, Any]) -> None:
        """Replace settings in config.json, all or none."""
        self._check_open()
        with _explained(f"cannot rewrite {self.path / CONFIG}"):
            config = {**self.config, **settings}
            checkpoint.replace_file(self.path / CONFIG, _json({**config, "spec": spec_to_json(self.spec)}))
            self.config = config

    def close(self) -> None:
        """Finish the files and let others write here."""
        self.metrics.close()
        self._lock.release()
        if self.metrics.lost:
            self.warn(f"{self.path / METRICS} lacks {self.metrics.lost} records that the disk refused")
            self.metrics.lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._lock.held:
            raise ValueError(f"the run {self.path} is closed")

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


def _refuse_others_files(path: Path) -> None:
    """UserError for a folder with anything in it that no run left there: it is not ours to tidy up."""
    if all(p.name == LOCK or p.name.startswith(".tmp-") for p in path.iterdir()):  # a run may die before its config
        return
    try:
        read_config(path)
    except UserError as error:
        raise UserError(f"{path} holds files that are not a run's: name a new folder, or an empty one") from error


class _Lock:
    """flock on a file: gone with the process, however it ends; the processes it forks do not inherit it."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise UserError(
                f"{path.parent} is in use by process {pid}: wait until it ends, or choose another folder"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                self.release()
                raise
            warn(f"{path.parent} cannot be locked ({error.strerror}): see that nothing else writes there")
        _LOCKS.add(self)
        with contextlib.suppress(OSError):  # a full disk: only the other's message is poorer for it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    @property
    def held(self) -> bool:
        """Until released."""
        return self._close.alive

    def release(self) -> None:
        """Let go; once is enough, more is harmless."""
        self._close()


def _leave_to_parent() -> None:
    """In a forked child: once its copies are closed the locks are the parent's alone."""
    for lock in _LOCKS:
        lock.release()


_LOCKS: weakref.WeakSet[_Lock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_leave_to_parent)


# Reading


def read_config(folder: str | Path) -> tuple[dict[str, Any], Spec]:
    """Settings of a run and its environment's spec. UserError if ``folder`` is not a run."""
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_bytes())
        return config, spec_from_json(config.pop("spec"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} is not a run: it has no {CONFIG}. {WHERE}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged, or is not a run's: restore it from a copy") from error


def load(run: str | Path, device: str | torch.device = "cpu") -> Agent:
    """The agent of a run folder, with the weights of its newest good checkpoint.

    Nothing that the folder names is imported or run. UserError for a folder that holds no agent.
    """
    config, spec = read_config(run)
    found = checkpoint.load(Path(run) / CHECKPOINTS, part=("learner", "model"))
    if found is None:
        raise UserError(f"{run} has no checkpoint yet")
    step, weights = found
    try:
        weights = heads_by_name(weights)
        model = _network(config, spec, weights)
        model.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the checkpoint in {run} is of another network than its {CONFIG}: {reason}") from error
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {str(device)!r} is not usable here: {str(error).splitlines()[0]}") from error
    return Agent(model, spec, config, step)


def _network(config: Mapping[str, Any], spec: Spec, weights: Mapping[str, torch.Tensor]) -> ActorCritic:
    """The untrained network of a run; its value heads are those of the weights."""
    return ActorCritic(
        spec,
        torso=config.get("torso", "auto"),
        memory=config["memory"],
        memory_size=config["memory_size"],
        streams=[k.split(".")[1] for k in weights if re.fullmatch(r"values\.[^.]+\.weight", k)],
        bfloat16=config.get("bfloat16", config.get("dtype") == "bfloat16"),
    )


def read_runs(
    pattern: str | Path | Iterable[str | Path], warn: Callable[[str], None] = to_stderr
) -> dict[str, np.ndarray[Any, Any]]:
    """All metrics of all runs in the folders that ``pattern`` (a glob, or several) matches, or below them.

    One row a record, in columns for ``pandas.DataFrame``: run, env, preset, seed and every key that occurs.
    What a record lacks is NaN among numbers and "" among strings. UserError if there is no run.
    """
    patterns = [pattern] if isinstance(pattern, str | Path) else list(pattern)
    folders = sorted({run for p in patterns for run in _runs_below(str(p))})
    if not folders:
        raise UserError(f"No run at {' or '.join(map(str, patterns))}. {WHERE}")
    rows: list[dict[str, Any]] = []
    for folder in folders:
        config, _ = read_config(folder)
        labels = {"run": str(folder)} | {name: config.get(name) for name in LABELS}
        rows += [record | labels for record in read_records(folder / METRICS, warn)]
    names = dict.fromkeys(["run", *LABELS, *(name for row in rows for name in row)])
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _runs_below(pattern: str) -> Iterator[Path]:
    for match in [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True):
        for folder, below, files in os.walk(match):
            if CONFIG in files and PROVENANCE in files:
                below.clear()
                yield Path(folder)


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Strings if any is one, else integers if all are, else floats; None is missing."""
    if any(isinstance(v, str) for v in values):
        return np.array(["" if v is None else str(v) for v in values])
    if values and all(isinstance(v, int) for v in values):
        return np.array(values)
    return np.array([np.nan if v is None else float(v) for v in values])


# JSON


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """Dtypes become their names."""
    observation = {
        name: [list(shape), str(dtype).removeprefix("torch.")] for name, (shape, dtype) in spec.observation.items()
    }
    return {**spec._asdict(), "observation": observation}


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """The inverse. ValueError, KeyError or TypeError if ``data`` is no spec."""
    observation = {}
    for name, (shape, dtype) in data["observation"].items():
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"{dtype!r} is no dtype")
        observation[name] = tuple(shape), getattr(torch, dtype)
    names = {key: tuple(data[key]) for key in ("action_names", "tasks")}
    names["success"] = tuple(map(bool, data.get("success", ())))  # not in runs of earlier versions
    if len(names["success"]) not in (0, len(names["tasks"])):
        raise ValueError(f"{len(names['tasks'])} tasks, and for {len(names['success'])} it is said what success is")
    return Spec(**{**data, **names, "observation": observation})


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """What the operating system refuses is for the user to put right."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}") from error

"""Run folders: all files of one run in one place.

::

    config.json      settings and the environment's spec: everything needed to rebuild the agent
    provenance.json  a list of starts: command, code, versions, hardware, job
    metrics.jsonl    one record per line
    tensorboard/     the same as events
    exploration.png  where the agent has been, if its environment tells the agent's cell
    checkpoints/     see ``checkpoint``
    videos/
    lock             held by the process that trains
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ...envs.errors import UserError
from ...envs.experience import Spec
from . import checkpoint, provenance
from .checkpoint import to_stderr
from .config_file import CHECKPOINTS, CONFIG, explained, read_config, write_config
from .events import EVENTS
from .files import is_there, make_folders, named, remove_leftovers, sync_folder
from .lock import LOCK, FolderMovedError, Lock
from .metrics import METRICS, Metrics
from .provenance import PROVENANCE

VIDEOS = "videos"


def default_folder(env: str, preset: str, seed: int) -> Path:
    """Return runs/<env>/<preset>/<seed>-<time to the microsecond>, with "-" for ":" and "/" in names."""
    names = (name.replace(":", "-").replace("/", "-") for name in (env, preset))
    return Path("runs", *names, f"{seed}-{datetime.now():%Y%m%d-%H%M%S-%f}")


class Run:
    """A run folder that this process writes; no other process can while it is open.

    Use ``create`` for a new run or ``open`` to continue one, then close it, or use it in a ``with``. ``changes`` lists
    differences from the last start: versions, hardware, threads.
    """

    def __init__(self, path: Path, config: dict[str, Any], spec: Spec, warn: Callable[[str], None]) -> None:
        self.path, self.config, self.spec, self.warn = path, config, spec, warn
        self.changes: list[str] = []
        self.records = 0  # logged so far, including earlier sessions
        self.metrics = Metrics(path, warn)
        self._lock = Lock(path, warn)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        config: Mapping[str, Any],
        spec: Spec,
        *,
        warn: Callable[[str], None] = to_stderr,
    ) -> Self:
        """Create a new run; ``config`` is plain JSON. A run that ended before its first checkpoint is replaced. Raises
        UserError, and deletes nothing, if ``folder`` contains a run with checkpoints or anything else, or is in use.
        """
        path = named(folder).absolute()
        with explained(f"cannot make the run folder {path}"):
            make_folders(path)
            _refuse_others_files(path)
            run = cls(path, dict(config), spec, warn)
            with run._closed_on_error():
                if checkpoint.exists(path / CHECKPOINTS):
                    raise UserError(f"{path} already holds a run: --resume goes on with it; or name another folder")
                metrics = path / METRICS
                if is_there(metrics) and metrics.lstat().st_size > 0:  # the first checkpoint precedes them
                    raise UserError(
                        f"{path} holds the metrics of a run whose checkpoints are gone, so it cannot go on: put "
                        f"{CHECKPOINTS}/ back, or name another folder"
                    )
                for name in (METRICS, PROVENANCE):
                    (path / name).unlink(missing_ok=True)
                shutil.rmtree(path / EVENTS, ignore_errors=True)
                write_config(path, config, spec)
                run._begin()
        return run

    @classmethod
    def open(cls, folder: str | Path, *, spec: Spec | None = None, warn: Callable[[str], None] = to_stderr) -> Self:
        """Open a run to continue it. UserError, and nothing written, if there is none, it is in use, or its environment
        does not match ``spec``.
        """
        path = named(folder).absolute()
        config, begun = read_config(path)
        with explained(f"cannot open the run folder {path}"):
            run = cls(path, config, begun, warn)
            with run._closed_on_error():
                if spec is not None:
                    _refuse_other_spec(path, begun, spec)
                run._begin()
        return run

    @property
    def checkpoints(self) -> Path:
        """Return the folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def videos(self) -> Path:
        """Return the folder of videos."""
        return self.path / VIDEOS

    def _begin(self) -> None:
        """Clean up after a process that was killed, and add this start to the provenance."""
        remove_leftovers(self.path)
        self.checkpoints.mkdir(exist_ok=True)
        self.videos.mkdir(exist_ok=True)
        self.metrics.mend()
        self.changes = provenance.add_start(self.path)
        sync_folder(self.path)

    def save(self, step: int, tree: Any, keep: int, *, last: bool = False) -> Path:
        """Write a checkpoint, after the metrics before it: see `checkpoint.save`. CheckpointNotWritten if the disk
        refuses; FolderMovedError if the folder was moved or deleted: the checkpoint is saved in the folder if that
        still exists.
        """
        self._check_open()
        self.metrics.sync()
        folder = self._lock.folder_now()
        if folder is None:
            raise FolderMovedError(f"{self.path} was deleted while it was trained: nothing of step {step:,} was saved")
        if self._lock.taken_over():
            raise FolderMovedError(
                f"the lock of {folder} was replaced while it was trained, so another process may write there: nothing "
                f"of step {step:,} was saved"
            )
        path = checkpoint.save(folder / CHECKPOINTS, step, tree, keep, warn=self.warn, last=last)
        goes_on = f"its checkpoint of step {step:,} was saved; go on with --resume --run {folder}"
        if folder != self.path:
            raise FolderMovedError(f"{self.path} was moved to {folder} while it was trained: {goes_on}")
        if self._lock.lost():
            raise FolderMovedError(f"the lock of {folder} was deleted while it was trained: {goes_on}")
        return path

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one record of numbers and strings, with its "step": a line of metrics.jsonl, scalars in TensorBoard."""
        self._check_open()
        self.records += 1
        self.metrics.log(record)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars to TensorBoard only."""
        self._check_open()
        self.metrics.scalars(step, values)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """Write ``frames`` (uint8 [T, H, W, 3], tensor or array) to TensorBoard."""
        self._check_open()
        self.metrics.video(name, frames, step, fps)

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Replace NAME.png in the folder, atomically, and write the picture to TensorBoard."""
        self._check_open()
        self.metrics.picture(name, png, step)

    def truncate_metrics(self, step: int, records: int | None = None) -> int:
        """Delete the records of later steps, which a resumed run writes again. Return how many of the previous
        ``records`` are missing.
        """
        self._check_open()
        with explained(f"cannot rewrite {self.path / METRICS}"):
            left = len(self.metrics.truncate(step))
        self.records = left if records is None else records
        return self.records - left

    def update_config(self, settings: Mapping[str, Any]) -> None:
        """Replace settings in config.json, all or none."""
        self._check_open()
        with explained(f"cannot rewrite {self.path / CONFIG}"):
            config = {**self.config, **settings}
            write_config(self.path, config, self.spec)
            self.config = config

    def close(self) -> None:
        """Close the files and release the folder for other processes."""
        self.metrics.close()
        self._lock.release()
        self.metrics.finish()

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
    """Raise UserError for a folder with files that no run wrote there, which must not be deleted."""
    if all(p.name == LOCK or p.name.startswith(".tmp-") for p in path.iterdir()):  # a run may end before its config
        return
    try:
        read_config(path)
    except UserError as error:
        raise UserError(f"{path} holds files that are not a run's: name a new folder, or an empty one") from error


def _refuse_other_spec(path: Path, begun: Spec, now: Spec) -> None:
    for field, before, after in zip(Spec._fields, begun, now, strict=True):
        if before != after and field != "success":  # which affects only what is logged
            raise UserError(
                f"{path} cannot go on: its environment had {field} = {before}, and has {after} now; make it as it was "
                "again, or begin a run in another folder"
            )

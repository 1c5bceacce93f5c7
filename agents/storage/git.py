"""Commit and uncommitted changes of a git checkout, determined without running anything from it.

A checkout from another person may name programs in its settings: filters, file system monitors, hooks, pagers, external
diffs, ssh. The changes are therefore computed with a separate settings folder that names none, over the repository's
objects, index and files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

LONGEST_DIFF = 1_000_000
"""Maximum size of a stored diff in bytes."""
PATIENCE_SECONDS = 2.0
"""Seconds allowed for each git command."""
QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "false",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
"""Environment variables that keep git from changing, fetching or asking anything."""
OURS_ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_GLOBAL": os.devnull}
"""Environment variables that make git ignore system and user settings."""
SAFE = ["-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "protocol.allow=never"]


def checkout(folder: Path, root: bool = False) -> dict[str, str] | None:
    """Return commit and uncommitted changes of the git checkout that contains ``folder`` or, with ``root``, whose root
    it is. None if there is no git, or no commit. Changes beyond `LONGEST_DIFF`, or that take too long to compute, are
    cut and marked as cut.
    """
    asked = ["--show-toplevel", "--git-path", "objects", "--git-path", "index", "HEAD"]
    answer, failed = _git(folder, ["rev-parse", *asked], {})
    lines = answer.decode(errors="surrogateescape").splitlines()
    if failed or len(lines) != 4:
        return None
    top, objects, index, commit = Path(lines[0]).resolve(), folder / lines[1], folder / lines[2], lines[3]
    if (root and top != folder.resolve()) or not folder.resolve().is_relative_to(top):
        return None
    try:
        diff = _diff(top, objects.resolve(), index.resolve(), commit)
    except OSError as error:  # a run does not depend on git
        diff = f"[no diff: {error.strerror or error}]\n"
    return {"commit": commit, "diff": diff}


def _diff(top: Path, objects: Path, index: Path, commit: str) -> str:
    with tempfile.TemporaryDirectory(prefix="morello-git-") as scratch:
        settings = Path(scratch)
        (settings / "refs").mkdir()
        (settings / "HEAD").write_text(commit + "\n")
        if len(commit) == 64:
            (settings / "config").write_text(
                "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"
            )
        places = {
            "GIT_DIR": scratch,
            "GIT_WORK_TREE": str(top),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_INDEX_FILE": str(index),
        }
        plain = ["--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty"]
        found, note = _git(top, ["diff", *plain, "HEAD"], OURS_ALONE | places)
    text = found.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"{text}\n[{note}]\n" if note else text


def _git(folder: Path, arguments: list[str], variables: dict[str, str]) -> tuple[bytes, str]:
    """Return git's output, at most `LONGEST_DIFF` bytes, and the reason if it is incomplete."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        process = subprocess.Popen(
            ["git", "--no-pager", *SAFE, *arguments],
            cwd=folder,
            env=given | QUIET | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that git's child processes can be ended with it
        )
    except OSError:
        return b"", "git is not installed"
    late = threading.Event()

    def give_up() -> None:
        late.set()
        end()

    def end() -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(PATIENCE_SECONDS, give_up)
    timer.start()
    assert process.stdout is not None
    with process.stdout:
        found = process.stdout.read(LONGEST_DIFF + 1)
    if len(found) > LONGEST_DIFF:
        end()
    code = process.wait()
    timer.cancel()
    if len(found) > LONGEST_DIFF:
        return found[:LONGEST_DIFF], f"cut at {LONGEST_DIFF:,} bytes"
    if late.is_set():
        return found, f"cut: git took more than {PATIENCE_SECONDS:g} s"
    return found, f"git failed with exit code {code}" if code else ""

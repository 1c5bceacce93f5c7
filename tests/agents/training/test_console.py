"""Output that cannot be written: nothing but the console falls silent."""

import errno
import io
import os
import pty
import subprocess
import sys

import pytest

from morello.agents.storage import checkpoint
from morello.agents.training.console import Forgiving, forgiving
from morello.agents.training.train import train

from ...support.small_run import SMALL, records

TINY = [
    "--env",
    "counting:steps",
    "--steps",
    "90",
    "--num-envs",
    "3",
    "--unroll",
    "5",
    "--torso",
    "shallow",
    "--frame-size",
    "36",
    "37",
    "--threads",
    "1",
    "--log-every",
    "15",
    "--checkpoint-every",
    "30",
]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


class Refusing(io.StringIO):
    """Fails with ``error`` from the second line on."""

    def __init__(self, error):
        super().__init__()
        self.refuses, self.lines = error, 0

    def write(self, text):
        self.lines += text.count("\n")
        if self.lines > 1:
            raise self.refuses
        return super().write(text)


REFUSALS = [
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.ENOSPC, "No space left"),
    OSError(errno.EIO, "I/O"),
    OSError(errno.EBADF, "Bad file"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: str(error))
def test_whatever_the_console_has_against_it_training_goes_on(refusal, tmp_path, monkeypatch):
    out, err = Refusing(refusal), Refusing(refusal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    train(SMALL, run=str(tmp_path / "run"), steps=600, quiet=False, on_record=lambda r: print("mine", r["step"]))
    assert out.lines > 1  # it was asked
    assert sys.stdout is out
    assert sys.stderr is err
    assert [r["step"] for r in records(tmp_path / "run")] == [240, 480, 600]
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] == 600


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_an_encoding_lacks_are_replaced(encoding):
    raw = io.BytesIO()
    stream = Forgiving(io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    assert stream.write("▁▅█ \udcff é\n") == 8
    assert raw.getvalue().decode(encoding).endswith("\n")
    assert len(raw.getvalue().decode(encoding)) == 8


def test_a_stream_is_itself_in_all_else():
    with forgiving() as output:
        assert sys.stdout is output.out
        assert Forgiving(None).write("nowhere") == 7
        assert not Forgiving(None).isatty()
    assert Forgiving(sys.__stdout__).fileno() == sys.__stdout__.fileno()


def morello(script, **more):
    """A shell command with ``{m}`` for morello."""
    line = script.replace("{m}", f"{sys.executable} -m morello")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300, env=ENV, **more)


@pytest.mark.parametrize(
    "where", ["| head -n 2; exit ${PIPESTATUS[0]}", ">/dev/full 2>/dev/full", ">&- 2>&- <&-"], ids=lambda w: w[:10]
)
def test_a_run_whose_output_goes_nowhere_is_a_whole_run(where, tmp_path):
    folder = tmp_path / "run"
    done = morello(f"{{m}} train a2c {' '.join(TINY)} --run {folder} {where}")
    assert done.returncode == 0, done.stderr
    assert checkpoint.load(folder / "checkpoints")[0] == 90
    assert [r["step"] for r in records(folder)] == [15, 30, 45, 60, 75, 90]
    assert (folder / "lock").read_text().isdigit()  # the first file opened did not become standard output


def test_what_a_full_device_refuses_of_other_commands_is_said(tmp_path):
    done = morello("{m} list envs >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "morello: standard output cannot be written: No space left on device\n"
    done = morello("{m} list envs | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_evaluation_is_kept_though_nobody_reads_the_table(tmp_path):
    folder = tmp_path / "run"
    train(SMALL, run=str(folder), steps=40)
    done = morello(f"{{m}} eval {folder} --episodes 2 | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "evaluation.json").exists()


def test_a_terminal_that_can_show_no_panel_gets_lines(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "morello", "train", "a2c", *TINY, "--run", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=theirs, env={**ENV, "TERM": "dumb"})
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait() == 0
    assert said.count(b"step 15/90 (17%)") == 1
    assert b"checkpoint at step 30" in said
    assert b"\x1b" not in said


def test_a_terminal_that_is_closed_ends_nothing(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "morello", "train", "a2c", *TINY, "--run", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**ENV, "TERM": "xterm"})
    os.close(theirs)
    os.read(ours, 100)
    os.close(ours)  # EIO from here on
    assert process.wait() == 0
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] == 90

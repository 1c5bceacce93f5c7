"""A measurement: reports of a process, what they say, and what becomes of a process that makes none."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from morello.benchmarks.versus import peers, process
from morello.benchmarks.versus.process import Report, measured, rate
from morello.benchmarks.versus.venvs import SkippedError


def test_steps_are_counted_between_updates_after_the_warmup():
    reports = [Report(7, 100.0), Report(11, 101.0), Report(31, 103.0), Report(97, 105.5), Report(131, 108.0)]
    assert rate(reports, 2.0) == pytest.approx((131 - 31) / 5.0)
    assert rate(reports, 0.0) == pytest.approx((131 - 7) / 8.0)
    with pytest.raises(ValueError, match="after the first 8 s"):
        rate(reports, 8.0)
    with pytest.raises(ValueError, match="no whole update"):
        rate([Report(3, 0.0), Report(3, 5.0)], 0.0)


def run(tmp_path, program, warmup=0.0, said=None, **settings):
    told = [] if said is None else said
    return measured("Library", [sys.executable, "-c", program], settings, os.environ, tmp_path, warmup, told.append)


COUNTS = """
import json, sys
print("heard", sys.argv[1], file=sys.stderr)
for line in json.loads(sys.argv[1])["lines"]:
    print(json.dumps(line), flush=True)
"""


def test_a_process_gets_its_settings_and_reports(tmp_path):
    said = []
    assert run(tmp_path, COUNTS, said=said, lines=[[5, 1.0], [19, 3.0]]) == pytest.approx(7.0)
    assert said == ["5 steps"] or said == ["19 steps"]
    assert "heard" in (tmp_path / "output.txt").read_text()


def test_what_an_import_prints_is_no_report(tmp_path):
    program = (
        """print('Warning: x\\n7\\nnull\\n[1]\\n["a", "b"]\\n{"a": 1, "b": 2}\\n\\n\\xff', flush=True)\nprint()\n"""
    )
    assert run(tmp_path, program + COUNTS, lines=[[5, 1.0], [19, 3]]) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("program", "because"),
    [
        ("raise RuntimeError('no such task')", r"exit code 1 \(RuntimeError: no such task\)\."),
        (COUNTS + "raise RuntimeError('late')", r"exit code 1 \(RuntimeError: late\)\."),
        ("", r"exit code 0 \(it said nothing\)"),
        (COUNTS, "no whole update .*--seconds"),
    ],
)
def test_a_process_that_fails_is_skipped_with_its_reason(tmp_path, program, because):
    with pytest.raises(SkippedError, match=f"Library was not measured: .*{because}") as raised:
        run(tmp_path, program, lines=[[5, 1.0]])
    assert "\n" not in str(raised.value)


def test_a_silent_process_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SILENT_SECONDS", 1.0)
    pipe = tmp_path / "held"
    os.mkfifo(pipe)
    program = f"import os, time; held = open({str(pipe)!r}, 'wb'); os.fork(); time.sleep(600)"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SkippedError, match="no update ended within"):
        run(tmp_path, program)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # nobody holds its other end any more
    os.close(reader)


TIDY = """
import pathlib, signal, sys, time

def leave(number, frame):
    time.sleep(0.5)
    pathlib.Path("tidied").touch()
    sys.exit()

signal.signal(signal.SIGTERM, leave)
print("[1, 1.0]", flush=True)
time.sleep(600)
"""


def test_a_process_may_tidy_up_after_a_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SILENT_SECONDS", 2.0)
    with pytest.raises(SkippedError, match="no update ended within"):
        run(tmp_path, TIDY)
    assert (tmp_path / "tidied").exists()


def test_a_process_may_tidy_up_after_an_interrupt(tmp_path):
    def interrupt(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured("Library", [sys.executable, "-c", TIDY], {}, os.environ, tmp_path, 0.0, interrupt)
    assert (tmp_path / "tidied").exists()


def test_a_process_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    with pytest.raises(SkippedError, match="no update ended within"):
        run(tmp_path, "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")


def test_a_process_that_cannot_end_has_been_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "END_SECONDS", 0.2)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    program = COUNTS + "import os, time; os.close(1); time.sleep(600)"
    assert run(tmp_path, program, lines=[[0, 1.0], [13, 2.0]]) == 13


REPORTING = """
import sys, time
from peers.reporting import to_parent

times = iter([10.0, 12.5, 13.0])
time.monotonic = lambda: next(times)
report = to_parent(3.0)
print([report(steps) for steps in (2, 3, 5)])
print(sorted(name for name in sys.modules if name.startswith("morello")))
"""


def test_reports_say_when_to_stop_and_are_all_that_a_process_prints():
    """A program of a library's environment imports nothing of ours."""
    variables = os.environ | {"PYTHONPATH": str(Path(process.__file__).parent)}
    command = [sys.executable, "-c", REPORTING]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[2, 10.0], [3, 12.5], [5, 13.0]]
    assert done.stderr.splitlines() == ["[False, False, True]", "[]"]


UNREAD = """
import os
from peers.reporting import to_parent

report = to_parent(1000.0)
os.read(0, 1)  # until the reader is gone
os._exit(report(2) and report(3))
"""


def test_a_process_without_a_parent_stops():
    variables = os.environ | {"PYTHONPATH": str(Path(process.__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.close()
        child.stdin.write(b"!")
        child.stdin.flush()
        assert child.wait(60) == 1


ASKED = """
import os, signal, time
from peers import reporting

reporting.UPDATE_SECONDS = 0.1
report = reporting.to_parent(1000.0)
print(report(1))
os.kill(os.getpid(), signal.SIGTERM)
if SILENT:
    try:
        time.sleep(60)
    finally:
        print("closed")
print(report(2))
time.sleep(0.3)  # closing may take longer than an update
print("closed")
"""


@pytest.mark.parametrize(
    ("silent", "said", "code"), [(False, ["False", "True", "closed"], 0), (True, ["False", "closed"], 143)]
)
def test_a_process_that_is_asked_to_stop_does_so_after_its_update_or_at_once(silent, said, code):
    variables = os.environ | {"PYTHONPATH": str(Path(process.__file__).parent)}
    command = [sys.executable, "-c", ASKED.replace("SILENT", str(silent))]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert (done.stderr.splitlines(), done.returncode) == (said, code)


@pytest.mark.parametrize("file", sorted(Path(peers.__file__).parent.glob("*.py")), ids=lambda file: file.stem)
def test_programs_of_other_environments_import_nothing_of_ours(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    levels = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert max(levels, default=0) <= 1

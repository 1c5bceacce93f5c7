"""Where a run came from: what is recorded, what is left out, and that nothing is run to find it out."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

import morello
from morello.agents.storage import git as git_module
from morello.agents.storage import provenance
from morello.agents.storage.config_file import read_config
from morello.agents.storage.masking import masked
from morello.agents.storage.run_folder import Run
from morello.envs.errors import UserError

from ...support.run_folders import CONFIG, SPEC


def test_a_new_run_says_what_it_is_and_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setattr(sys, "argv", ["morello", "train", "a b"])
    with Run.create(tmp_path / "x" / "y", CONFIG, SPEC) as run:
        assert run.changes == []
        assert run.checkpoints.is_dir()
        assert run.videos.is_dir()
    assert read_config(run.path) == (CONFIG, SPEC)
    assert (run.config, run.spec) == (CONFIG, SPEC)
    (start,) = json.loads((run.path / "provenance.json").read_text())["starts"]
    assert start["command"] == "morello train 'a b'"
    assert start["job"]["SLURM_JOB_ID"] == "4711"
    assert start["versions"]["morello"] == morello.__version__
    assert start["versions"]["torch"] == torch.__version__.partition("+")[0] or torch.__version__
    assert start["hardware"]["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", start["started"])
    assert os.uname().nodename not in json.dumps({**start, "git": None})


def test_the_checkout_of_the_package_is_found():
    """It is where the package is, whose root is that of the checkout."""
    assert Path(morello.__file__).resolve().parent == provenance.ROOT
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=provenance.ROOT, text=True, capture_output=True)
    if commit.returncode:
        pytest.skip("this is no checkout")
    assert provenance.provenance()["git"]["morello"]["commit"] == commit.stdout.strip()


def test_every_start_is_recorded_and_changes_are_told(tmp_path, monkeypatch):
    Run.create(tmp_path, CONFIG, SPEC).close()
    real = provenance.hardware()
    monkeypatch.setattr(provenance, "hardware", lambda: {**real, "threads": 97, "cpu": "abacus"})
    with Run.open(tmp_path) as run:
        assert run.changes == [f"cpu: {real['cpu']} -> abacus", f"threads: {real['threads']} -> 97"]
    with Run.open(tmp_path) as run:
        assert run.changes == []
    starts = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert [s["hardware"]["threads"] for s in starts] == [real["threads"], 97, 97]


def test_the_checkout_is_recorded_with_its_changes(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.check_output(["git", *identity, *arguments], cwd=tmp_path, text=True).strip()

    assert provenance.checkout(tmp_path) is None
    git("init", "-q")
    assert provenance.checkout(tmp_path) is None  # no commit yet
    (tmp_path / "f").write_text("before\n")
    git("add", "f")
    git("commit", "-qm", "m")
    assert provenance.checkout(tmp_path) == {"commit": git("rev-parse", "HEAD"), "diff": ""}
    (tmp_path / "f").write_text("after\n")
    assert "-before\n+after\n" in provenance.checkout(tmp_path)["diff"]
    (tmp_path / "sub").mkdir()
    assert provenance.checkout(tmp_path / "sub") is not None
    assert provenance.checkout(tmp_path / "sub", root=True) is None  # someone else's repository around ours
    (tmp_path / "f").write_text("long\n" * 300_000)
    diff = provenance.checkout(tmp_path)["diff"]
    assert len(diff) < git_module.LONGEST_DIFF + 100
    assert diff.endswith("[cut at 1,000,000 bytes]\n")
    monkeypatch.setenv("PATH", "")
    assert provenance.checkout(tmp_path) is None


def test_a_damaged_provenance_is_an_error_and_a_missing_one_is_not(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    (tmp_path / "provenance.json").write_text('{"starts": ')
    with pytest.raises(UserError, match="delete it"):
        Run.open(tmp_path)
    (tmp_path / "provenance.json").unlink()
    Run.open(tmp_path).close()


# Secrets


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["--token=abc", "--steps", "5"], ["--token=***", "--steps", "5"]),
        (["--api-key", "abc", "--steps", "5"], ["--api-key", "***", "--steps", "5"]),
        (["--api_key", "abc"], ["--api_key", "***"]),
        (["--wandb.key", "-abc"], ["--wandb.key", "***"]),
        (["key=abc", "WANDB_API_KEY=abc", "HF_TOKEN=abc"], ["key=***", "WANDB_API_KEY=***", "HF_TOKEN=***"]),
        (["--password=a=b", "--db-password", "x"], ["--password=***", "--db-password", "***"]),
        (["--client-secret", "x", "--accessToken=y"], ["--client-secret", "***", "--accessToken=***"]),
        (["https://me:pw@host.org/x?a=1"], ["https://***@host.org/x?a=1"]),
        (["https://host.org/?a=1&token=abc&b=2"], ["https://host.org/?a=1&token=***&b=2"]),
        (["--header", "Authorization: Bearer abc"], ["--header", "Authorization: ***"]),
        (["--header", "Authorization: Token abc"], ["--header", "Authorization: ***"]),
        (["--password=a b", "password=a,b", "pass=a&b;c"], ["--password=***", "password=***", "pass=***"]),
        (["--pass", "a", "secretKey=a", "accessKey=a"], ["--pass", "***", "secretKey=***", "accessKey=***"]),
        (['{"steps": 5, "token": "a, b"}'], ['{"steps": 5, "token": ***}']),
        (["https://me:p@w@host.org/x", "ftp://me:p/w@host"], ["https://***@host.org/x", "ftp://***@host"]),
        (["http://host.org:80/@me", "http://host.org/@me?a@b"], ["http://host.org:80/@me", "http://host.org/@me?a@b"]),
        (["--bypass=3", "--passes", "2"], ["--bypass=3", "--passes", "2"]),
        (["--note", "hf_abcdefghijklmnop"], ["--note", "***"]),
        (["--token", "--steps", "5"], ["--token", "--steps", "5"]),
        (["--keep", "3", "--aux.cpc.keys", "4", "monkey=3"], ["--keep", "3", "--aux.cpc.keys", "4", "monkey=3"]),
        (["--env", "gym:CartPole-v1", "--run", "a b"], ["--env", "gym:CartPole-v1", "--run", "a b"]),
        (["--author", "Ada", "path/to/file.py"], ["--author", "Ada", "path/to/file.py"]),
    ],
)
def test_secrets_are_masked_and_nothing_else(words, want):
    assert masked(words) == want


def test_secrets_do_not_reach_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["morello", "train", "--token=verysecret", "--api-key", "verysecret"])
    Run.create(tmp_path, CONFIG, SPEC).close()
    (start,) = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert start["command"] == "morello train '--token=***' --api-key '***'"


def test_a_command_that_is_not_utf_8_can_be_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/j\udcf6rg/morello", "train"])
    monkeypatch.setenv("PBS_JOBID", "\udcff")
    Run.create(tmp_path, CONFIG, SPEC).close()
    Run.open(tmp_path).close()
    first, _ = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert first["command"] == r"'/home/j\udcf6rg/morello' train"
    assert first["job"]["PBS_JOBID"] == r"\udcff"


# Diffs


@pytest.fixture
def changed(monkeypatch):
    """What the checkouts hold, to be changed by a test."""
    code = {"commit": "c" * 40, "diff": "+secret change\n" * 1000}
    monkeypatch.setattr(provenance, "checkout", lambda *_, **__: dict(code))
    return code


def test_a_diff_is_kept_once_and_by_its_owner_alone(tmp_path, changed):
    path = tmp_path / "provenance.json"
    before = os.umask(0o022)
    try:
        Run.create(tmp_path, CONFIG, SPEC).close()
        for _ in range(3):
            Run.open(tmp_path).close()
        changed["diff"] = "+another\n"
        Run.open(tmp_path).close()
    finally:
        os.umask(before)
    found = json.loads(path.read_text())
    assert sorted(found["diffs"].values()) == ["+another\n", "+secret change\n" * 1000]
    assert path.read_text().count("+another") == 1
    for start in found["starts"]:
        assert {found["diffs"][code["diff"]] for code in start["git"].values()} <= {*found["diffs"].values()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o644


def test_without_a_diff_the_file_is_for_whom_the_user_says(tmp_path, changed):
    changed["diff"] = ""
    before = os.umask(0o022)
    try:
        Run.create(tmp_path, CONFIG, SPEC).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "provenance.json").stat().st_mode) == 0o644


def test_diffs_of_older_versions_are_kept_once_too(tmp_path, changed):
    Run.create(tmp_path, CONFIG, SPEC).close()
    path = tmp_path / "provenance.json"
    start = json.loads(path.read_text())["starts"][0]
    start["git"]["morello"]["diff"] = "+old\n"
    path.write_text(json.dumps({"starts": [start, start]}))
    Run.open(tmp_path).close()
    assert path.read_text().count("+old") == 1


# A checkout that somebody else made


def test_no_program_of_a_checkout_is_run(tmp_path):
    """Each place where a repository names a program leaves a mark if it is run."""
    repository, trap = tmp_path / "repository", tmp_path / "trap"
    repository.mkdir()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)

    git("init", "-q")
    for name in ("f.txt", "g.txt"):
        (repository / name).write_text("before\n")
    git("add", ".")
    git("commit", "-qm", "m")
    run = f"sh -c 'touch {trap}; cat'"
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.editor",
        "core.askPass",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "pager.diff",
        "pager.rev-parse",
        "alias.diff",
        "alias.rev-parse",
        "interactive.diffFilter",
        "gpg.program",
    ):
        git("config", key, run if not key.startswith("alias") else f"!{run}")
    git("config", "filter.evil.required", "true")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {trap}\n")
        (hooks / name).chmod(0o755)
    git("config", "core.hooksPath", str(hooks))
    (repository / ".gitattributes").write_text("*.txt filter=evil diff=evil\n")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("*.txt filter=evil diff=evil\n")
    trap.unlink(missing_ok=True)
    for name in ("f.txt", "g.txt"):
        (repository / name).write_text("after\n")
    found = git_module.checkout(repository)
    assert not trap.exists()
    assert found is not None
    assert found["diff"].count("-before\n+after\n") == 2
    subprocess.run(["git", "diff", "HEAD"], cwd=repository, capture_output=True, check=False)
    assert trap.exists()  # the trap works


def test_a_git_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    """Nor what it has started, which holds its output open."""
    slow = tmp_path / "git"
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *rev-parse*) pwd; pwd; pwd; echo 0123;; *) echo half; sleep 60 & wait;; esac\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(git_module, "PATIENCE_SECONDS", 0.3)
    begun = time.monotonic()
    found = git_module.checkout(tmp_path)
    assert time.monotonic() - begun < 30
    assert found == {"commit": "0123", "diff": "half\n\n[cut: git took more than 0.3 s]\n"}


def test_no_room_for_the_scratch_folder_costs_the_diff_alone(tmp_path, monkeypatch):
    def refuse(**_: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for words in (["init", "-q"], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-mm"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    found = git_module.checkout(tmp_path)
    assert found is not None
    assert found["diff"] == "[no diff: No space left on device]\n"
    assert len(found["commit"]) == 40


def test_a_linked_worktree_and_a_sha256_repository_are_checkouts_too(tmp_path):
    def git(folder: Path, *arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    for name, options in (("one", ()), ("two", ("--object-format=sha256",))):
        repository = tmp_path / name
        repository.mkdir()
        git(repository, "init", "-q", *options)
        (repository / "f").write_text("before\n")
        git(repository, "add", "f")
        git(repository, "commit", "-qm", "m")
        git(repository, "worktree", "add", "-q", f"../{name}-linked")
        for folder in (repository, tmp_path / f"{name}-linked"):
            assert git_module.checkout(folder)["diff"] == ""
            (folder / "f").write_text("after\n")
            assert "-before\n+after\n" in git_module.checkout(folder)["diff"]

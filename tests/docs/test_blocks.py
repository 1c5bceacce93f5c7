"""Every block of commands and of Python in README.md and docs/ runs, at a tiny budget, so that none goes stale.

A fenced block is ``bash``, ``python`` or ``text``. A block that cannot run here has a comment before it that says why:

    <!-- not run: installs packages -->

Of its commands the flags are parsed all the same, and its make targets, extras and files must exist.
"""

import re
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro

import morello
from morello.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("bash", "python", "text")
ENVS, UPDATES = 2, 2
"""Of what a block trains."""


# Reading


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` says why it is not run, None if it is."""

    place: str
    language: str
    text: str
    reason: str | None


def blocks(page, text):
    found, lines, n = [], text.splitlines(), 0
    while n < len(lines):
        if not lines[n].lstrip().startswith("```"):
            n += 1
            continue
        place, language = f"{page}:{n + 1}", lines[n].strip().removeprefix("```").strip()
        before = next((line for line in reversed(lines[:n]) if line.strip()), "")
        mark = re.fullmatch(r"<!-- not run:(.*)-->", before.strip())
        assert language in LANGUAGES, f"{place}: a block is one of {', '.join(LANGUAGES)}, not {language!r}"
        assert mark is None or mark[1].strip(), f"{place}: say why it is not run"
        end = next((m for m in range(n + 1, len(lines)) if lines[m].strip() == "```"), None)
        assert end is not None, f"{place}: the block does not end"
        inside = "\n".join(lines[n + 1 : end])
        assert language != "text" or not re.search(r"^\s*(python -m )?morello ", inside, re.M), f"{place}: is it bash?"
        found.append(Block(place, language, inside, mark and mark[1].strip()))
        n = end + 1
    return found


def commands(text, variables):
    """The words of each command, with variables put in, those of blocks before among them."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for name, value in variables.items():
            line = re.sub(rf"\${name}\b", lambda _, value=value: value, line)
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert "$" not in "".join(words), f"a variable that has no value: {line}"
        name, equals, value = words[0].partition("=")
        if equals and name.isidentifier():
            assert len(words) == 1, f"one variable a line, in quotes: {line}"
            variables[name] = value
        else:
            found.append(words)
    return found


# Running


@dataclass
class Page:
    """What the blocks of a page leave to the next: shell variables, and how far each run folder went."""

    variables: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)


def own_words(words):
    """What follows ``morello``, or None for another program."""
    if words[:3] == ["python", "-m", "morello"]:
        return words[3:]
    return words[1:] if words[0] == "morello" else None


def value_of(flag, words):
    return words[words.index(flag) + 1] if flag in words else None


def tiny(words, steps):
    """The same command at a tiny budget. ``steps`` remembers how far each run folder went."""
    from morello.agents.config.presets import PRESETS

    budget = {
        "eval": ["--episodes", "1"],
        "watch": ["--seconds", "0.2"],
        "bench throughput": ["--seconds", "0.01", "--repeats", "1", "--no-peers", "--num-envs", "2", "--threads", "1"],
        "bench tv": ["--rollouts", "1"],
        "bench learning": ["--peers", "none", "--num-envs", "2", "--steps", "60", "--window", "20"],
    }
    run = value_of("--run", words)
    if words[0] != "train":
        return words + budget.get(words[0], budget.get(" ".join(words[:2]), []))
    if run in steps and "--resume" in words:
        if "--steps" in words:
            steps[run] += ENVS * 20
            return [*words, "--steps", str(steps[run])]
        return words
    preset = words[1] if len(words) > 1 and not words[1].startswith("-") else "a2c"
    unroll = value_of("--unroll", words) or (PRESETS[preset].config.unroll if preset in PRESETS else 20)
    steps[run] = ENVS * UPDATES * int(unroll)
    if "gym:CartPole-v1" in words:  # long enough for the record of some episodes
        steps[run] = 400
    small = ["--num-envs", str(ENVS), "--steps", str(steps[run]), "--threads", "1", "--replay.capacity", "2000"]
    if preset in PRESETS and PRESETS[preset].config.learner.minibatches > ENVS:
        small += ["--minibatches", str(ENVS)]
    if "--env-workers" in words:  # a process takes seconds to start
        small += ["--env-workers", "0"]
    if "--eval-every" in words:
        small += ["--eval-every", str(steps[run]), "--eval-episodes", "1"]
    return [*words, *small]


def can_run(words):
    """MiniWorld needs the system's OpenGL; without it its flags are parsed."""
    if not (value_of("--env", words) or "").startswith("miniworld:"):
        return True
    from morello.envs.adapters.miniworld import way_to_draw
    from morello.envs.errors import UserError

    try:
        way_to_draw()
    except UserError:
        return False
    return True


def run_bash(block, page, capsys, monkeypatch):
    for words in commands(block.text, page.variables):
        own = own_words(words)
        assert own is not None, f"{block.place}: '{words[0]}' does not run here: mark the block"
        if not can_run(own):
            parse(block, words, capsys, monkeypatch)
            continue
        code = main(tiny(own, page.steps))
        assert code == 0, f"{block.place}: {shlex.join(words)}: {code}\n{capsys.readouterr().err}"


def run_python(block, monkeypatch):
    make, train = morello.make, morello.train

    def few(name, num_envs=1, *rest, **options):
        return make(name, min(num_envs, ENVS), *rest, **options)

    def short(*settings, steps=0, **options):
        return train(*settings, **options | {"num_envs": ENVS, "steps": ENVS * 20 * UPDATES, "threads": 1})

    monkeypatch.setattr(morello, "make", few, raising=False)
    monkeypatch.setattr(morello, "train", short, raising=False)
    exec(compile(block.text, block.place, "exec"), {"__name__": "block"})


# Parsing


class Parsed(Exception):
    """The flags were understood."""


def parse(block, words, capsys, monkeypatch):
    """Assert that a command is one, without running it."""
    own, said = own_words(words), f"{block.place}: {shlex.join(words)}"
    if own is not None and own[:1] == ["list"]:
        assert main(own) == 0, said
    elif own is not None:
        understand = tyro.cli

        def stop(*arguments, **options):
            found = understand(*arguments, **options)
            if options.get("return_unknown_args"):  # one flag looked up before the others
                return found
            raise Parsed

        with monkeypatch.context() as patch:
            patch.setattr(tyro, "cli", stop)
            try:
                main(own)
            except Parsed:
                return
        raise AssertionError(f"{said}: {capsys.readouterr().err}")
    elif words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= set(targets), said
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for name in re.findall(r"\.\[(.*?)\]", " ".join(words)):
            assert set(name.split(",")) <= set(extras), said
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), said
    else:
        raise AssertionError(f"{said}: what is '{words[0]}'?")


def check(block, page, capsys, monkeypatch):
    """Run a block, or see that it could."""
    if block.language == "bash" and block.reason:
        for words in commands(block.text, page.variables):
            parse(block, words, capsys, monkeypatch)
    elif block.language == "bash":
        run_bash(block, page, capsys, monkeypatch)
    elif block.language == "python" and block.reason:
        compile(block.text, block.place, "exec")
    elif block.language == "python":
        with monkeypatch.context() as patch:
            run_python(block, patch)


# Tests


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, tmp_path, capsys, monkeypatch):
    """In order, in one folder: what a block leaves there the next may use."""
    monkeypatch.chdir(tmp_path)
    left = Page()
    for block in blocks(page.name, page.read_text(encoding="utf-8")):
        check(block, left, capsys, monkeypatch)


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    assert max(len(line) for line in lines) <= 240


def fenced(inside, language="bash", reason=None):
    mark = "" if reason is None else f"<!-- not run: {reason} -->\n"
    return f"Words.\n\n{mark}```{language}\n{inside}\n```\n"


ARENA = "morello train a2c --env labyrinth:seekavoid_arena_01"


@pytest.mark.parametrize("reason", [None, "takes hours"])
@pytest.mark.parametrize(
    "wrong",
    [
        f"{ARENA} --gama 0.9",
        f"{ARENA} --memory lstn",
        "morello trian",
        "morello train a3c --env gym:CartPole-v1",
        "morello eval runs/x --episode 3",
        "morello bench throughputt",
        "morello bench throughput --second 1",
        "morello list env",
        'common="--gama 0.9"\nmorello train a2c $common',
        f"{ARENA} $common",
        f"python -m {ARENA} \\\n    --no-such-flag",
        "frobnicate",
    ],
)
def test_a_wrong_command_is_refused(wrong, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("page", fenced(wrong, reason=reason))
    with pytest.raises(AssertionError):
        check(block, Page(), capsys, monkeypatch)


@pytest.mark.parametrize(
    "right",
    [
        f"{ARENA} --device cuda",
        "morello eval runs/not-there",
        "morello bench throughput --sweep",
        "make gpu",
        "pip install '.[envs]'",
        "python examples/custom_level.py",
    ],
)
def test_a_marked_command_is_only_parsed(right, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("page", fenced(right, reason="takes hours"))
    check(block, Page(), capsys, monkeypatch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["make demon", "pip install '.[environments]'", "python examples/none.py"])
def test_a_wrong_program_is_refused(wrong, capsys, monkeypatch):
    (block,) = blocks("page", fenced(wrong, reason="takes hours"))
    with pytest.raises(AssertionError):
        check(block, Page(), capsys, monkeypatch)


@pytest.mark.parametrize("right", ["make test", "pip install ."])
def test_what_cannot_run_must_be_marked(right, capsys, monkeypatch):
    (block,) = blocks("page", fenced(right))
    with pytest.raises(AssertionError, match="mark the block"):
        check(block, Page(), capsys, monkeypatch)


def test_a_failing_python_block_is_seen(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("page", fenced("import morello\nmorello.mak('gym:CartPole-v1')", "python"))
    with pytest.raises(AttributeError, match="mak"):
        check(block, Page(), capsys, monkeypatch)


@pytest.mark.parametrize(
    "page", ["```\nls\n```", "```sh\nls\n```", "```bash\nls", fenced("morello train", "text"), fenced("ls", reason=" ")]
)
def test_a_block_says_what_it_is(page):
    with pytest.raises(AssertionError):
        blocks("page", page)

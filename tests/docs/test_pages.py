"""Pages hang together: links lead somewhere, the reference names what there is, the site shows every page."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]


def prose(page):
    """Without fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page):
    """Of its headings, as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def broken(page, text):
    """The links of a page that lead nowhere."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = page if not path else (page.parent / path).resolve()
        if "://" in target or (there.exists() and (not anchor or anchor in anchors(there))):
            continue
        found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page, prose(page)) == []


def test_broken_links_are_seen():
    text = (
        "[a](docs/usage.md) [b](docs/no.md) [c](docs/usage.md#commands) [d](docs/usage.md#no) [e](https://example.org)"
    )
    assert broken(ROOT / "README.md", text) == ["docs/no.md", "docs/usage.md#no"]


def resolve(path):
    """The module, class, function or value that the reference names."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:n]))
        except ModuleNotFoundError as error:
            if not path.startswith(str(error.name)):  # a library that is not installed here
                return find_spec(".".join(parts[:n]))
            continue
        for part in parts[n:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize("page", [p for p in DOCS if p.parent.name == "api"], ids=lambda page: page.name)
def test_reference_names_what_there_is(page):
    named = re.findall(r"^::: (\S+)((?:\n {4}.*)*)", page.read_text(encoding="utf-8"), re.M)
    assert named
    for path, options in named:
        found = resolve(path)
        for members in re.findall(r"members: \[(.*)\]", options):
            for member in members.split(", "):
                assert hasattr(found, member), f"{path} has no {member}"


def test_every_page_is_in_the_site():
    listed = set(re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    own = {str(page.relative_to(ROOT / "docs")) for page in DOCS}
    assert listed == own | {"CONTRIBUTING.md", "CHANGELOG.md"}


def test_every_loss_and_reward_is_in_the_reference():
    from morello.auxiliaries import AUXILIARY_LOSSES, INTRINSIC_REWARDS

    text = (ROOT / "docs" / "api" / "plugins.md").read_text(encoding="utf-8")
    every = [*AUXILIARY_LOSSES.values(), *INTRINSIC_REWARDS.values()]
    assert [c.__module__ for c in every if f"::: {c.__module__}\n" not in text] == []


def spread(line):
    """The levels of a table's row: those that it names, or ``a_2`` to ``a_5`` and all between."""
    names = re.findall(r"`(\w+)`", line.split("|")[1])
    if " to " not in line.split("|")[1]:
        return names
    stem, first = names[0].rsplit("_", 1)
    return [f"{stem}_{n}" for n in range(int(first), int(names[1].rsplit("_", 1)[1]) + 1)]


def test_rows_of_many_levels_are_read():
    assert spread("| `a_9` to `a_11` | 0.10 |") == ["a_9", "a_10", "a_11"]
    assert spread("| `b`, `b_tv` | 0.10 | c to `d` |") == ["b", "b_tv"]


def test_every_level_is_in_the_tables():
    """With its scores, if they are on record and the row is its own."""
    from morello.envs.labyrinth.levels import LEVELS, recorded_scores

    for page in (ROOT / "README.md", ROOT / "docs" / "labyrinth.md"):
        lines = page.read_text(encoding="utf-8").splitlines()
        rows = {name: line for line in lines if line.startswith("| `") for name in spread(line)}
        for name in LEVELS:
            scores = recorded_scores(name)
            shown = [f"| {scores[policy]['mean']:.2f} " for policy in ("random", "oracle") if policy in scores]
            assert name in rows, f"{page.name} lacks {name}"
            own = len(spread(rows[name])) == 1
            assert not own or all(score in rows[name] for score in shown), f"{page.name}: {name} has {shown}"
            assert page.name == "README.md" or rows[name].endswith(f"| {LEVELS[name].summary} |"), name


def test_tests_that_pages_name_exist():
    have = {path.name for path in (ROOT / "tests").rglob("*.py")}
    for page in (p for p in DOCS if p.parent.name == "docs"):
        named = re.findall(r"`(?:tests/)?(?:\w+/)*(\w+\.py)`", page.read_text(encoding="utf-8"))
        assert [name for name in named if name.startswith("test_") and name not in have] == [], page.name

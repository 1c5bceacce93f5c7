"""The rules of the house: who imports whom, what is packaged, what is registered, how fast an import is."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
SETUPTOOLS = TOOLS["setuptools"]
NOT_PACKAGED = {"tests", "examples", "docs", "build", "dist", "runs"}
RESULTS = ROOT / "benchmarks" / "results"  # recorded measurements: in the repository; one of them in the wheel

MAY_IMPORT = {
    "envs": (),
    "backbones": ("envs.experience", "envs.trees"),
    "auxiliaries": ("envs.experience", "envs.trees", "backbones"),
    "agents": ("envs", "backbones", "auxiliaries"),
    "benchmarks": ("envs", "backbones", "auxiliaries", "agents", "flags"),
    "__init__": ("envs", "backbones", "auxiliaries", "agents"),
    "flags": ("envs.errors",),
    "__main__": ("envs", "backbones", "auxiliaries", "agents", "benchmarks", "flags"),
}
"""What a top-level folder or root module may import of ours, beside itself and ``__version__``."""


@cache
def packages() -> tuple[Path, ...]:
    """The root and every folder below it that holds Python files; not hidden ones, not virtual environments."""
    found = []
    for path, inner, files in os.walk(ROOT):
        folder = Path(path)
        skipped = {"__pycache__", *(NOT_PACKAGED if folder == ROOT else ())}
        inner[:] = [
            d for d in inner if d not in skipped and not d.startswith(".") and not (folder / d / "pyvenv.cfg").exists()
        ]
        if any(file.endswith(".py") for file in files):
            found.append(folder)
    return tuple(sorted(found))


def modules() -> list[Path]:
    return [file for folder in packages() for file in sorted(folder.glob("*.py"))]


def dotted(path: Path) -> str:
    """The import name of a folder or file: ``morello.envs.labyrinth``."""
    parts = path.relative_to(ROOT).parts
    return ".".join(["morello", *parts]).removesuffix(".py")


def imported(source: str, package: str) -> set[str]:
    """What a module of ``package`` imports of its own root, names included: ``morello.envs.experience.Rollout``.

    Imports inside functions and under TYPE_CHECKING count too.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = above[: len(above) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return {name for name in found if name.split(".")[0] == package.split(".")[0]}


def test_imports_are_read():
    source = """
import morello.agents.actor
from morello.envs import make
from .. import __version__
from ..envs.experience import Rollout
from . import base
from .base import Torso as T
import torch, numpy as np
def later():
    from ...benchmarks import throughput
"""
    found = imported(source, "morello.agents.runners")
    assert found == {
        "morello.agents.actor",
        "morello.envs.make",
        "morello.agents.__version__",
        "morello.agents.envs.experience.Rollout",
        "morello.agents.runners.base",
        "morello.agents.runners.base.Torso",
        "morello.benchmarks.throughput",
    }
    assert imported("from . import envs", "morello") == {"morello.envs"}


def test_imports_point_one_way():
    wrong = []
    for file in modules():
        place = file.relative_to(ROOT).parts[0].removesuffix(".py")
        assert place in MAY_IMPORT, f"{place} is new at the top level: say in MAY_IMPORT what it may import"
        package = dotted(file.parent) if file.parent != ROOT else "morello"
        allowed = [f"morello.{name}" for name in (*MAY_IMPORT[place], place, "__version__")]
        wrong += [
            f"{file.relative_to(ROOT)} imports {name}"
            for name in sorted(imported(file.read_text(encoding="utf-8"), package))
            if not any(name == a or name.startswith(a + ".") for a in allowed)
        ]
    assert not wrong, "\n".join(wrong)


ROOMS = ("", "runners", "storage", "config", "bonus", "evaluation", "video", "training")
"""Of `agents`, the files at its top first: each imports those before it only."""


def files_imported() -> dict[str, set[str]]:
    """By module, the modules it imports of ours."""
    names = {dotted(file).removesuffix(".__init__"): file for file in modules()}
    graph = {}
    for name, file in names.items():
        package = dotted(file.parent) if file.parent != ROOT else "morello"
        found = imported(file.read_text(encoding="utf-8"), package)
        graph[name] = {n if n in names else n.rpartition(".")[0] for n in found} & (names.keys() - {name})
    return graph


def test_rooms_of_agents_point_one_way():
    def room(name: str) -> int:
        parts = name.split(".")[2:]
        return ROOMS.index(parts[0]) if parts and parts[0] in ROOMS else 0

    folders = {folder.name for folder in packages() if folder.parent == ROOT / "agents"}
    assert folders == {*ROOMS[1:]}, "say in ROOMS what a new folder may import"
    inside = {k: v for k, v in files_imported().items() if k.startswith("morello.agents")}
    wrong = [
        f"{name} imports {other}"
        for name, others in inside.items()
        for other in others
        if other.startswith("morello.agents.") and room(other) > room(name)
    ]
    assert not wrong, "\n".join(wrong)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other round in a circle; empty if there are none."""
    left = dict(graph)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    path = sorted(left)[:1]
    while path and (after := min(left[path[-1]] & left.keys())) not in path:
        path.append(after)
    return path and path[path.index(after) :]


def test_no_files_import_each_other():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    graph = files_imported()
    del graph["morello"]  # its version is for all, and what it hands on it imports when asked
    assert circle(graph) == []


def test_no_folders_import_each_other():
    """A folder and those inside it apart: what its files share is below them, and above them what is put together."""
    folders = {dotted(folder) for folder in packages()}
    graph: dict[str, set[str]] = {}
    for name, others in files_imported().items():
        folder, *homes = (n if n in folders else n.rpartition(".")[0] for n in (name, *others))
        apart = {f for f in homes if not f"{folder}.".startswith(f"{f}.") and not f"{f}.".startswith(f"{folder}.")}
        graph.setdefault(folder, set()).update(apart)
    assert circle(graph) == []


def test_papers_do_not_import_papers():
    """What two auxiliary losses share is in ``parts``, which knows neither."""
    papers = {f"morello.auxiliaries.losses.{f.stem}" for f in (ROOT / "auxiliaries" / "losses").glob("[!_]*.py")}
    wrong = {
        name: others & papers
        for name, others in files_imported().items()
        if name in papers or name.startswith("morello.auxiliaries.losses.parts")
    }
    assert {name: found for name, found in wrong.items() if found} == {}


def test_tests_mirror_the_tree():
    """But for what they share, and for trials."""
    folders = {file.parent.relative_to(TESTS) for file in TESTS.rglob("*.py")}
    apart = {folder for folder in folders if folder.parts[:1] in (("support",), ("trials",), ("docs",))}
    assert [folder for folder in folders - apart if not (ROOT / folder / "__init__.py").exists()] == []


def test_tests_are_short_and_share_through_support():
    wrong = []
    for file in TESTS.rglob("test_*.py"):
        source, package = file.read_text(encoding="utf-8"), ".".join(file.parent.relative_to(ROOT).parts)
        found = sorted(name for name in imported(source, package) if ".test_" in name)
        wrong += [f"{file.relative_to(ROOT)} imports {name}: move it into tests/support" for name in found]
        if (lines := source.count("\n")) > 400:
            wrong.append(f"{file.relative_to(ROOT)} has {lines} lines, and 400 are the most")
    assert not wrong, "\n".join(wrong)


def test_every_folder_with_code_is_packaged():
    """An editable install finds a folder missing here; the wheel lacks it, in silence."""
    assert {dotted(folder) for folder in packages()} == set(SETUPTOOLS["packages"])
    assert [folder for folder in packages() if not (folder / "__init__.py").exists()] == []


def test_every_data_file_is_packaged():
    data = {ROOT / "py.typed"}
    for top in packages():
        if top.parent == ROOT:
            data |= {file for file in top.rglob("*") if file.is_file() and not file.name.startswith(".")}
    data = {f for f in data if f.suffix != ".py" and "__pycache__" not in f.parts and RESULTS not in f.parents}
    covered = set()
    for folder in packages():
        for pattern in SETUPTOOLS["package-data"].get(dotted(folder), ()):
            matched = set(folder.glob(pattern))
            assert matched, f"package-data {dotted(folder)}: {pattern} matches nothing"
            covered |= matched
    assert data - covered == set(), "add these to package-data in pyproject.toml"


def test_type_checkers_see_every_folder():
    """``.typings/morello`` holds one link per top-level folder and root module, and nothing else."""
    links = {link.name: os.readlink(link) for link in (ROOT / ".typings" / "morello").iterdir()}
    top = [folder for folder in packages() if folder.parent == ROOT] + list(ROOT.glob("*.py")) + [ROOT / "py.typed"]
    assert links == {path.name: f"../../{path.name}" for path in top}


def test_shapes_are_checked_wherever_they_are_annotated():
    """A module that writes ``Float[Tensor, "T B"]`` is named in pytest's options, or its package is, which makes tests
    check it.
    """
    annotated = {dotted(f) for f in modules() if "jaxtyping" in f.read_text(encoding="utf-8")}
    options = TOOLS["pytest"]["ini_options"]["addopts"].split()
    (option,) = (o for o in options if o.startswith("--jaxtyping-packages="))
    *named, checker = option.partition("=")[2].split(",")
    assert checker == "beartype.beartype"
    held = {name: {m for m in annotated if m == name or m.startswith(f"{name}.")} for name in named}
    assert set().union(*held.values()) == annotated
    assert all(held.values()), "a name holds nothing that is annotated"


def test_a_wrong_shape_is_an_error_in_tests():
    from morello.auxiliaries.reduction import reduce

    with pytest.raises(Exception, match="Type-check error"):
        reduce(torch.zeros(3, 2), torch.ones(2, 3, dtype=torch.bool))


def test_importing_morello_is_fast():
    """No torch until it is needed. Processor time, the least of three: a busy machine must not fail this."""
    program = (
        "import sys, time; start = time.process_time(); import morello; spent = time.process_time() - start\n"
        "print(spent, *(m for m in ('torch', 'numpy', 'warp', 'gymnasium') if m in sys.modules))"
    )
    runs = []
    for _ in range(3):
        spent, *heavy = subprocess.check_output([sys.executable, "-c", program], text=True).split()
        assert heavy == [], f"import morello imports {heavy}"
        runs.append(float(spent))
    assert min(runs) < 0.3


REGISTRIES = {
    "morello.envs.FAMILIES": "morello.envs.Family",
    "morello.envs.labyrinth.levels.LEVELS": "morello.envs.labyrinth.level.Level",
    "morello.backbones.TORSOS": "morello.backbones.Torso",
    "morello.backbones.MEMORIES": "morello.backbones.SequenceModel",
    "morello.backbones.autoregressive.HEADS": "morello.backbones.autoregressive.Head",
    "morello.backbones.latent.KL_POLICIES": "morello.backbones.latent.KLPolicy",
    "morello.backbones.latent.POSTERIORS": "morello.backbones.latent.Posterior",
    "morello.backbones.latent.PRIORS": "morello.backbones.latent.Prior",
    "morello.backbones.sources.CHANNELS": "morello.backbones.sources.Channel",
    "morello.backbones.sources.SOURCES": "morello.backbones.sources.Source",
    "morello.auxiliaries.AUXILIARY_LOSSES": "morello.auxiliaries.AuxiliaryLoss",
    "morello.auxiliaries.INTRINSIC_REWARDS": "morello.auxiliaries.IntrinsicReward",
    "morello.agents.config.presets.PRESETS": "morello.agents.config.presets.Preset",
}
"""Each registry and what its entries are, or are subclasses of."""


def named(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("registry", REGISTRIES)
def test_registries_hold_objects_not_names_of_them(registry):
    entries, kind = named(registry), REGISTRIES[registry]
    assert isinstance(entries, dict)
    for name, entry in entries.items():
        assert re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name), f"{name!r} is no lower-case word for the command line"
        if inspect.isclass(entry):
            assert issubclass(entry, named(kind)), name
            assert not inspect.isabstract(entry), name
            assert inspect.getmodule(entry).__doc__, f"{name}: its file must say what it is and where it is from"
        else:
            assert isinstance(entry, named(kind)), name


def test_every_torso_and_memory_builds():
    """Image torsos say which map they give, and give it; others take a vector."""
    from morello.backbones import MEMORIES, TORSOS

    for name, torso_class in TORSOS.items():
        image = torch.randint(0, 256, (2, 67, 71, 3), dtype=torch.uint8)
        torso = torso_class(image.shape[1:])
        if torso.map_shape is None:
            torso = torso_class((5,))
        maps, vector = torso(torch.randn(2, 5) if torso.map_shape is None else image)
        assert vector.shape == (2, torso.size), name
        assert (None if maps is None else maps.shape[1:]) == torso.map_shape, name
    for name, memory_class in MEMORIES.items():
        memory = memory_class(11, 13)
        first = torch.zeros(3, 2, dtype=torch.bool)
        output, _ = memory(torch.randn(3, 2, 11), memory.initial_state(2), first)
        assert output.shape == (3, 2, memory.size), name


def test_every_preset_builds_and_is_explained():
    from morello.agents.config.build import network
    from morello.agents.config.presets import PRESETS
    from morello.agents.config.resolve import resolve
    from morello.envs import make

    env = make("counting:steps", 2, frame_size=(67, 71))
    for name, preset in PRESETS.items():
        assert preset.about, name
        config = resolve(replace(preset.config, env="counting:steps", device="cpu"))
        model = network(config, env.spec)
        assert sum(p.numel() for p in model.parameters()) > 0, name


def test_levels_are_registered_by_their_own_name():
    from morello.envs.labyrinth.levels import LEVELS

    assert {name: level.name for name, level in LEVELS.items()} == {name: name for name in LEVELS}
    assert all(level.summary for level in LEVELS.values())

"""Adding to a registry is one new file and one line: done here, six times over, in a copy of the package, and then used
from the command line, from ``morello list`` to a run that goes on.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Addition:
    """A file ``name``.py and, in the ``__init__.py`` beside it, one line: ``entry``, after what matches ``registry``.
    ``imported`` imports the file there, if that has to be.
    """

    folder: str
    name: str
    registry: str
    entry: str
    source: str
    imported: str = ""

    def add(self, root):
        """Write the file and the line into the package at ``root``."""
        file, registry = root / self.folder / f"{self.name}.py", root / self.folder / "__init__.py"
        assert not file.exists()
        file.write_text(self.source)
        head, found, tail = re.split(f"({self.registry})", registry.read_text(), flags=re.M)
        assert "\n" not in self.entry + self.imported
        if self.imported:
            head = re.sub(r"^(?=(?:from|import) (?!__future__))", self.imported + "\n", head, count=1, flags=re.M)
            assert self.imported in head
        registry.write_text(f"{head}{found}\n    {self.entry}{tail}")


LOSS = Addition(
    "auxiliaries/losses",
    "foretell",
    r"^AUXILIARY_LOSSES: .* = \{",
    '"foretell": Foretell,',
    '''"""Foretells the next reward: no paper's, a test's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..reduction import average


@dataclass(frozen=True)
class ForetellConfig(LossConfig):
    """Foretell the next reward."""

    hidden: Annotated[int, Meta(ge=1)] = 13
    """Width of what foretells."""


class Foretell(AuxiliaryLoss):
    """Squared error of the next reward, from what is remembered."""

    Config = ForetellConfig
    paper = "foretells the next reward"

    def __init__(self, config: ForetellConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.head = nn.Sequential(nn.Linear(sizes.memory, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """[T, B]."""
        error = (self.head(features.memory[:-1]).squeeze(-1) - rollout.reward).square()
        self.metrics = {"miss": average(error.detach().sqrt(), rollout.valid)}
        return error, rollout.valid
''',
    "from .foretell import Foretell",
)

REWARD = Addition(
    "auxiliaries/intrinsic",
    "glitter",
    r"^INTRINSIC_REWARDS: .* = \{",
    '"glitter": Glitter,',
    '''"""Rewards what a small network cannot yet reconstruct: no paper's, a test's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..reduction import average


@dataclass(frozen=True)
class GlitterConfig(IntrinsicConfig):
    """Seek what glitters."""

    hidden: Annotated[int, Meta(ge=1)] = 17
    """Width of the bottleneck."""


class Glitter(IntrinsicReward):
    """Squared error of the encoder's vector, squeezed through a bottleneck."""

    Config = GlitterConfig
    paper = "seeks what glitters"

    def __init__(self, config: GlitterConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.squeeze = nn.Sequential(nn.Linear(sizes.vector, config.hidden), nn.Linear(config.hidden, sizes.vector))

    def error(self, features: Features) -> Tensor:
        """[T, B]."""
        seen = features.vector[1:]
        error: Tensor = (self.squeeze(seen) - seen).square().mean(-1)
        return error

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """The error."""
        return Scored(self.error(features))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Log its root."""
        self.metrics = {"root": average(scored.raw.sqrt(), rollout.valid)}

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """[T, B]: the error again, with its gradient."""
        return self.error(features), rollout.valid
''',
    "from .glitter import Glitter",
)

LEVEL = Addition(
    "envs/labyrinth/levels",
    "larder",
    r"^FILES = \(",
    "larder,",
    '''"""larder: a test's, two apples in a narrow room."""

from __future__ import annotations

from ..level import Blocks, Level

LEVELS = [
    Level(
        name="larder",
        summary="two apples (+1) in a narrow room",
        layout=Blocks("#######\\n#P A A#\\n#######"),
        seconds=2,
        restart_when_cleared=True,
    )
]
''',
    "from . import larder",
)

RUNNER = Addition(
    "agents/runners",
    "patient",
    r"^RUNNERS: .* = \{",
    '"patient": Patient,',
    '''"""Takes turns and counts them: a test's."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from .sync import Sync


class Patient(Sync):
    """Counts the turns it takes."""

    def __iter__(self) -> Iterator[tuple[Rollout, dict[str, Metric]]]:
        for rollout, metrics in super().__iter__():
            yield rollout, metrics | {"patient/turns": torch.tensor(float(self.learner.updates))}
''',
    "from .patient import Patient",
)

PRESET = Addition(
    "agents/config/presets",
    "magpie",
    r"^PRESETS: .* = \{",
    '"magpie": MAGPIE,',
    '''"""All that is added, together: a test's."""

from __future__ import annotations

from ....auxiliaries.intrinsic.glitter import GlitterConfig
from ....auxiliaries.losses.foretell import ForetellConfig
from ..config import Config
from .base import Preset

MAGPIE = Preset(
    Config(
        torso="shallow",
        runner="patient",
        num_envs=3,
        unroll=5,
        log_every=60,
        aux={"foretell": ForetellConfig(weight=0.5)},
        intrinsic={"glitter": GlitterConfig(weight=0.25)},
    ),
    "all that is added, together",
)
''',
    "from .magpie import MAGPIE",
)

BENCHMARK = Addition(
    "benchmarks",
    "nap",
    r"^BENCHMARKS: .* = \{",
    '"nap": Benchmark("how long a nap is", ".nap"),',
    '''"""``morello bench nap``: a test's."""

from __future__ import annotations

from dataclasses import dataclass

from ..envs import make
from ..flags import parse


@dataclass(frozen=True)
class NapFlags:
    """Do nothing for a while."""

    steps: int = 3
    """Length of the nap."""


def main(words: list[str]) -> int:
    """Nap and tell."""
    settings = parse(NapFlags, words, "morello bench nap")
    env = make("counting:steps", 2)
    print(f"a nap of {settings.steps} steps beside {env.spec.num_actions} actions")
    env.close()
    return 0
''',
)

COMMANDS = """
import contextlib, io, json, sys
from morello.__main__ import main

answers = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
    answers.append([code, said.getvalue()])
print(json.dumps(answers))
"""
"""One process for all of them: importing torch takes seconds."""


def copied(folder):
    """The package, with what `.typings` links to and its links, which lead to the copy. No data of measurements."""
    links = folder / ".typings" / "morello"
    links.mkdir(parents=True)
    for link in (ROOT / ".typings" / "morello").iterdir():
        original, target = ROOT / link.name, os.readlink(link)
        if original.is_dir():
            shutil.copytree(original, folder / link.name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(original, folder)
        (links / link.name).symlink_to(target)
        assert (links / link.name).resolve() == (folder / link.name).resolve()
    return folder


def commands(root, folder, *lines):
    """What each command line says on standard output, run by the package at ``root`` in ``folder``."""
    variables = {"PYTHONPATH": str(root / ".typings"), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=json.dumps([line.split() for line in lines]),
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [line for line, (code, _) in zip(lines, answers, strict=True) if code] == [], done.stderr
    return dict(zip(lines, (said for _, said in answers), strict=True))


def test_one_file_and_one_registry_line(tmp_path):
    root, folder = copied(tmp_path / "package"), tmp_path / "elsewhere"
    folder.mkdir()
    for addition in (LOSS, REWARD, LEVEL, RUNNER, PRESET, BENCHMARK):
        addition.add(root)
    train = (
        "train magpie --env labyrinth:larder --frame-size 36 36 --steps 180 --threads 1 --device cpu --quiet --run run "
        "--aux.foretell.hidden 7 --intrinsic.glitter.hidden 11"
    )
    said = commands(
        root,
        folder,
        "--help",
        "list losses",
        "list intrinsic",
        "list envs labyrinth",
        "list presets",
        "list runners",
        "bench --help",
        "train magpie --help",
        "bench nap --steps 7",
        train,
        "train --resume --run run --steps 300 --quiet",
        "eval run --episodes 2",
    )

    listed = {
        "list losses": "foretell +foretells the next reward",
        "list intrinsic": "glitter +seeks what glitters",
        "list envs labyrinth": r"labyrinth:larder +.*two apples",
        "list presets": "magpie +all that is added, together",
        "list runners": r"patient +Counts the turns it takes\.",
        "bench --help": "nap +how long a nap is",
        "--help": "  morello bench nap +how long a nap is",
    }
    for line, pattern in listed.items():
        assert re.search(f"^ *{pattern}", said[line], re.M), f"{line}: {said[line]}"

    flags = said["train magpie --help"]
    for flag in (
        "--aux.foretell.weight",
        "--aux.foretell.hidden",
        "--intrinsic.glitter.weight",
        "--intrinsic.glitter.hidden",
        "--intrinsic.glitter.gamma",
    ):
        assert flag in flags
    assert "Width of what foretells." in flags
    assert re.search(r"--runner \{sync,.*patient.*\}|--runner \{patient,.*sync.*\}", flags)
    assert re.search(r"\(default: patient\)", flags)
    assert said["bench nap --steps 7"].startswith("a nap of 7 steps")

    settings = json.loads((folder / "run" / "config.json").read_text())
    assert (settings["preset"], settings["runner"], settings["env"]) == ("magpie", "patient", "labyrinth:larder")
    assert settings["aux"] == {"foretell": {"weight": 0.5, "hidden": 7}}
    assert settings["intrinsic"]["glitter"].items() >= {"weight": 0.25, "hidden": 11, "gamma": 0.99}.items()
    assert settings["steps"] == 300  # it went on

    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [60, 120, 180, 240, 300]
    for record in records:
        assert record.keys() >= {
            "loss/foretell",
            "foretell/miss",
            "loss/glitter",
            "glitter/root",
            "glitter/reward",
            "glitter/value",
            "loss/value/glitter",
            "patient/turns",
        }
    assert "foretell/gradient_share" in records[-1]
    means = [2.5, 6.5, 10.5, 14.5, 18.5]  # of updates 1 to 4, 5 to 8 and so on
    assert [record["patient/turns"] for record in records] == means
    assert "random" in said["eval run --episodes 2"]


def test_contributing_says_so_of_each():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paragraphs = dict(re.findall(r"^\*\*(.+?)\.\*\* (.*)$", text, re.M))
    for kind in ("A level", "A preset", "An auxiliary loss", "An intrinsic reward", "A runner", "A benchmark"):
        assert paragraphs[kind].startswith("One file, one registry line: "), kind
    assert "tests/test_adding.py" in text

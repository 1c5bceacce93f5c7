"""Losses of somebody's own: settings of any type, and what a film shows of them."""

from morello.__main__ import main
from morello.agents.config.saved import read_settings
from morello.auxiliaries import AUXILIARY_LOSSES

FILE = """
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Optional, Union

import torch

from morello.auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig


@dataclass(frozen=True)
class MineConfig(LossConfig):
    mode: Literal["a", "b"] | None = None
    other: Optional[Literal["c", 3]] = None
    modes: tuple[Literal["a", "b"], ...] = ("a",)
    layers: list[int] | None = None
    pairs: tuple[tuple[int, int], ...] = ((1, 2),)
    share: float = 2.0
    gamma: float | None = None
    mixed: Union[int, str] = "x"
    bare: tuple = (1, 2)
    memory: int = 7
    anything: Any = None
    several: Sequence[int] = (1, 2)
    named: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"a": (1, 2)})
    constant: ClassVar[int] = 3
    fixed: Final[int] = 4
    derived: int = field(default=5, init=False)
    weight: float = 0.0


class Mine(AuxiliaryLoss):
    Config = MineConfig
    paper = "mine"

    def __init__(self, config, spec, sizes):
        super().__init__(config)
        assert config.gamma == 0.9, "the learner's"
        self.head = torch.nn.Linear(sizes.memory, 6)

    def attach(self, encoder):
        super().attach(encoder)
        self.more = torch.nn.Linear(encoder.size, 1)

    def heat(self, features):
        return self.head(features.memory[-1, 0]).view(2, 3)

    def forward(self, rollout, features):
        return self.head(features.memory[:-1]).square().mean(-1), rollout.valid


AUXILIARY_LOSSES["mine"] = Mine
"""


def test_settings_of_any_type_and_a_heat_map(tmp_path, capsys):
    file, run = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(FILE)
    words = "train --env labyrinth:seekavoid_arena_01 --frame-size 36 36 --steps 400 --num-envs 4 --threads 1 --quiet"
    given = "--gamma 0.9 --aux.mine.weight 0.5 --aux.mine.mode b --aux.mine.modes b a --aux.mine.layers 64 32"
    given += " --aux.mine.pairs 3 1 4 1"
    try:
        assert main([*words.split(), *given.split(), "--import", str(file), "--run", str(run)]) == 0
        own = read_settings(run)[1].aux["mine"]
        assert (own.mode, own.modes, own.layers, own.pairs) == ("b", ("b", "a"), [64, 32], ((3, 1), (4, 1)))
        assert (own.bare, list(own.several), own.named, own.derived) == ((1, 2), [1, 2], {"a": (1, 2)}, 5)
        assert main(["train", "--resume", "--run", str(run), "--steps", "800", "--quiet", "--import", str(file)]) == 0
        assert main(["watch", str(run), "--seconds", "0.2", "--import", str(file)]) == 0
        capsys.readouterr()
        file.write_text(FILE.replace("memory, 6)", "memory, 8)"))
        assert main(["watch", str(run), "--seconds", "0.2", "--import", str(file)]) == 2
        assert "the loss 'mine' in" in (said := capsys.readouterr().err)
        assert "'head.weight' is [6, 522] there, not [8, 522]" in said
        for wrong in ("--aux.mine.weight -1", "--aux.mine.weight 1 --aux.mine.mode c"):
            assert main([*words.split(), *wrong.split(), "--import", str(file)]) == 2
    finally:
        AUXILIARY_LOSSES.pop("mine", None)

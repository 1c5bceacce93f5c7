"""Flags of losses and rewards that do not exist: one sentence that names what is near."""

import pytest

from morello.__main__ import main
from morello.agents.config.config import Config
from morello.agents.config.registered import refuse_unknown
from morello.flags import parse


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--intrinsic.rdn.weight", "Unknown intrinsic reward 'rdn': did you mean rnd or ride? Add your own"),
        ("--intrinsic.byol-explor.weight=1", "did you mean byol_explore?"),
        ("--intrinsic", "--intrinsic needs the name of a reward, such as --intrinsic."),
        ("--aux.cpcc.weight", "Unknown auxiliary loss 'cpcc': did you mean cpc"),
        ("--aux.zzzz.weight", "cpc_a, curl, spr, inverse_dynamics. Add your own"),
    ],
)
def test_an_unknown_plugin_is_named(capsys, flag, said):
    assert main(["train", "ppo", "--env", "counting:steps", flag, "1"]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_how_rewards_combine_is_a_flag_beside_them():
    assert parse(Config, ["--intrinsic.combine", "product"], "p").learner.combine == "product"


def test_known_ones_pass():
    refuse_unknown(["--intrinsic.combine", "product", "--intrinsic.episodic-count.no-once", "--aux.cpc.weight=1", "x"])

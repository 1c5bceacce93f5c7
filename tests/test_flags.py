"""Flags: what tyro has to say, in one sentence."""

import pytest

from morello.agents.presets import Config
from morello.envs.errors import UserError
from morello.flags import _sentence, parse

PANEL = """\
{0} Value error {0}
{1} Error parsing --seed: invalid literal for int() with base 10: 'many' {1}
{1} {2} {1}
{1} Argument helptext: {1}
{1}     --seed INT {1}
{1}     Of weights, action noise and environments. (default: 0) {1}
{1} {2} {1}
{1} For full helptext, see morello train --help {1}
{0}{2}{0}
"""


@pytest.mark.parametrize("frame", [("╭", "│", "─────"), ("+", "|", "-----")])  # the second where there is only ASCII
def test_a_panel_is_one_sentence(frame):
    said = "Error parsing --seed: invalid literal for int() with base 10: 'many'"
    assert _sentence(PANEL.format(*frame), "morello") == f"{said} (morello --help explains every flag)"


def test_mistakes_name_the_flag_and_what_is_near():
    for words, said in ((["--seed", "many"], "Error parsing --seed"), (["--gama", "3"], "meant: --gamma FLOAT")):
        with pytest.raises(UserError) as caught:
            parse(Config, words, "p")
        assert said in str(caught.value)
        assert not any(noise in str(caught.value) for noise in ("helptext", "──", "---", "│", "\n"))

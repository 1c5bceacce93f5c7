"""Flags: what tyro has to say, in one sentence."""

import sys

import pytest

from morello.agents.config.config import Config
from morello.envs.errors import UserError
from morello.flags import _sentence, import_files, parse

PANEL = """\
{0} Value error {0}
{1} Error parsing --seed: invalid literal for int() with base 10: 'many' {1}
{1} {2} {1}
{1} Argument helptext: {1}
{1}     --seed INT {1}
{1}     Seed of weights, action noise and environments. (default: 0) {1}
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


def test_a_file_is_run_and_its_flag_taken_out(tmp_path):
    (tmp_path / "found.py").write_text("import sys\nsys.modules[__name__].found = 1\n")
    file = str(tmp_path / "found.py")
    assert import_files(["train", "--import", file, "--seed", "3"]) == ["train", "--seed", "3"]
    assert [m.found for name, m in sys.modules.items() if name.startswith("morello_import_found_")] == [1]
    assert import_files([f"--import={file}"]) == []


def test_a_file_that_fails_is_named_with_its_line(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\n\nraise KeyError('gone')\n")
    (tmp_path / "torn.py").write_text("x = (\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(5)\n")
    for words, said in (
        (["--import"], "--import needs a file"),
        (["--import", str(tmp_path / "none.py")], "there is no such Python file"),
        (["--import", str(tmp_path)], "there is no such Python file"),
        (["--import", str(tmp_path / "broken.py")], "broken.py, line 3: KeyError: 'gone'"),
        (["--import", str(tmp_path / "torn.py")], "SyntaxError"),
        (["--import", str(tmp_path / "leaves.py")], "SystemExit: 5"),
    ):
        with pytest.raises(UserError, match=said):
            import_files(words)

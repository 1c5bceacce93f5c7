"""One word for each option: what families and wrappers take, what is a flag and what a run folder keeps."""

import dataclasses
import inspect

import pytest

import morello
from morello.agents.config.config import Config
from morello.envs import FAMILIES, EnvOptions, EnvSettings, options_of
from morello.envs.errors import UserError
from morello.envs.options import NOTHING, PLAY
from morello.envs.preprocessing import PREPROCESSING, WRAPPED


def names(kind):
    return [f.name for f in dataclasses.fields(kind)]


@pytest.mark.parametrize("family", FAMILIES)
def test_families_take_options_by_their_one_word(family):
    assert {*options_of(f"{family}:x")} <= {*names(EnvOptions)}


def test_every_option_is_taken_by_a_family():
    taken = {name for family in FAMILIES for name in options_of(f"{family}:x")}
    assert taken == {*names(EnvOptions)}


def test_what_is_said_of_options_is_said_of_options():
    asked = {name for way in PREPROCESSING.values() for name in way}
    assert {*WRAPPED, *PLAY, *NOTHING, *asked} <= {*names(EnvSettings)}


def test_settings_of_a_run_are_options_of_the_same_name_and_type():
    settings = {f.name: (f.type, f.default) for f in dataclasses.fields(EnvSettings)}
    of_a_run = {f.name: (f.type, f.default) for f in dataclasses.fields(Config)}
    assert settings.items() <= of_a_run.items()
    assert set(names(Config)) & {*names(EnvOptions)} == {*settings, "threads"}


def test_help_begins_with_the_environment_and_every_option_is_explained():
    assert names(Config)[:4] == ["env", "steps", "seed", "num_envs"]
    for kind in (EnvSettings, EnvOptions):
        source = inspect.getsource(kind)
        for name in inspect.get_annotations(kind):
            assert '"""' in source.split(f"    {name}: ")[1].split("\n")[1], name


@pytest.mark.parametrize("old", ["sticky", "stack", "repeat", "workers", "timeout", "restart", "height", "width"])
def test_the_former_words_are_no_longer_taken(old):
    with pytest.raises(UserError, match=f"gym has no option '{old}'"):
        morello.make("gym:CartPole-v1", 1, **{old: 1})

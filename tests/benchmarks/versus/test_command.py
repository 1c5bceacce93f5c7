"""`morello bench versus`: turns, ratios, what is skipped, what is tried, and what is written."""

import json
from types import SimpleNamespace

import pytest

from morello.__main__ import main
from morello.agents.model import fitting_torso
from morello.benchmarks.versus import turns as module
from morello.benchmarks.versus.libraries import LIBRARIES, OURS
from morello.benchmarks.versus.ours import config_of
from morello.benchmarks.versus.peers.pool import BUTTONS
from morello.benchmarks.versus.summary import ratios
from morello.benchmarks.versus.venvs import SkippedError

SB3, SF = "stable-baselines3", "sample-factory"


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Library measurements that are answered by ``rates``, by title and settings, and their order."""
    order = []

    def measured(title, command, settings, variables, *, folder, warmup, tell):
        assert (folder / "_vizdoom").is_dir()
        tell("3 steps")
        order.append((title, settings, command, variables))
        answer = rates(title, settings)
        if isinstance(answer, str):
            raise SkippedError(answer)
        return answer

    def rates(title, settings):
        return fake.rates[title] if not callable(fake.rates[title]) else fake.rates[title](settings)

    class fake:
        pass

    fake.order, fake.rates = order, {OURS: 900.0, "Stable-Baselines3": 300.0, "Sample Factory": 600.0}
    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(module, "python_of", lambda folder, name, library: tmp_path / name)
    monkeypatch.setattr("morello.benchmarks.versus.command.versions_in", lambda python, library: {"torch": "9"})
    return fake


def bench(tmp_path, *words):
    assert main(["bench", "versus", "--out", str(tmp_path / "out"), *words]) == 0
    return json.loads((tmp_path / "out" / "versus-cpu.json").read_text())


def test_ratios_are_medians_over_repeats_not_of_medians():
    found = ratios({OURS: [10.0, 40.0, 90.0], SF: [10.0, 10.0, 45.0]})
    assert found == {SF: {"each": [1.0, 4.0, 2.0], "median": 2.0, "goal": 1.5}}


def test_libraries_take_turns(tmp_path, fake, capsys):
    found = bench(tmp_path, "--repeats", "3", "--seed", "5", "--venvs", str(tmp_path / "venvs"))
    assert found["command"] == "morello bench versus --repeats 3 --seed 5"
    titles = [OURS, "Stable-Baselines3", "Sample Factory"]
    assert [title for title, *_ in fake.order] == titles * 3
    assert [settings["seed"] for _, settings, *_ in fake.order] == [5, 5, 5, 6, 6, 6, 7, 7, 7]
    assert {settings["num_envs"] for _, settings, *_ in fake.order} == {16}
    assert {settings["seconds"] for _, settings, *_ in fake.order} == {10.0 + 3.0}  # with the warm-up
    assert [found["libraries"][name]["median"] for name in (OURS, SB3, SF)] == [900, 300, 600]
    assert (found["ratios"][SB3]["median"], found["ratios"][SF]["median"]) == (3.0, 1.5)
    assert found["notes"] == []
    assert found["libraries"][SF]["settings"] == next(iter(LIBRARIES[SF].candidates.values()))
    assert found["libraries"][SB3]["versions"] == {"torch": "9"}
    shown = capsys.readouterr().out
    assert "3.00x" in shown
    assert "1.50x" in shown
    assert "goal" not in shown


def test_the_others_wait_as_their_users_do(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("PYTHONPATH", ".typings")
    bench(tmp_path, "--repeats", "1")
    ours, sb3, _ = (variables for *_, variables in fake.order)
    assert ours["OMP_WAIT_POLICY"] == "PASSIVE"
    assert ours["PYTHONPATH"] == str(module.Path.cwd() / ".typings")
    settings = next(iter(LIBRARIES[SB3].candidates.values()))
    assert sb3.get("OMP_WAIT_POLICY") == settings["variables"].get("OMP_WAIT_POLICY")
    assert (module.Path(sb3["PYTHONPATH"]) / "peers" / "sb3_a2c.py").exists()


def test_how_our_threads_wait_is_not_passed_on(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    bench(tmp_path, "--repeats", "1", "--tune", "--libraries", SB3)
    waits = [variables.get("OMP_WAIT_POLICY") for title, _, _, variables in fake.order if title != OURS]
    theirs = [settings["variables"].get("OMP_WAIT_POLICY") for settings in LIBRARIES[SB3].candidates.values()]
    assert waits[: len(theirs)] == theirs
    assert None in theirs


def test_below_the_goal_is_said(tmp_path, fake, capsys):
    fake.rates["Sample Factory"] = 900.0
    bench(tmp_path, "--repeats", "1")
    assert "Below the goal of 1.5 times Sample Factory: 1.00." in capsys.readouterr().out


def test_what_fails_is_skipped_and_ours_is_not(tmp_path, fake, capsys):
    fake.rates["Sample Factory"] = "Sample Factory was not measured: no."
    found = bench(tmp_path, "--repeats", "2")
    assert set(found["libraries"]) == {OURS, SB3}
    assert set(found["ratios"]) == {SB3}
    assert found["notes"] == ["Sample Factory was not measured: no."]
    captured = capsys.readouterr()
    assert "Sample Factory was not measured: no." in captured.out
    fake.rates[OURS] = "morello was not measured: why."
    assert main(["bench", "versus", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "morello: morello was not measured: why.\n"


def test_what_cannot_be_installed_is_skipped(tmp_path, fake, monkeypatch):
    def none(folder, name, library):
        raise SkippedError(f"{library.title} was not measured: no pip.")

    monkeypatch.setattr(module, "python_of", none)
    found = bench(tmp_path, "--repeats", "1", "--libraries", SF)
    assert found["notes"] == ["Sample Factory was not measured: no pip."]
    assert set(found["libraries"]) == {OURS}


def test_tuning_uses_the_fastest_settings_that_work(tmp_path, fake):
    names = [*LIBRARIES[SF].candidates]

    def rate(settings):
        settings = {k: settings[k] for k in next(iter(LIBRARIES[SF].candidates.values()))}
        number = [*LIBRARIES[SF].candidates.values()].index(settings)
        return "no." if number == 1 else 500.0 + (number == 2)

    fake.rates["Sample Factory"] = rate
    found = bench(tmp_path, "--repeats", "1", "--tune")
    assert found["libraries"][SF]["candidate"] == names[2]
    assert found["tried"][SF] == dict.fromkeys(names, 500.0) | {names[1]: "no.", names[2]: 501.0}
    assert len(found["tried"][SB3]) == len(LIBRARIES[SB3].candidates)


def test_the_number_of_environments_is_a_multiple(capsys):
    assert main(["bench", "versus", "--num-envs", "6"]) == 2
    assert "--num-envs must be a multiple of 4, " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--num-envs", "3"], ["--repeats", "0"], ["--seconds", "0"], ["--libraries", "x"]])
def test_invalid_flags_are_refused(words, capsys):
    assert main(["bench", "versus", *words]) == 2


def test_settings_fit_the_environments():
    """The smallest number of environments can be shared out among workers and pools, and a batch is whole rollouts."""
    for settings in LIBRARIES[SF].candidates.values():
        flags = settings["flags"]
        assert 4 % (flags["num_workers"] * flags["num_envs_per_worker"]) == 0
        assert flags["num_envs_per_worker"] == flags["worker_num_splits"]
        assert flags["batch_size"] % flags["rollout"] == 0


def test_the_task_is_that_of_ours():
    from morello.envs.adapters.vizdoom import available, pressed, task

    config = config_of(16, 0)
    assert (config.env, config.num_envs, config.frame_size, config.unroll) == ("vizdoom:MyWayHome", 16, (84, 84), 20)
    ours = task("MyWayHome", frame_size=(84, 84), frame_stack=1, action_repeat=4)
    assert config.torso == fitting_torso(SimpleNamespace(observation={"image": ((84, 84, 3), None)}))
    assert BUTTONS.tolist() == ours.buttons.tolist()
    assert BUTTONS.shape == (len(pressed("MyWayHome")), len(available("MyWayHome")))

"""The command line: what it prints, what it refuses, and with which exit code."""

import pytest

from morello.__main__ import main

from .support.opengl import opengl

TINY = [
    "--env",
    "labyrinth:seekavoid_arena_01",
    "--steps",
    "40",
    "--num-envs",
    "4",
    "--unroll",
    "5",
    "--frame-size",
    "36",
    "36",
    "--torso",
    "shallow",
    "--threads",
    "1",
    "--log-every",
    "20",
]


def refused(capsys, *words):
    """The one sentence on standard error."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("morello: ")
    assert err.count("\n") == 1
    return err


def test_usage_and_version(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "morello train" in capsys.readouterr().out
    assert main(["--version"]) == 0


CART = ["--env", "gym:CartPole-v1", "--steps", "240", "--num-envs", "4", "--unroll", "5", "--threads", "1"]


def test_train_resume_eval_watch_through_gymnasium(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "a2c", *CART, "--run", str(folder)]) == 0
    assert main(["train", "--run", str(folder), "--resume", "--steps", "400", "--quiet"]) == 0
    assert "cannot save its state" in capsys.readouterr().err
    assert main(["eval", str(folder), "--episodes", "4"]) == 0
    assert "random" in capsys.readouterr().out
    assert main(["watch", str(folder), "--seconds", "1"]) == 0
    assert list((folder / "videos").glob("*.mp4"))


def test_broken_environment_ends_a_run_with_a_sentence_or_is_made_anew(tmp_path, capsys):
    from .support import gymnasium_worlds  # noqa: F401 (registers)

    words = ["train", "a2c", *CART, "--env", "gym:Faulty-v0", "--run"]
    assert main([*words, str(tmp_path / "ends")]) == 1
    err = capsys.readouterr().err
    assert "environment 1 (seed 1) failed at step 2" in err
    assert "Traceback" not in err
    assert "--restart-envs" in err
    with pytest.warns(RuntimeWarning, match="recreated, 1 so far"):
        assert main([*words, str(tmp_path / "goes-on"), "--restart-envs"]) == 0
    assert "step 240" in capsys.readouterr().out.replace(",", "")


FAMILIES = [
    ("vizdoom:MyWayHome", ["--preprocessing", "icm", "--noisy-tv", "region", "--time-limit", "30"]),
    ("vizdoom:Basic", ["--frame-size", "36", "40"]),
    ("atari:MontezumaRevenge", ["--sticky-actions", "0.25", "--life-loss", "--time-limit", "30"]),
    ("minigrid:KeyCorridorS3R3", []),
    ("minigrid:MultiRoomNoisyTV-N7-S4", ["--time-limit", "9"]),
    ("miniworld:OneRoom", ["--env-workers", "0"]),
    (
        "labyrinth:my_way_home_dense",
        ["--grey", "True", "--frame-stack", "2", "--noisy-tv", "remote", "--time-limit", "30"],
    ),
]


@pytest.mark.parametrize(("env", "options"), FAMILIES)
def test_train_resume_eval_watch_in_every_family(env, options, tmp_path, capsys):
    if env.startswith("miniworld"):
        opengl()
    folder = str(tmp_path / "run")
    words = ["--env", env, "--num-envs", "3", "--unroll", "4", "--threads", "1", "--run", folder, *options]
    assert main(["train", "a2c", *words, "--steps", "24"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--run", folder, "--steps", "36"]) == 0
    assert ("cannot save its state" in capsys.readouterr().err) == (not env.startswith("labyrinth"))
    assert main(["eval", folder, "--episodes", "2"]) == 0
    assert "random" in capsys.readouterr().out
    assert main(["watch", folder, "--seconds", "0.5"]) == 0
    assert list((tmp_path / "run" / "videos").glob("*.mp4"))


def test_train_eval_watch(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "a2c", *TINY, "--run", str(folder)]) == 0
    assert f"morello eval {folder}" in capsys.readouterr().out
    assert main(["eval", str(folder), "--episodes", "4"]) == 0
    assert "random" in capsys.readouterr().out
    assert main(["watch", str(folder), "--seconds", "1"]) == 0
    assert list((folder / "videos").glob("*.mp4"))


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "a2c", "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for flag in (
        "--env",
        "--steps",
        "--seed",
        "--num-envs",
        "--unroll",
        "--device",
        "--run",
        "--resume",
        "--gamma",
        "--timeout-terminates",
        "--eval-every",
        "--checkpoint-every",
        "--keep",
    ):
        assert flag in shown


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "train"),
        (["train", "a2cc", "--env", "x"], "a2c"),
        (["train", "a2c"], "--env"),
        (["train", "a2c", "--env", "labyrinth:seekavoid"], "seekavoid_arena_01"),
        (["train", "a2c", "--env", "labirinth:seekavoid_arena_01"], "labyrinth"),
        (["train", "a2c", *TINY, "--gama", "0.9"], "--gamma"),
        (["train", "a2c", *TINY, "--memory", "lstn"], "lstm"),
        (["train", "a2c", *TINY, "--seed", "many"], "--seed"),
        (["train", "a2c", *TINY, "--device", "tpu"], "cpu"),
        (["train", *TINY, "--resume"], "--run"),
        (["eval", "/nowhere"], "/nowhere"),
        (["watch", "/nowhere"], "/nowhere"),
        (["list"], "envs"),
        (["list", "env"], "envs"),
        (["list", "envs", "junk"], "junk"),
        (["train", *TINY, "--run", ""], "--run is empty"),
        (["train", "nonsense", "--resume", "--run", "."], "Unknown preset 'nonsense'"),
        (["bench", "throughputt"], "throughput"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(words, hint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hint in refused(capsys, *words)


def test_list(capsys):
    for what, expected in (
        ("envs", "morello list envs vizdoom"),
        ("envs labyrinth", "labyrinth:seekavoid_arena_01"),
        ("presets", "Mnih"),
        ("losses", "Jaderberg"),
        ("intrinsic", "random network"),
        ("runners", "newest weights"),
    ):
        assert main(["list", *what.split()]) == 0
        assert expected in capsys.readouterr().out


def test_a_run_folder_in_use_is_refused(tmp_path, capsys):
    from morello.agents.storage.run_folder import Run

    main(["train", *TINY, "--run", str(tmp_path / "run"), "--quiet"])
    capsys.readouterr()
    with Run.open(tmp_path / "run"):
        assert "in use" in refused(capsys, "train", *TINY, "--run", str(tmp_path / "run"), "--resume")


def test_a_broken_checkpoint_is_refused_by_name(tmp_path, capsys):
    folder = tmp_path / "run"
    main(["train", *TINY, "--run", str(folder), "--quiet"])
    capsys.readouterr()
    for file in (folder / "checkpoints").glob("step_*/tensors.safetensors"):
        file.write_bytes(file.read_bytes()[:-7])
    assert main(["eval", str(folder)]) == 2
    assert "checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert main(["train", *TINY, "--run", str(folder), "--resume"]) == 2


@pytest.mark.parametrize("words", [["list"], ["bench"], ["list", "envs"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_where_there_are_no_flags(words, flag, capsys):
    assert main([*words, flag]) == 0
    assert capsys.readouterr().out.startswith(f"usage: morello {words[0]} ")


COUNTING = [
    "--env",
    "counting:steps",
    "--steps",
    "30",
    "--num-envs",
    "3",
    "--unroll",
    "5",
    "--frame-size",
    "36",
    "37",
    "--torso",
    "shallow",
    "--threads",
    "1",
    "--quiet",
]


def steps_of(folder):
    return sorted(int(p.name.removeprefix("step_")) for p in (folder / "checkpoints").glob("step_*"))[-1]


def test_a_run_goes_on_with_its_own_settings_however_it_is_named(tmp_path, capsys):
    folder, other = tmp_path / "run", str(tmp_path / "other")
    assert main(["train", "a2c-lstm", *COUNTING, "--run", str(folder)]) == 0
    assert main(["train", "--resume", f"--run={folder}", "--steps", "60"]) == 0
    assert main(["train", "a2c-lstm", "--run", other, "--resume", "--run", str(folder), "--steps", "90"]) == 0
    assert steps_of(folder) == 90
    assert "begun with preset a2c-lstm, not a2c:" in refused(capsys, "train", "a2c", "--resume", f"--run={folder}")
    assert "'nonsense'" in refused(capsys, "train", "nonsense", "--resume", "--run", str(folder))
    assert steps_of(folder) == 90
    assert not (tmp_path / "other").exists()


def test_a_run_that_is_not_there_cannot_go_on(tmp_path, capsys):
    assert main(["train", "--run", str(tmp_path / "x"), "--resume"]) == 2
    said = f"morello: {tmp_path}/x holds no run to resume: name another --run, or begin one with --env.\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "x").exists()

"""`morello bench curves`: what is kept of finished runs."""

import json

import pytest

from morello.__main__ import main
from morello.agents.config.config import Config
from morello.agents.training.train import train

SMALL = Config(
    env="labyrinth:seekavoid_arena_01",
    steps=1400,
    num_envs=4,
    unroll=5,
    frame_size=(36, 36),
    torso="shallow",
    log_every=700,
    threads=1,
    quiet=True,
)


def test_runs_of_several_seeds_become_one_record(tmp_path, capsys):
    for seed in (3, 1):
        train(SMALL, seed=seed, run=str(tmp_path / f"s{seed}"), preset="a2c")
    assert main(["bench", "curves", str(tmp_path / "s3"), str(tmp_path / "s1"), "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "learning-labyrinth-seekavoid_arena_01-a2c.json").read_text())
    assert [s["seed"] for s in record["seeds"]] == [1, 3]
    assert record["seeds"][0]["curve"]["step"] == [1400]  # no episode had ended by step 700
    shares = {k: v[0] for k, v in record["seeds"][0]["curve"].items() if k.endswith("gradient_share")}
    assert shares.keys() == {f"{k}/gradient_share" for k in ("policy", "value", "entropy")}
    assert 0.99 < sum(shares.values()) < 1.01
    assert record["settings"]["learner"]["gamma"] == 0.99
    assert record["references"]["oracle"]["mean"] > record["references"]["random"]["mean"]
    assert (tmp_path / "learning-labyrinth-seekavoid_arena_01-a2c.png").stat().st_size > 5000
    assert [s["evaluation"] for s in record["seeds"]] == [{}, {}]


def test_what_eval_found_of_the_finished_agent_is_kept(tmp_path, capsys):
    run = tmp_path / "run"
    train(SMALL, run=str(run), preset="a2c")
    assert main(["eval", str(run), "--episodes", "3"]) == 0
    capsys.readouterr()
    found = json.loads((run / "evaluation.json").read_text())
    path = tmp_path / "learning-labyrinth-seekavoid_arena_01-a2c.json"
    assert main(["bench", "curves", str(run), "--out", str(tmp_path)]) == 0
    kept = json.loads(path.read_text())["seeds"][0]["evaluation"]
    assert kept["agent"] == {k: found["agent"][k] for k in kept["agent"]}
    assert found["agent"].keys() - kept["agent"].keys() == {"returns", "lengths", "task"}
    assert f"{found['agent']['mean']:.2f} [" in capsys.readouterr().out
    for changed in ({"step": 700}, {"env": "labyrinth:my_way_home_dense"}):  # of another agent, or played elsewhere
        (run / "evaluation.json").write_text(json.dumps(found | changed))
        assert main(["bench", "curves", str(run), "--out", str(tmp_path)]) == 0
        assert json.loads(path.read_text())["seeds"][0]["evaluation"] == {}


def test_records_before_every_environment_ended_an_episode_are_left_out(tmp_path, capsys):
    train(SMALL, run=str(tmp_path / "a"), preset="a2c", steps=1800, log_every=600)
    provenance = tmp_path / "a" / "provenance.json"
    starts = json.loads(provenance.read_text())
    starts["starts"][0]["git"]["morello"] = None  # installed from a wheel
    provenance.write_text(json.dumps(starts))
    assert main(["bench", "curves", str(tmp_path / "a"), "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "learning-labyrinth-seekavoid_arena_01-a2c.json").read_text())
    curve = record["seeds"][0]["curve"]
    assert curve["step"] == [1200, 1800]
    assert curve["episodes"] == [4, 0]
    assert curve["window_episodes"] == [4, 4]
    assert curve["episode_return"][0] == curve["episode_return"][1]
    assert "success" not in curve
    assert record["seeds"][0]["commit"] is None
    assert "last episode return" in capsys.readouterr().out


def test_records_are_drawn_side_by_side(tmp_path, capsys):
    files = {}
    for env, preset, folder in (("a:b", "x", "."), ("a:b", "x", "more"), ("a:b", "y", "."), ("a:c", "x", ".")):
        runs = [{"curve": {"step": [1, 3 + n], "episode_return": [0.0, 1.0 + n]}} for n in range(2)]
        (tmp_path / folder).mkdir(exist_ok=True)
        files[env, preset, folder] = file = tmp_path / folder / f"{env[-1]}{preset}.json"
        file.write_text(json.dumps({"env": env, "preset": preset, "seeds": runs}))
    one, two, three, other = map(str, files.values())
    assert main(["bench", "curves", one, two, three, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f": x, {tmp_path.name}; x, more; y\n")
    assert (tmp_path / "learning-a-b.png").stat().st_size > 5000
    (tmp_path / "none.json").write_text("{}")
    for wrong, said in ((other, "of a:b and a:c: name those of one"), (str(tmp_path / "none.json"), "is not a record")):
        assert main(["bench", "curves", one, wrong, "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


def test_another_measure_is_drawn_and_kept(tmp_path, capsys):
    train(SMALL, run=str(tmp_path / "a"), preset="a2c", env="labyrinth:rooms_chain_2")
    name, measure = "learning-labyrinth-rooms_chain_2", "explore/cells_per_episode"
    words = ["bench", "curves", "--measure", measure, "--out", str(tmp_path)]
    assert main([*words, str(tmp_path / "a")]) == 0
    record = json.loads((tmp_path / f"{name}-a2c.json").read_text())
    cells = record["seeds"][0]["curve"][measure]
    assert f"last cells per episode {cells[-1]:.2f}" in capsys.readouterr().out
    assert (tmp_path / f"{name}-a2c-explore-cells_per_episode.png").stat().st_size > 5000
    assert main([*words, str(tmp_path / f"{name}-a2c.json")]) == 0
    assert (tmp_path / f"{name}-explore-cells_per_episode.png").stat().st_size > 5000
    words[3] = "explore/doors"
    for given in ("a", f"{name}-a2c.json"):
        assert main([*words, str(tmp_path / given)]) == 2
        assert "no numbers named 'explore/doors': give --measure one of" in capsys.readouterr().err


def test_curves_of_each_task_are_kept(tmp_path, capsys):
    env = "labyrinth:recall_left+recall_right"
    train(SMALL, env=env, run=str(tmp_path / "a"), preset="a2c", steps=1800)
    assert main(["bench", "curves", str(tmp_path / "a"), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")
    curve = json.loads(path.read_text())["seeds"][0]["curve"]
    names = {name.partition("/")[0] for name in curve if name.endswith("/recall_left")}
    assert names >= {"episodes", "window_episodes", "episode_return", "success", "episode_length"}
    assert names == {name.partition("/")[0] for name in curve if name.endswith("/recall_right")}
    parts = [curve[f"episode_return/recall_{side}"][-1] for side in ("left", "right")]
    assert sum(parts) / 2 == pytest.approx(curve["episode_return"][-1], abs=1e-4)  # two environments each
    assert not any(name.endswith("cosine") for name in curve)


def test_runs_of_different_settings_are_refused(tmp_path, capsys):
    train(SMALL, run=str(tmp_path / "a"), preset="a2c")
    train(SMALL, run=str(tmp_path / "b"), preset="a2c", gamma=0.5)
    assert main(["bench", "curves", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "not seeds of one experiment" in capsys.readouterr().err
    train(SMALL, run=str(tmp_path / "c"), preset="a2c", steps=40)
    assert main(["bench", "curves", str(tmp_path / "c")]) == 2
    assert "No episode ended" in capsys.readouterr().err


def test_what_is_no_record_is_refused_in_plain_words(tmp_path, capsys):
    (tmp_path / "folder.json").mkdir()
    assert main(["bench", "curves", str(tmp_path / "folder.json"), "--out", str(tmp_path)]) == 2
    said = f"morello: {tmp_path}/folder.json is not a record of morello bench curves: it is no regular file.\n"
    assert capsys.readouterr().err == said

"""Adapters are measured beside what they adapt."""

import json

import pytest

from morello.envs.errors import UserError


def test_adapters_are_measured_beside_what_they_adapt(tmp_path, monkeypatch, capsys):
    from morello.benchmarks.throughput import adapters

    monkeypatch.setattr(adapters, "POOLS", {"minigrid:Empty-5x5": 3})
    monkeypatch.setattr(adapters, "WORLDS", ("miniworld:Nowhere",))
    assert adapters.main(["--repeats", "2", "--seconds", "0.02", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "adapters-cpu.json").read_text())
    assert set(found["parts"]) == {"minigrid:Empty-5x5, EnvPool alone", "minigrid:Empty-5x5"}
    median = {name: part["median"] for name, part in found["parts"].items()}
    ratio = median["minigrid:Empty-5x5"] / median["minigrid:Empty-5x5, EnvPool alone"]
    assert found["ratios"] == {"minigrid:Empty-5x5 / EnvPool alone": ratio}
    assert "not measured" in found["notes"][0]
    assert "EnvPool alone" in capsys.readouterr().out
    assert adapters.ratios({"miniworld:Nowhere, two workers": 6.0, "miniworld:Nowhere, one process": 4.0}) == {
        "miniworld:Nowhere, two workers / one process": 1.5
    }
    with pytest.raises(UserError, match="--threads"):
        adapters.main(["--threads", "0"])

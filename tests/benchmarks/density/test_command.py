"""Density models fitted to sources of known entropy: how near they come, and no nearer than they see."""

import json
import math
import re
from dataclasses import replace
from functools import partial

import pytest
import torch

from morello.__main__ import main
from morello.backbones.autoregressive import NETWORKS, Autoregressive, permuted, raster, time
from morello.backbones.autoregressive.heads import Bernoulli, Categorical
from morello.backbones.sources import MESH, LagCopy, MarkovMesh, MarkovText, ShiftCopy
from morello.benchmarks.density import command
from morello.benchmarks.density.cases import CASES, Case, stream
from morello.benchmarks.density.command import COLUMNS, cells, fit, run, score

pytestmark = pytest.mark.slow


def fitted(source, head, ordering, network, steps, seed=5, learning_rate=3e-3, **options):
    """The model, and its record on 1024 fresh items."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Autoregressive(ordering, head, partial(NETWORKS[network], **options))
    data = stream(source)
    fit(model, data, steps, learning_rate, generator, lambda share: None)
    return model, score(model, data, data.sample(1024, generator))


def no_leak(record):
    assert record["gap"] > -4 * record["gap_error"]


def test_a_mesh_is_learnt_to_its_entropy_and_drawn_with_its_statistics():
    source, options = MarkovMesh(height=7, width=9, table=MESH), {"size": 16, "layers": 2, "learning_rate": 1e-2}
    model, record = fitted(source, Bernoulli(), raster(7, 9, 1), "pixel-cnn", 500, **options)
    no_leak(record)
    assert record["gap"] < 0.018 + 3 * record["gap_error"]
    generator = torch.Generator().manual_seed(9)
    ours, theirs = model.sample(3000, generator=generator), source.sample(3000, generator)
    for statistic in (lambda x: x, lambda x: x[:, 1:] * x[:, :-1], lambda x: x[:, :, 1:] * x[:, :, :-1]):
        a, b = (statistic(x).double().flatten(1).mean(1) for x in (ours, theirs))
        error = math.sqrt(float(a.var() + b.var()) / 3000)
        assert abs(float(a.mean() - b.mean())) < 4 * error + 0.01


@pytest.mark.parametrize(
    ("network", "options", "steps", "most"),
    [
        ("gated-pixel-cnn", {"size": 16, "layers": 2}, 500, 0.005),
        ("pixel-cnn", {"size": 16, "layers": 2, "learning_rate": 1e-2}, 500, 0.018),
        ("transformer", {"size": 32}, 600, 0.072),
    ],
)
def test_other_laws_of_a_mesh_are_learnt_as_well(network, options, steps, most):
    source = MarkovMesh(concentration=1.0, seed=11)
    _, record = fitted(source, Bernoulli(), raster(8, 8, 1), network, steps, **options)
    no_leak(record)
    assert record["gap"] < most + 3 * record["gap_error"]


def test_the_order_of_telling_is_free_and_costs_what_it_costs():
    """The entropy is the same in every order; in columns this mesh is as easy as in rows."""
    columns = permuted(raster(6, 6, 1), torch.arange(36).view(6, 6).T.flatten())
    source = MarkovMesh(height=6, width=6, table=MESH)
    _, record = fitted(source, Bernoulli(), columns, "transformer", 600, size=32)
    no_leak(record)
    assert record["gap"] < 0.072


def test_what_lies_in_the_blind_spot_stays_unknown():
    source = ShiftCopy(height=7, width=8, offset=2)
    _, blind = fitted(source, Bernoulli(), raster(7, 8, 1), "pixel-cnn", 300, size=16, first=3, layers=6)
    assert blind["nats"] > source.bounds["blind"] - 4 * blind["nats_error"]
    _, seeing = fitted(source, Bernoulli(), raster(7, 8, 1), "gated-pixel-cnn", 800, size=16, first=3, layers=3)
    no_leak(seeing)
    assert seeing["gap"] < 0.064


def test_a_receptive_field_must_reach_the_copy():
    source = LagCopy(symbols=8, lag=6, length=40)
    network = {"size": 48, "learning_rate": 5e-3}
    records = []
    for dilations in ((1, 2), (1, 2, 4)):  # 4 and 8 back
        options = {"model": partial(dilated(), dilations=dilations)}
        records.append(fitted(source, Categorical(8), time(40), "conv", 400, **network, **options)[1])
    blind, seeing = records
    assert blind["nats"] > 40 * math.log(8) - 4 * blind["nats_error"]
    no_leak(seeing)
    assert seeing["gap"] < 0.1 * (40 * math.log(8) - source.entropy()[0])


def dilated():
    from morello.backbones.dilated import Dilated

    return Dilated


@pytest.mark.parametrize(("network", "steps"), [("conv", 400), ("gru", 300)])
def test_text_is_learnt_down_to_its_last_rung(network, steps):
    source = MarkovText(symbols=5, order=2, length=30, seed=3)
    _, record = fitted(source, Categorical(5), time(30), network, steps, size=48, learning_rate=1e-2)
    no_leak(record)
    assert record["nats"] < 0.5 * (source.bounds["bigram"] + source.entropy()[0])


def test_the_benchmark_writes_what_it_found(tmp_path, capsys):
    words = ["class/conditional", "digits", "--effort", "0.01", "--seeds", "3", "4", "--out", str(tmp_path)]
    assert main(["bench", "density", *words]) == 0
    found = json.loads((tmp_path / "density-part-cpu.json").read_text())["cases"]
    assert list(found) == ["class/conditional", "digits/logistic"]
    conditional = found["class/conditional"]
    assert [r["seed"] for r in conditional] == [3, 4]
    assert conditional[0]["nats"] != conditional[1]["nats"]
    for record in conditional:
        assert record["gap"] > 0
        assert record["exact"] == pytest.approx(3.2, abs=0.3)  # 16 h(0.05) = 3.18
    assert "gap" not in found["digits/logistic"][0]
    assert (tmp_path / "density-part-cpu.png").stat().st_size > 5000
    assert "class/conditional" in capsys.readouterr().out


def test_mistakes_get_one_sentence(tmp_path, capsys):
    mistakes = {"mesh/gatd": "mesh/gated", "--effort 0": "--effort", "--seeds -1": "--seeds", "--seeds 2 2": "--seeds"}
    for words, said in mistakes.items():
        assert main(["bench", "density", *words.split(), "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


def test_every_case_can_be_built():
    for name, case in CASES.items():
        model, data = case.model(), case.data(1)
        x, given = data.sample(2, torch.Generator().manual_seed(0))
        assert model.log_prob(x, given).isfinite().all(), name
        assert case.bound is None or case.bound in data.bounds


def test_a_network_sees_as_far_as_its_case_says():
    for name, case in CASES.items():
        if said := re.search(r"(\d+) symbols back", case.about):
            assert case.model().network.model.reach == int(said[1]), name


@pytest.mark.parametrize("known", [True, False])
def test_drift_is_shown_where_the_source_is_known(known):
    case = CASES["mesh/pixel-cnn"]
    data = case.data(0) if known else replace(case.data(0), log_prob=None)
    record, _ = run(replace(case, data=lambda _: data), 0, 0.001, lambda _: None)
    shown = dict(zip(COLUMNS, cells([record]), strict=True))["drift"]
    assert shown == (f"{record['drift']:.2f}" if known else "-")
    assert ("drift_by_itself" in record) != known


def test_drawing_from_the_source_is_not_counted_as_the_models(monkeypatch):
    """By a clock that strikes once a look, and a hundred times whenever the source is drawn from."""
    now = 0

    def clock():
        nonlocal now
        now += 1
        return now

    def sample(count, generator):
        nonlocal now
        now += 100
        return data.sample(count, generator)

    monkeypatch.setattr(command.time, "perf_counter", clock)
    case: Case = CASES["mesh/pixel-cnn"]
    data = case.data(0)
    record, _ = run(replace(case, data=lambda _: replace(data, sample=sample)), 0, 0.001, lambda _: None)
    assert record["samples_per_second"] == command.DRAWN

"""Throughput is the reciprocal of latency; percentiles are those of the clock's samples, down to the report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recipelang.kinds import Measurement, Percentiles
from recipelang.measuring import clock
from recipelang.measuring.clock import compare_latency
from recipelang.methods.metrics.latency import Latency
from recipelang.methods.metrics.throughput import Throughput
from recipelang.report.context import build
from recipelang.report.fronts import fronts
from recipelang.report.looks import looks
from recipelang.report.render import write
from recipelang.run.cells import SeedReading, numbers
from recipelang.run.measurer import Measurer
from recipelang.run.store import Store

SPREAD = Percentiles(0.010, 0.012, 0.020, 50)
TIMED = Measurement(0.016, 0.015, 0.017, 50, "bootstrap of 50 pairs", 0.8, 0.75, 0.85, percentiles=SPREAD)


@pytest.mark.parametrize("how", ["measure", "glance"])
def test_throughput_is_what_latency_says_at_the_same_batch(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []
    monkeypatch.setattr(clock, "compare_latency", lambda a, b, example, **_: asked.append(example.shape) or TIMED)
    network = SimpleNamespace(note="")
    found = getattr(Throughput(batch=8), how)(network, network, (3, 4, 4))
    assert asked == [(8, 3, 4, 4)]
    assert (found.value, found.low, found.high) == (8 / 0.016, 8 / 0.017, 8 / 0.015)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (1 / 0.8, 1 / 0.85, 1 / 0.75)
    assert found.percentiles is None and found.n == 50
    assert getattr(Latency(batch=8), how)(network, network, (3, 4, 4)) == TIMED
    assert Throughput().batch == 64 and Latency().deployment != Throughput().deployment


class Machine:
    """A stopwatch: the candidate takes 1, 2, 3, … ms, over and over."""

    def __init__(self, candidate: nn.Module) -> None:
        self.candidate, self.time, self.turn = candidate, 0.0, 0

    def now(self) -> float:
        return self.time

    def sample(self, module: nn.Module, calls: int) -> float:
        self.turn += module is self.candidate
        seconds = (1 + self.turn % 100) * 1e-3 if module is self.candidate else 0.05
        self.time += calls * seconds
        return seconds


def test_percentiles_are_those_of_the_samples() -> None:
    healthy, candidate = nn.Identity(), nn.Identity()
    machine: Any = Machine(candidate)
    found = compare_latency(candidate, healthy, torch.zeros(1, 1), stopwatch=machine, min_pairs=100, budget_s=0.0)
    expected = np.percentile(np.arange(1, 101) * 1e-3, (50, 90, 99))
    assert found.percentiles is not None and found.n == found.percentiles.n == 100
    shown = found.percentiles.p50, found.percentiles.p90, found.percentiles.p99
    assert shown == pytest.approx(tuple(expected)) and found.percentiles.calls == 1
    assert found.percentiles.p50 == pytest.approx(found.value)


def test_a_short_call_is_timed_several_times_in_a_row() -> None:
    network = nn.Identity()
    machine: Any = SimpleNamespace(now=lambda: 0.0, sample=lambda module, calls: 2e-4)
    found = compare_latency(network, network, torch.zeros(1, 1), stopwatch=machine)
    assert found.percentiles == Percentiles(*(pytest.approx(2e-4),) * 3, n=50, calls=5)  # type: ignore[arg-type]


def test_percentiles_are_stored_and_entries_without_them_are_read(tmp_path: Path) -> None:
    measurer = Measurer(Store(tmp_path / "store"), SimpleNamespace(fresh=False), SimpleNamespace())  # type: ignore[arg-type]
    for key, kept in (("a" * 64, TIMED), ("b" * 64, Measurement(1.0, 1.0, 1.0))):
        with measurer.store.hold(key):
            measurer._keep(key, {"verb": "measure"}, kept)
        assert measurer.known(key) == kept


def test_cells_over_seeds_have_mean_percentiles_of_all_samples() -> None:
    metric = SimpleNamespace(unit="s", role="cost")
    other = Measurement(0.02, 0.02, 0.02, percentiles=Percentiles(0.020, 0.022, 0.040, 70, calls=3))
    cell = numbers(metric, [SeedReading(TIMED), SeedReading(other)])
    assert cell["percentiles"] == pytest.approx({"p50": 0.015, "p90": 0.017, "p99": 0.03, "n": 120, "calls": 3})
    assert "percentiles" not in numbers(metric, [SeedReading(TIMED), SeedReading(Measurement(1.0, 1.0, 1.0))])


FIXTURE = Path(__file__).parents[1] / "report" / "fixtures" / "main.json"


def test_the_report_has_a_table_of_percentiles_in_every_form(tmp_path: Path) -> None:
    record = json.loads(FIXTURE.read_text("utf-8"))
    plain = build(record)
    assert plain.percentiles == (), "records of the version before have none"
    name = next(m["name"] for m in record["metrics"] if m["name"].startswith("latency"))
    for place, variant in enumerate(record["variants"]):
        cell = variant["metrics"][name]
        cell["percentiles"] = {"p50": 0.0123, "p90": 0.0145, "p99": 0.0301, "n": 60, "calls": 1 + place}
    context = build(record)
    (table,) = context.percentiles
    assert [row[1:] for row in table.rows] == [("12.3 ms", "14.5 ms", "30.1 ms", 60)] * len(record["variants"])
    write(context, ("markdown", "html", "csv"), tmp_path)
    said = (tmp_path / "report.md").read_text("utf-8")
    assert "## Percentiles" in said and f"### {name}" in said.replace("\\", "")
    assert "| 12.3 ms | 14.5 ms | 30.1 ms | 60 |" in said
    assert f"Each sample is the mean of 1 to {len(record['variants'])} calls in a row" in said
    html = (tmp_path / "report.html").read_text("utf-8")
    assert '<h2 id="percentiles">' in html and "<td>30.1 ms</td><td>60</td>" in html
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text("utf-8"))))
    timed = [row for row in rows if row["metric"] == name]
    assert timed and all((row["p50"], row["p90"], row["p99"]) == ("0.0123", "0.0145", "0.0301") for row in timed)
    assert all(row["p50"] == "" for row in rows if row["metric"] != name)


def test_a_cost_of_which_more_is_better_is_better_to_the_right() -> None:
    record = json.loads(FIXTURE.with_name("study.json").read_text("utf-8"))
    captions = []
    for better in ("lower", "higher"):
        for metric in record["metrics"]:
            metric["better"] = better if metric["role"] == "cost" else metric["better"]
        context = build(record)
        chart = fronts(context, looks(context.rows, [source.name for source in context.sources]))[0]
        captions.append(chart.caption)
    assert [caption.split(".")[0] for caption in captions] == ["Left and up is better", "Right and up is better"]

"""Recipes with memory, throughput and energy as budgets, guards, expectations and columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.kinds import Measurement
from recipelang.measuring import energy
from recipelang.methods.metrics.energy import Energy
from recipelang.methods.metrics.throughput import Throughput
from recipelang.surgery.deployed import deployed

HEAD = "model digits_resnet\ndata digits(batch=32)\n"


def parameters(network: Any) -> int:
    """Of what a runtime has prepared."""
    return sum(p.numel() for p in deployed(network).parameters())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Throughput grows as parameters fall, and energy falls with them: what a clock says of a network is known."""

    def told(mine: Any, healthy: Any, better: bool) -> Measurement:
        small = parameters(mine.network) / parameters(healthy.network)
        ratio = 1 / small if better else small
        return Measurement(100 * ratio, 100 * ratio, 100 * ratio, 50, "", ratio, ratio, ratio)

    def rate(self: Any, mine: Any, healthy: Any, input_shape: Any, progress: Any = None) -> Measurement:
        return told(mine, healthy, True)

    def joules(self: Any, mine: Any, healthy: Any, input_shape: Any, progress: Any = None) -> Measurement:
        return told(mine, healthy, False)

    monkeypatch.setattr(Throughput, "measure", rate)
    monkeypatch.setattr(Throughput, "glance", rate)
    monkeypatch.setattr(Energy, "measure", joules)
    monkeypatch.setattr(Energy, "require", lambda self: None)


def test_memory_is_a_budget_and_a_column_that_a_plan_foresees(lab: Any, find_row: Any) -> None:
    text = (
        f"{HEAD}prune filters by magnitude until memory < 0.75\nmeasure memory, memory(batch=4)\nexpect memory < 0.75\n"
    )
    told = find_row(lab.plan(text), "prune").details
    assert any(line.startswith("memory can reach 0.0") and "(now 1.000×)" in line for line in told)
    done = lab.run(text)
    assert done.code == 0 and done.verdicts == [("main", True)]
    cell = done.variant()["metrics"]["memory"]
    assert 0.5 < cell["ratio"] < 0.75 and cell["unit"] == "B"
    assert done.metric("memory(batch=4)") > done.metric("memory")
    far = lab.plan(f"{HEAD}prune filters by magnitude until memory < 1KB\n")
    assert [problem.code for problem in far.problems] == ["RCP0904"]


def test_throughput_is_a_budget_from_below(lab: Any, clock: None, find_row: Any) -> None:
    text = f"{HEAD}prune layers by random until throughput > 1.5 while throughput < 5\nmeasure throughput, params\n"
    assert any("throughput can reach" in line and "×" in line for line in find_row(lab.plan(text), "prune").details), (
        "briefly measured, or an estimate"
    )
    done = lab.run(text + "expect throughput > 1.5 and throughput < 5\n")
    assert done.code == 0 and done.verdicts == [("main", True)]
    step = done.steps(verb="prune")[0]
    assert step["asked"][0]["operator"] == ">" and step["reached"][1]["what"] == "throughput"
    assert step["reached"][1]["value"] > 1.5
    fewer = lab.run(f"{HEAD}prune {done.removed() - 1} layers by random\nmeasure throughput\n")
    assert fewer.variant()["metrics"]["throughput"]["ratio"] <= 1.5, "the smallest number of layers that meets it"
    assert done.variant()["metrics"]["throughput"]["unit"] == "images/s"


def test_a_throughput_out_of_reach_is_refused_by_the_plan_and_by_its_unit(lab: Any, clock: None) -> None:
    far = lab.plan(f"{HEAD}prune layers by random until throughput > 500x\n")
    assert [problem.code for problem in far.problems] == ["RCP0904"]
    assert not lab.plan(f"{HEAD}prune layers by random until throughput > 200/s\n").problems


def test_the_variant_of_the_highest_throughput_is_chosen(lab: Any, clock: None) -> None:
    done = lab.run(
        f"{HEAD}variant a {{ prune 1 layers by random }}\nvariant b {{ prune 3 layers by random }}\n"
        "choose by throughput\nmeasure throughput, params\n"
    )
    assert done.code == 0 and [v["name"] for v in done.result.report["variants"] if v["chosen"]] == ["b"]


def test_energy_is_a_budget_where_the_machine_tells_it(lab: Any, clock: None) -> None:
    done = lab.run(f"{HEAD}prune layers by random until energy < 0.8\nmeasure energy\nexpect energy < 80%\n")
    assert done.code == 0 and done.verdicts == [("main", True)]
    assert done.variant()["metrics"]["energy"]["unit"] == "J"


@pytest.mark.parametrize(
    "text",
    [
        "train for 3 epochs\nprune layers by random until energy < 0.8\n",
        "train for 3 epochs\nprune 1 layers by random\nmeasure top1, energy\n",
        "train for 3 epochs\nprune 1 layers by random\nexpect energy < 2mJ\n",
    ],
)
def test_a_machine_that_does_not_tell_its_energy_is_refused_before_any_training(
    text: str, lab: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    with pytest.raises(StepFailed) as failed:
        lab.run(HEAD + text)
    assert [problem.code for problem in failed.value.diagnostics] == ["RCP1080"]
    assert failed.value.diagnostics[0].span is not None

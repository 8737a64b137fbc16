"""How long a plan expects rounding to take, and what a plan says whose step fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recipelang.check import check
from recipelang.kinds import Quiet
from recipelang.methods.data.digits import Digits
from recipelang.run import remembered, timing_rounders
from recipelang.run.planning import PlanLine, PlanReport
from recipelang.run.remembered import Remembered
from recipelang.run.timing_rounders import rounding_seconds
from recipelang.scoring.rounding_pieces import divided
from recipelang.scoring.rounding_time import step_seconds
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named
from recipelang.syntax.parse import parse


def network() -> Network:
    torch.manual_seed(0)
    parts = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    return Network(nn.Sequential(*parts).eval(), {}, (1, 8, 8), classes=tuple(map(str, range(10))))


def needs(statement: str) -> Any:
    plan = check(parse(f"model digits_resnet\ndata digits\n{statement}\n"))
    return plan.nodes[-1].operation.needs()  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "cache_folder", lambda: tmp_path)


def seconds(statement: str) -> float:
    data = Digits().open(Path)
    return rounding_seconds(
        needs(statement), network(), data, task_named(), "cpu", Remembered(Quiet()), lambda network: 1e-3
    )


def test_pieces_times_steps_times_a_step_and_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_rounders, "step_seconds", lambda *_: 0.5)
    passes = 2 * 100 * 1e-3
    on = "on train(samples=100)"
    assert seconds(f"quantize weights to 4 bits with adaround(30) {on}") == pytest.approx(passes + 2 * 30 * 0.5)
    assert seconds(f"quantize weights to 4 bits with adaround(60) {on}") == pytest.approx(passes + 2 * 60 * 0.5)
    assert seconds(f"quantize weights to 4 bits with brecq(30, per=network) {on}") == pytest.approx(0.1 + 30 * 0.5)
    assert seconds(f"quantize weights to 4 bits with gptq {on}") == pytest.approx(passes), "no steps"
    assert seconds("quantize weights to 4 bits with nearest") == 0.0
    assert seconds(f"quantize weights to 4 bits with adaround(30) except first {on}") == pytest.approx(0.1 + 30 * 0.5)


@pytest.mark.parametrize("rounder", ["adaround", "adaquant", "brecq", "brecq(per=network)"])
def test_a_step_is_measured_on_real_pieces_and_changes_nothing(rounder: str) -> None:
    asked, start = needs(f"quantize weights to 4 bits with {rounder}"), network()
    before = {name: value.clone() for name, value in start.module.state_dict().items()}
    weights = {"0.weight": 0, "4.weight": 0}
    grids = timing_rounders.weight_grids(start, weights, 4, timing_rounders._Extremes())
    pieces = divided(start, tuple(weights), asked.rounder.unit)
    assert step_seconds(asked.rounder, start, grids, pieces, Digits().open(Path), task_named(), "cpu") > 0
    assert all(torch.equal(value, before[name]) for name, value in start.module.state_dict().items())


def test_a_plan_whose_step_fails_does_not_say_that_there_is_nothing_to_do() -> None:
    done, fails = PlanLine(0, 1, "model m", "stored"), PlanLine(0, 2, "prune", "fails", "out of reach")
    told = PlanReport("p", (done, fails)).text()
    assert "nothing to do" not in told and "nothing runs before the step that fails" in told
    assert "nothing to do: every step is in the store" in PlanReport("p", (done,)).text()

"""What a training says of its curves: means between two points, terms that add up, the rows of its history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from recipelang.kinds import Numbered, Quiet, hears
from recipelang.training.curve import MOST_POINTS, Curve


class Hearing(Quiet):
    """A progress that remembers what it is told of curves."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, Mapping[str, Any]]] = []

    def measured(self, of: str, at: int, numbers: Mapping[str, Any]) -> None:
        self.told.append((of, at, dict(numbers)))


@pytest.mark.parametrize("total", [1, 7, MOST_POINTS, MOST_POINTS + 1, 3 * MOST_POINTS])
def test_points_are_means_and_of_bounded_number(total: int) -> None:
    hearing = Hearing()
    curve = Curve(hearing, total)
    for step in range(1, total + 1):
        curve.add(step, 0.5 / step, float(step), {"kd": torch.tensor(0.25 * step)})
    assert 0 < len(hearing.told) <= MOST_POINTS
    every = hearing.told[0][1]
    for of, at, numbers in hearing.told:
        seen = range(at - every + 1, at + 1)
        assert of == "step" and at % every == 0
        assert numbers["loss"] == pytest.approx(sum(seen) / every)
        assert numbers["loss/kd"] == pytest.approx(0.25 * sum(seen) / every)
        assert numbers["lr"] == 0.5 / at


def test_nobody_hears_of_what_nobody_asks_for() -> None:
    curve = Curve(Quiet(), 3)
    curve.add(1, 0.1, 1.0, {})
    curve.epoch({"epoch": 1})
    assert not curve.heard and hears(Quiet()) is None


def test_what_numbers_pieces_of_work_passes_curves_on() -> None:
    hearing = Hearing()
    told = hears(Numbered(hearing, "weight", 3))
    assert told is not None and hears(Numbered(Quiet(), "weight", 3)) is None
    Curve(Numbered(hearing, "weight", 3), 2).epoch({"epoch": 2, "loss": 1.0})
    assert hearing.told == [("epoch", 2, {"epoch": 2, "loss": 1.0})]

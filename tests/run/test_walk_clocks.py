"""Budgets on a clock, in whole recipes: clocks are mostly read briefly, whoever divides the removal.

A clock that counts parameters stands in for the machine's; brief readings of it are off by up to 2 %.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from recipelang.kinds import Measurement
from recipelang.methods.metrics.latency import Latency

RESNET = "model digits_resnet\ndata digits\n"
CHAIN = "model digits_vgg\ndata digits\n"  # for filters: quickly cut
#: how each is asked, small, and how many networks it may read surely, and briefly
FILTERS = {
    "uniform": (10, 20),
    "global": (10, 20),
    "sensitivity": (10, 20),
    "eagleeye(3)": (5, 50),
    "ecc(2, samples=6)": (5, 50),
    "amc(3, hidden=8)": (5, 50),
    "morphnet(2)": (5, 50),
    "dmcp(steps=3, warmup=1)": (5, 50),
    "metapruning(steps=2, population=4)": (5, 50),
    "autoslim(steps=3, stages=1)": (5, 50),
    "netadapt(reduction=0.1, steps=1)": (5, 50),
}
LAYERS = ("global", "netadapt(steps=1)", "sensitivity", "eagleeye(3)")


class Clock:
    """Reads seconds in proportion to a part that is fixed and one for each parameter."""

    def __init__(self) -> None:
        self.brief: list[int] = []
        self.sure: list[int] = []

    def measure(self, metric: Any, mine: Any, theirs: Any, shape: Any, progress: Any = None) -> Measurement:
        self.sure.append(size(mine))
        return self._read(mine, theirs, 1.0, 0.002)

    def glance(self, metric: Any, mine: Any, theirs: Any, shape: Any) -> Measurement:
        self.brief.append(size(mine))
        return self._read(mine, theirs, 1 + 0.02 * math.sin(len(self.brief)), 0.025)

    def _read(self, mine: Any, theirs: Any, off: float, width: float) -> Measurement:
        ratio = 1.0 if mine is theirs else off * (2000 + size(mine)) / (2000 + size(theirs))
        ends = (ratio * (1 - width), ratio * (1 + width))
        return Measurement(ratio, *ends, n=9, ratio=ratio, ratio_low=ends[0], ratio_high=ends[1])


def size(executable: Any) -> int:
    return sum(parameter.numel() for parameter in executable.module.parameters())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Latency, "measure", lambda *given, **how: clock.measure(*given, **how))
    monkeypatch.setattr(Latency, "glance", lambda *given: clock.glance(*given))
    return clock


@pytest.mark.parametrize("asked", FILTERS)
def test_filters_are_removed_until_a_clock_says_so_and_few_readings_are_sure(
    apart: Any, clock: Clock, asked: str
) -> None:
    done = apart.run(CHAIN + f"prune filters by magnitude until latency < 0.7 with {asked}\n")
    assert done.code == 0
    (reached,) = [figure for figure in done.steps(verb="prune")[0]["reached"] if figure.get("what") == "latency"]
    assert 0.2 < reached["value"] < 0.7, "met, and not by taking everything, which is at 0.04"
    assert (len(clock.sure), len(clock.brief)) <= FILTERS[asked] and len(clock.brief) <= FILTERS[asked][1]


@pytest.mark.parametrize("asked", LAYERS)
def test_layers_are_removed_until_a_clock_says_so_and_few_readings_are_sure(
    apart: Any, clock: Clock, asked: str
) -> None:
    done = apart.run(RESNET + f"prune layers by magnitude until latency < 0.7 with {asked}\n")
    assert done.code == 0 and 0 < done.removed() < 9
    assert len(clock.sure) <= 4 and len(clock.brief) <= 20


def test_a_budget_that_brief_readings_rule_out_is_refused_by_a_sure_one(apart: Any, clock: Clock) -> None:
    done = apart.run(CHAIN + "prune filters by magnitude until latency < 0.01 with uniform\n")
    assert done.variant()["error"]["code"] == "RCP0904" and len(clock.sure) <= 2, (
        "the furthest network, and the whole one"
    )

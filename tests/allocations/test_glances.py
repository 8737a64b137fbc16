"""Searches look at clocks briefly, and only what they end with is measured surely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benches import Workbench, bars, bench_of, plain
from torch import nn

from recipelang import catalogue
from recipelang.budgets.conditions import Value, judge
from recipelang.budgets.costs import POINTS, looked_at


def macs(network: Any) -> float:
    return float(sum(m.in_channels * m.out_channels for m in network.module if isinstance(m, nn.Conv2d)))


def counted(folder: Path, until: str, off: float = 1.0, width: float = 0.02) -> tuple[Workbench, list[str]]:
    """A bench whose brief readings are `off` by a factor, and what was read."""
    read: list[str] = []
    bench = bench_of(plain(), bars(), folder, until, clocks=macs)
    whole = macs(bench.whole)

    def glance(reading: Any, network: Any) -> Value:
        read.append("brief")
        value = off * macs(network) / whole
        return Value(value, value * (1 - width), value * (1 + width))

    def surely(asked: Any, network: Any, sure: bool) -> Any:
        read.append("sure")
        return judge(asked, lambda _: Value(*[macs(network) / whole] * 3), "surely")

    bench.glance, bench.judge = glance, surely
    return bench, read


def test_a_long_table_is_read_at_few_widths_and_a_short_one_at_each() -> None:
    assert looked_at(3) == [0, 1, 2, 3]
    assert looked_at(60) == [0, 15, 30, 45, 60] and len(looked_at(1000)) == POINTS


def test_what_is_clearly_too_slow_is_not_measured_surely_and_what_may_hold_is(tmp_path: Path) -> None:
    bench, read = counted(tmp_path, "latency < 0.8")
    assert not bench.met([0, 0, 0]) and read == ["brief"]
    everything = [len(queue.steps) for queue in bench.queues]
    assert bench.met(everything) and read == ["brief", "brief", "sure"]


def test_a_brief_reading_that_flatters_does_not_weaken_the_budget(tmp_path: Path) -> None:
    bench, read = counted(tmp_path, "latency < 0.8", off=0.5)
    assert bench.measured([0, 0, 0]) < 1
    assert not bench.met([0, 0, 0]) and "sure" in read


def test_a_search_that_goes_on_reads_nothing_again(tmp_path: Path) -> None:
    until = "latency < 0.7"
    with counted(tmp_path, until)[0] as bench:
        costs = [bench.cost([1, 1, 2]), bench.measured([1, 1, 2])]
        bench.tell_clocks()
    again, read = counted(tmp_path, until)
    with again:
        assert [again.cost([1, 1, 2]), again.measured([1, 1, 2])] == costs and not read
        again.tell_clocks()
    assert again.told == bench.told and again.measurements == bench.measurements
    assert "± 2.0 % (median, 95 %), and 0 sure ones" in bench.told[-1].note


@pytest.mark.parametrize("name", ["netadapt", "eagleeye"])
def test_few_readings_are_sure(name: str, tmp_path: Path) -> None:
    method: Any = catalogue.find("allocation", name)
    asked = method(steps=0) if name == "netadapt" else method(candidates=4)
    bench, read = counted(tmp_path, "latency < 0.7")
    with bench:
        steps = asked.explore(bench.queues, bench)
    assert macs(bench.together.tried(steps)) / macs(bench.whole) < 0.7
    assert read.count("brief") <= 40 and 1 <= read.count("sure") <= 6

"""Profiles of two networks: medians over rounds, in turn, whose layers add up; and the column of the metric."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

from recipelang.errors import SettingError
from recipelang.kinds.layer_times import LayerTimes, Watched, side_by_side, times_of
from recipelang.measuring.layer_clock import FEWEST_ROUNDS, compare_layers, measurement
from recipelang.methods.metrics.profile import Profile
from recipelang.methods.runtimes.onnxruntime import OnnxRuntime
from recipelang.methods.runtimes.openvino import OpenVino


class Executed:
    """A network of layers that take known times; notes in which order it is called and watched."""

    note = ""

    def __init__(self, name: str, layers: dict[str, float], log: list[str]) -> None:
        self.name, self.layers, self.log, self.machine = name, layers, log, Machine(log)
        self.closed = 0
        self.settling = 0.0

    def __call__(self, inputs: Any) -> None:
        self.log.append(f"{self.name}.")
        self.machine.time += 0.25

    def watch(self) -> Any:
        outer = self

        class Watch:
            how, settling = "as told", outer.settling

            def __init__(self) -> None:
                self.samples = 0

            def sample(self, inputs: Any, calls: int) -> None:
                outer.log.append(f"{outer.name}*")
                self.samples += 1

            def finish(self) -> Watched:
                seconds = {layer: [time] * self.samples for layer, time in outer.layers.items()}
                seconds[next(iter(seconds))][0] = 1e9  # while it settles
                return Watched(seconds, dict.fromkeys(seconds, "Conv2d"), dict.fromkeys(seconds, 1))

            def close(self) -> None:
                outer.closed += 1

        return Watch()


class Machine:
    """A stopwatch on which every call takes a millisecond."""

    def __init__(self, log: list[str]) -> None:
        self.time, self.log = 0.0, log

    def now(self) -> float:
        return self.time

    def sample(self, network: Executed, calls: int) -> float:
        self.time += 0.25
        self.log.append(network.name)
        return sum(network.layers.values())


def pair() -> tuple[Executed, Executed, list[str]]:
    log: list[str] = []
    healthy = Executed("h", {"a": 0.1, "b": 0.2, "c": 0.3}, log)
    return healthy, Executed("m", {"a": 0.1, "x": 0.05, "c": 0.15}, log), log


def test_layers_beside_each_other_add_up_to_the_ratio() -> None:
    healthy, mine, log = pair()
    found = compare_layers(mine, healthy, torch.zeros(1), stopwatch=Machine(log), budget_s=1.0)  # type: ignore[arg-type]
    times = found.layers
    assert times is not None and [row.layer for row in times.layers] == ["a", "x", "b", "c"]
    own = {row.layer: row.own.seconds for row in times.layers if row.own}
    before = {row.layer: row.healthy.seconds for row in times.layers if row.healthy}
    assert own == {"a": 0.1, "x": 0.05, "c": 0.15} and before == {"a": 0.1, "b": 0.2, "c": 0.3}
    assert found.value == pytest.approx(sum(own.values())) == times.watched
    assert found.ratio == pytest.approx(0.5) and (found.ratio_low, found.ratio_high) == pytest.approx((0.5, 0.5))
    assert (times.own, times.healthy, times.watched_healthy) == pytest.approx((0.3, 0.6, 0.6))
    assert times.n == found.n == FEWEST_ROUNDS and "1.00 times" in found.note
    assert healthy.closed == mine.closed == 2


def test_calls_that_are_watched_and_calls_that_are_not_take_turns() -> None:
    healthy, mine, log = pair()
    compare_layers(mine, healthy, torch.zeros(1), stopwatch=Machine(log), budget_s=1.0)  # type: ignore[arg-type]
    assert log[-8:] == ["h", "h*", "m", "m*", "m*", "m", "h*", "h"]


def test_a_network_settles_before_it_is_timed_where_watching_disturbs_it() -> None:
    """Half a second, and every call takes a quarter of one."""
    healthy, mine, log = pair()
    machine = Machine(log)
    for network in (healthy, mine):
        network.machine, network.settling = machine, 0.5
    compare_layers(mine, healthy, torch.zeros(1), stopwatch=machine, budget_s=1.0)  # type: ignore[arg-type]
    assert log[-16:] == ["h.", "h.", "h", "h*", "m.", "m.", "m", "m*", "m*", "m.", "m.", "m", "h*", "h.", "h.", "h"]


def test_healthy_is_watched_alone() -> None:
    healthy, _, log = pair()
    found = compare_layers(healthy, healthy, torch.zeros(1), stopwatch=Machine(log), budget_s=1.0)  # type: ignore[arg-type]
    assert found.ratio == 1.0 and found.layers is not None and found.layers.healthy is None
    assert all(row.healthy is None and row.own for row in found.layers.layers)


def test_a_disturbance_of_another_layer_in_every_call_is_in_no_number() -> None:
    """Half of the calls wait for their core, each in another of ten layers: no call is clean, and every median is."""
    draws = np.random.default_rng(0)
    seconds = np.full((40, 10), 1.0)
    seconds[np.arange(40), draws.integers(0, 10, 40)] += 50.0
    seen = Watched({str(i): list(seconds[:, i]) for i in range(10)}, {}, {})
    found = measurement(np.full((40, 1), 10.0), [seen], "")
    assert found.value == 10.0 and np.median(seconds.sum(axis=1)) == 60.0


def test_what_is_stored_is_read_again() -> None:
    healthy, mine, log = pair()
    found = compare_layers(mine, healthy, torch.zeros(1), stopwatch=Machine(log), budget_s=1.0).layers  # type: ignore[arg-type]
    assert isinstance(found, LayerTimes) and times_of(json.loads(json.dumps(asdict(found)))) == found
    assert times_of(None) is None
    with pytest.raises((TypeError, KeyError)):
        times_of({"layers": [{"layer": "a"}]})


@pytest.mark.parametrize(
    ("before", "after", "together"),
    [
        ("abc", "abc", "abc"),
        ("abc", "xabyc", "xabyc"),
        ("abc", "", "abc"),
        ("", "ab", "ab"),
        ("abc", "axy", "axybc"),
    ],
)
def test_names_of_both_sides(before: str, after: str, together: str) -> None:
    assert "".join(side_by_side(before, after)) == together


def test_what_has_no_layers_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="compiled network has no layers"):
        Profile(compiled=True)
    assert Profile(runtime=OpenVino()).runtime == OpenVino()
    monkeypatch.setattr(OpenVino, "watches", False)
    with pytest.raises(SettingError, match="openvino does not say"):
        Profile(runtime=OpenVino())
    assert Profile(runtime=OnnxRuntime()).deployment.batch == 1

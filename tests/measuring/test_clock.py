"""The clock, on synthetic machines whose time the test decides, and once on a real one."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.measuring.clock import CpuStopwatch, CudaStopwatch, compare_latency, typical, undisturbed, waited

EXAMPLE = torch.zeros(1, 1)


class Machine:
    """A stopwatch whose clock advances by what each network costs here and now."""

    def __init__(self, seconds: dict[nn.Module, float], noise: Callable[[float], float] = lambda now: 1.0) -> None:
        self.seconds, self.noise = seconds, noise
        self.time = 0.0
        self.order: list[tuple[nn.Module, int]] = []

    def now(self) -> float:
        return self.time

    def sample(self, module: nn.Module, calls: int) -> float:
        self.order.append((module, calls))
        seconds = self.seconds[module] * self.noise(self.time)
        self.time += calls * seconds
        return seconds


class Counter:
    """A progress that counts."""

    def __init__(self) -> None:
        self.parts, self.running = 0, False

    def start(self, what: str, total: int | None = None) -> None:
        self.running = True

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.parts += parts

    def stop(self) -> None:
        self.running = False

    def say(self, line: str) -> None:
        raise AssertionError("the clock has nothing to say")


@pytest.fixture
def networks() -> tuple[nn.Module, nn.Module]:
    return nn.Identity(), nn.Identity()


def lognormal(scale: float, seed: int = 0) -> Callable[[float], float]:
    generator = np.random.default_rng(seed)
    return lambda now: float(np.exp(scale * generator.standard_normal()))


def pairs_of(machine: Machine, measured: Measurement) -> list[tuple[nn.Module, int]]:
    """The timed calls, without the warm-up."""
    return machine.order[len(machine.order) - 2 * measured.n :]


def test_a_quiet_machine_stops_after_the_least_number_of_pairs(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 0.010, candidate: 0.007})
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine)
    assert measured.n == 50 and measured.interval == "bootstrap of 50 pairs"
    assert measured.value == measured.low == measured.high == pytest.approx(0.007)
    assert measured.ratio == pytest.approx(0.7) and measured.ratio_low == pytest.approx(0.7)


def test_the_order_within_pairs_alternates_after_a_warm_up(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 0.010, candidate: 0.007})
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine)
    assert len(machine.order) - 2 * measured.n >= 6
    order = [module for module, _ in pairs_of(machine, measured)]
    assert order[:8] == [healthy, candidate, candidate, healthy] * 2


def test_noise_costs_more_pairs_until_the_interval_is_narrow(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 0.010, candidate: 0.007}, lognormal(0.08))
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine)
    assert measured.n > 100 and machine.time < 30
    assert measured.ratio_high - measured.ratio_low <= 0.02
    assert measured.ratio_low <= 0.7 <= measured.ratio_high


def test_a_hopelessly_noisy_machine_stops_when_time_is_over(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 0.010, candidate: 0.007}, lognormal(0.7))
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine, budget_s=5)
    assert measured.ratio_high - measured.ratio_low > 0.02
    assert 5 <= machine.time < 7


def test_slow_networks_still_get_the_least_number_of_pairs(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 4.0, candidate: 3.0}, lognormal(0.5))
    assert compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine).n == 50


def test_a_machine_that_slows_down_moves_the_seconds_and_not_the_ratio(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 0.010, candidate: 0.007}, lambda now: 1 + 0.5 * np.sin(now))
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine)
    assert measured.ratio == pytest.approx(0.7, abs=0.02)


def test_fast_networks_are_called_several_times_in_a_row(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    machine = Machine({healthy: 20e-6, candidate: 3e-3})
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine)
    calls = dict(pairs_of(machine, measured))
    assert calls == {healthy: 50, candidate: 1}
    assert measured.value == pytest.approx(3e-3) and measured.ratio == pytest.approx(150)


def test_the_healthy_network_itself_has_ratio_one_exactly(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, _ = networks
    machine = Machine({healthy: 0.010}, lognormal(0.05))
    measured = compare_latency(healthy, healthy, EXAMPLE, stopwatch=machine)
    assert (measured.ratio, measured.ratio_low, measured.ratio_high) == (1.0, 1.0, 1.0)
    assert measured.low < measured.value < measured.high
    assert measured.interval == f"bootstrap of {measured.n} runs"


def test_intervals_cover_and_the_stopping_rule_does_not_bias(
    networks: tuple[nn.Module, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipelang.measuring.bootstrap.RESAMPLES", 250)  # coarser, and quick
    monkeypatch.setattr("gc.collect", lambda: 0)
    healthy, candidate = networks
    found = [
        compare_latency(
            candidate,
            healthy,
            EXAMPLE,
            stopwatch=Machine({healthy: 0.010, candidate: 0.007}, lognormal(0.05, seed)),
            half_width=0.015,
        )
        for seed in range(50)
    ]
    assert np.mean([m.ratio_low <= 0.7 <= m.ratio_high for m in found]) >= 0.87
    assert abs(np.mean([m.ratio for m in found]) - 0.7) < 0.003


def test_progress_counts_pairs_and_stops_even_on_errors(networks: tuple[nn.Module, nn.Module]) -> None:
    healthy, candidate = networks
    counter = Counter()
    machine = Machine({healthy: 0.010, candidate: 0.007})
    measured = compare_latency(candidate, healthy, EXAMPLE, stopwatch=machine, progress=counter)
    assert counter.parts == measured.n and not counter.running
    with pytest.raises(KeyError):
        compare_latency(candidate, healthy, EXAMPLE, stopwatch=Machine({healthy: 0.01}), progress=counter)
    assert not counter.running


def test_what_timing_switches_off_is_restored() -> None:
    threads = torch.get_num_threads()
    other = 2 if threads == 1 else 1
    with pytest.raises(ZeroDivisionError), undisturbed(other):
        assert torch.get_num_threads() == other and not gc.isenabled() and torch.is_inference_mode_enabled()
        raise ZeroDivisionError
    assert torch.get_num_threads() == threads and gc.isenabled() and not torch.is_inference_mode_enabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with undisturbed(1):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_device_that_is_not_here_is_refused() -> None:
    beyond = torch.cuda.device_count()
    with pytest.raises(Refusal) as refusal:
        compare_latency(nn.Identity(), nn.Identity(), EXAMPLE, device=f"cuda:{beyond}")
    assert refusal.value.code == "RCP1001" and f"cuda:{beyond}" in refusal.value.message


def test_a_gpu_is_timed_between_events_on_an_idle_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of what CUDA is told, on a stand-in for it; events count milliseconds."""
    told: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            told.append("record")

        def synchronize(self) -> None:
            told.append("wait for the event")

        def elapsed_time(self, end: Event) -> float:
            return 12.0

    monkeypatch.setattr("torch.cuda.Event", Event)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: told.append("wait for the device"))
    monkeypatch.setattr("torch.cuda.device", lambda device: nullcontext())
    module = nn.Identity()
    module.register_forward_hook(lambda *_: told.append("call"))
    assert CudaStopwatch(EXAMPLE).sample(module, 3) == pytest.approx(0.004)
    assert told == ["wait for the device", "record", "call", "call", "call", "record", "wait for the event"]


def test_waiting_for_a_core_is_not_the_networks_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 seconds on the wall, 6 went to other processes; 2 calls took the rest."""
    walls, waits = iter([100.0, 108.0]), iter([5.0, 11.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(walls))
    monkeypatch.setattr("recipelang.measuring.clock.waited", lambda: next(waits))
    assert CpuStopwatch(EXAMPLE).sample(nn.Identity(), 2) == 1.0


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this system keeps no schedstat")
def test_the_system_counts_waiting() -> None:
    """Two threads of work on one core wait for each other."""
    core = next(iter(os.sched_getaffinity(0)))
    lasting = threading.Event()
    ready = threading.Barrier(2)

    def work(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    def rival() -> None:
        os.sched_setaffinity(0, {core})
        ready.wait()
        while not lasting.is_set():
            hashlib.sha256(b"x" * 1_000_000).digest()  # without the interpreter's lock, as other processes work

    def mine() -> None:
        os.sched_setaffinity(0, {core})
        ready.wait()
        before = waited()
        work(0.2)
        found.append(waited() - before)
        lasting.set()

    found: list[float] = []
    threads = [threading.Thread(target=rival), threading.Thread(target=mine)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] > 0


def test_a_system_without_counts_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_file(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_such_file)
    assert waited() == 0


def test_real_networks_on_the_real_clock() -> None:
    """A network that does the other's work ten times over takes clearly longer; no exact figure is asked for."""
    layer = nn.Linear(128, 128)
    example = torch.randn(32, 128)
    measured = compare_latency(nn.Sequential(*[layer] * 20), layer, example, budget_s=1.0)
    assert measured.n >= 50 and measured.low <= measured.value <= measured.high
    assert measured.ratio is not None and measured.ratio > 2


@pytest.mark.parametrize("many", [1, 2, 3, 4])
def test_any_number_of_networks_is_called_in_turn_to_choose(many: int) -> None:
    seconds = typical([nn.Identity() for _ in range(many)], torch.zeros(1, 1), 1, "cpu")
    assert len(seconds) == many and min(seconds) > 0

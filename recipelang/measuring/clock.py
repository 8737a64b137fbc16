"""The clock: latency of a network, timed alternately with the healthy one.

    warm up ─▶ pairs (healthy, candidate), (candidate, healthy), … ─▶ ratio of medians with its interval
                 ▲                                                        │ too wide, and time left
                 └────────────────────────────────────────────────────────┘

Machines change speed during a measurement. Two networks that are timed alternately see the same machine, so their
ratio holds where the seconds do not. Alternating cannot even out waiting for a core that another process holds:
it comes in slices of milliseconds, which hit a slow network more often than a fast one. So waiting is subtracted.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Measurement, Percentiles, Progress
from recipelang.measuring.bootstrap import Interval, median_interval, ratio_interval
from recipelang.profile import DEVICE

#: What is timed: inputs → answer.
Executable: TypeAlias = Callable[[Tensor], Any]
#: Shortest time that is measured at once; a faster network is called several times in a row.
SHORTEST_S = 1e-3
#: Calls from which one of several networks is chosen.
TO_CHOOSE = 15
WARM_UP_CALLS = 3
WARM_UP_S = 0.3
#: Factor by which the series grows before its interval is checked again.
GROWTH = 1.25


class Stopwatch(Protocol):
    """What times a network; tests use a synthetic one."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def sample(self, executable: Executable, calls: int) -> float:
        """Mean seconds per call, of `calls` calls in a row."""


def waited() -> float:
    """Seconds for which this thread was ready while another process had its core; 0 if the system does not count them.

    Linux counts it in schedstat (proc(5)).
    """
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as counts:
            return int(counts.read().split()[1]) * 1e-9
    except (OSError, IndexError, ValueError):
        return 0.0


class CpuStopwatch:
    """Wall clock around calls with `example` (B×…), minus the time for which other processes held the core.

    With several threads, only the waiting time of the calling one is known.
    """

    def __init__(self, example: Tensor) -> None:
        self.example = example

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.perf_counter()

    def sample(self, executable: Executable, calls: int) -> float:
        """Mean seconds of one call."""
        example = self.example
        waited_before = waited()
        start = time.perf_counter()
        for _ in range(calls):
            executable(example)
        seconds = time.perf_counter() - start
        return max(0.0, seconds - (waited() - waited_before)) / calls


class CudaStopwatch(CpuStopwatch):
    """CUDA events around calls with `example` (B×…), on its device."""

    def sample(self, executable: Executable, calls: int) -> float:
        """Mean seconds of one call, between two events on an otherwise idle stream."""
        with torch.cuda.device(self.example.device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            for _ in range(calls):
                executable(self.example)
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1000 / calls


def check_device(device: str) -> torch.device:
    """The device of this name.

    Raises:
        Refusal: RCP1001: this machine does not have it.
    """
    if not DEVICE.fullmatch(device):
        raise Refusal("RCP1001", f"`{device}` is not a device", 'write `"cpu"`, `"cuda"` or `"cuda:1"`')
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise Refusal(
            "RCP1001",
            f"`{device}` was requested, and this machine has {count or 'no'} CUDA device{'s' * (count > 1)}",
            "use `cpu`, or run the recipe on a machine with the GPU; `recipe doctor` says what this one has",
        )
    return found


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """Inside: this many threads, no autograd, no garbage collection. Afterwards everything is restored."""
    threads_before, collecting = torch.get_num_threads(), gc.isenabled()
    gc.collect()
    gc.disable()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads_before)
        if collecting:
            gc.enable()


def compare_latency(
    candidate: Executable,
    healthy: Executable,
    example: Tensor,
    *,
    threads: int = 1,
    device: str = "cpu",
    min_pairs: int = 50,
    half_width: float = 0.01,
    budget_s: float = 30.0,
    progress: Progress | None = None,
    stopwatch: Stopwatch | None = None,
) -> Measurement:
    """Latency of `candidate`, and its ratio to `healthy`.

    Both are warmed up, then called alternately, with the order reversed in every other pair. The series continues
    beyond `min_pairs` until the interval of the ratio of medians is narrow enough or `budget_s` has passed.
    A candidate that is the healthy network itself is timed alone, and its ratio is exactly 1.

    Args:
        candidate, healthy: prepared by one runtime for `device`.
        example: one input, B×C×H×W.
        threads: CPU threads of torch while timing; restored afterwards.
        device: `cpu`, `cuda` or `cuda:N`.
        min_pairs: minimum number of pairs.
        half_width: half-width of an interval that is narrow enough, as a number to add to the ratio.
        budget_s: seconds after which no pair beyond `min_pairs` is started.
        stopwatch: what measures the time; default by device.

    Returns:
        median seconds of one call of the candidate, the ratio to healthy, both with 95 % bootstrap intervals, and the
        percentiles of its samples; `n` is the number of pairs.

    Raises:
        Refusal: RCP1001: this machine does not have the device.
    """
    if stopwatch is None:
        place = check_device(device)
        stopwatch = (CudaStopwatch if place.type == "cuda" else CpuStopwatch)(example.to(place))
    networks = (healthy,) if candidate is healthy else (healthy, candidate)
    if progress:
        progress.start("timing, pairs" if len(networks) == 2 else "timing, calls")
    try:
        with undisturbed(threads):
            calls = warm_up(networks, stopwatch, SHORTEST_S)
            samples = series(networks, calls, stopwatch, min_pairs, half_width, budget_s, progress)
    finally:
        if progress:
            progress.stop()
    return replace(measurement(samples, "runs"), percentiles=_percentiles(samples[:, -1], calls[-1]))


def typical(networks: Sequence[Executable], example: Tensor, threads: int, device: str) -> list[float]:
    """Median seconds of one call of each of several networks, called in turn: to choose, not to report.

    Args:
        networks: prepared for `device`.
        example: one input, B×C×H×W.
        threads: CPU threads of torch while timing.
        device: `cpu`, `cuda` or `cuda:N`.
    """
    place = check_device(device)
    stopwatch = (CudaStopwatch if place.type == "cuda" else CpuStopwatch)(example.to(place))
    with undisturbed(threads):
        calls = warm_up(networks, stopwatch, SHORTEST_S)
        samples = series(networks, calls, stopwatch, TO_CHOOSE, math.inf, math.inf, None)
    return [float(seconds) for seconds in np.median(samples, axis=0)]


def _percentiles(seconds: np.ndarray, calls: int) -> Percentiles:
    """Of the samples of one network, each the mean of this many calls; linear between two samples."""
    p50, p90, p99 = (float(value) for value in np.percentile(seconds, (50, 90, 99)))
    return Percentiles(p50, p90, p99, len(seconds), calls)


def warm_up(networks: Sequence[Executable], stopwatch: Stopwatch, shortest_s: float) -> list[int]:
    """Call every network until caches, clocks and compilers have settled; returns for each how many calls take
    `shortest_s`."""
    start = stopwatch.now()
    seconds: list[list[float]] = []
    while len(seconds) < WARM_UP_CALLS or (stopwatch.now() - start < WARM_UP_S and len(seconds) < 1000):
        seconds.append([stopwatch.sample(network, 1) for network in networks])
    return [max(1, math.ceil(shortest_s / max(typical, 1e-6))) for typical in np.median(seconds, axis=0)]


def series(
    networks: Sequence[Executable],
    calls: Sequence[int],
    stopwatch: Stopwatch,
    min_pairs: int,
    half_width: float,
    budget_s: float,
    progress: Progress | None,
) -> np.ndarray:
    """Rounds × networks, seconds. It stops by the interval's width, never by the ratio's value: no bias.

    An infinite `half_width` takes any number of networks; another, one or two.
    """
    rounds: list[list[float]] = []
    start = stopwatch.now()
    target = min_pairs
    while True:
        while len(rounds) < target and (len(rounds) < min_pairs or stopwatch.now() - start < budget_s):
            seconds = [0.0] * len(networks)
            forward = range(len(networks))
            for i in forward if len(rounds) % 2 == 0 else reversed(forward):
                seconds[i] = stopwatch.sample(networks[i], calls[i])
            rounds.append(seconds)
            if progress:
                progress.advance()
        samples = np.array(rounds)
        if math.isinf(half_width) or _uncertainty(samples) <= half_width or stopwatch.now() - start >= budget_s:
            return samples
        target = math.ceil(len(rounds) * GROWTH)


def summary(samples: np.ndarray) -> tuple[Interval, Interval]:
    """Seconds of the candidate (the last column) and its ratio to healthy (the first)."""
    if samples.shape[1] == 1:
        return median_interval(samples[:, 0]), Interval(1.0, 1.0, 1.0)
    return ratio_interval(samples)


def measurement(samples: np.ndarray, single: str) -> Measurement:
    """The candidate's median, and its ratio to healthy.

    Args:
        samples: as `series` gives them, n×2 or n×1.
        single: what a row of healthy alone is called, in the plural.
    """
    return stated(*summary(samples), len(samples), f"{len(samples)} {'pairs' if samples.shape[1] == 2 else single}")


def stated(value: Interval, ratio: Interval, n: int, drawn: str) -> Measurement:
    """A measurement with the intervals of its value and of its ratio to healthy.

    Args:
        n: how many samples there are.
        drawn: what was resampled: `50 pairs`.
    """
    return Measurement(
        value=value.value,
        low=value.low,
        high=value.high,
        n=n,
        interval=f"bootstrap of {drawn}",
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
    )


def _uncertainty(samples: np.ndarray) -> float:
    """Half-width of the ratio's interval; for one network alone, that of its seconds, relative to them."""
    seconds, ratio = summary(samples)
    return seconds.half_width / seconds.value if samples.shape[1] == 1 else ratio.half_width

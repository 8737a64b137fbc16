"""What each layer of a network takes, beside those of the healthy one: watched and unwatched calls in turn.

    healthy, healthy watched, candidate, candidate watched │ candidate watched, candidate, healthy watched, healthy │ …

Watching takes time itself. Calls that nothing watches are timed in between, so that a reader sees how much it disturbs:
the layers add up to a watched call, and that is compared with one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from recipelang.kinds import Measurement, Progress
from recipelang.kinds.layer_times import LayerSeconds, LayerTime, LayerTimes, Watch, Watched, side_by_side
from recipelang.measuring.bootstrap import Interval, interval, resampled_medians
from recipelang.measuring.clock import (
    SHORTEST_S,
    CpuStopwatch,
    CudaStopwatch,
    Executable,
    Stopwatch,
    check_device,
    stated,
    undisturbed,
    warm_up,
)
from recipelang.units import counted

#: rounds are chosen from the speed seen while warming up, never from the times that are reported
FEWEST_ROUNDS, MOST_ROUNDS = 20, 200
#: calls of one network that a watch sees at most: a profiler keeps them all
MOST_CALLS = 4000
TO_SETTLE = 3


def compare_layers(
    candidate: Executable,
    healthy: Executable,
    example: Tensor,
    *,
    threads: int = 1,
    device: str = "cpu",
    budget_s: float = 10.0,
    progress: Progress | None = None,
    stopwatch: Stopwatch | None = None,
) -> Measurement:
    """The time of each layer of both networks.

    A candidate that is the healthy network itself is watched alone.

    Args:
        candidate, healthy: prepared by one runtime for `device`; each has `watch() -> kinds.Watch`.
        example: one input, B×….
        threads: CPU threads of torch while timing; restored afterwards.
        device: `cpu`, `cuda` or `cuda:N`.
        budget_s: seconds after which few rounds are enough.
        stopwatch: what times calls that are not watched; default by device.

    Returns:
        seconds of the layers of a call of the candidate together, the ratio to healthy, both with 95 % bootstrap
        intervals over rounds, and `layers`.

    Raises:
        Refusal: RCP1001: this machine does not have the device.
    """
    place = check_device(device)
    example = example.to(place)
    if stopwatch is None:
        stopwatch = (CudaStopwatch if place.type == "cuda" else CpuStopwatch)(example)
    networks: Sequence[Any] = (healthy,) if candidate is healthy else (healthy, candidate)
    if progress:
        progress.start("timing layers, rounds")
    try:
        with undisturbed(threads):
            plain, seen, how = _rounds(networks, example, stopwatch, budget_s, progress)
    finally:
        if progress:
            progress.stop()
    return measurement(plain, seen, how)


def _rounds(
    networks: Sequence[Any], example: Tensor, stopwatch: Stopwatch, budget_s: float, progress: Progress | None
) -> tuple[np.ndarray, list[Watched], str]:
    """Seconds of unwatched calls, rounds × networks, what was watched of each network, and how."""
    calls = warm_up(networks, stopwatch, SHORTEST_S)

    def rounds(watches: Sequence[Watch], count: int) -> np.ndarray:
        seconds = np.zeros((count, len(networks)))
        for number in range(count):
            forward = number % 2 == 0
            for i in range(len(networks)) if forward else reversed(range(len(networks))):
                if not forward:
                    watches[i].sample(example, calls[i])
                _settle(networks[i], example, stopwatch, watches[i].settling)
                seconds[number, i] = stopwatch.sample(networks[i], calls[i])
                if forward:
                    watches[i].sample(example, calls[i])
            if progress:
                progress.advance()
        return seconds

    with ExitStack() as after:
        settling = _watches(networks, after)
        began = stopwatch.now()
        rounds(settling, TO_SETTLE)
        round_s = max((stopwatch.now() - began) / TO_SETTLE, 1e-6)
        most = max(1, min(MOST_ROUNDS, MOST_CALLS // max(calls)))
        watches = _watches(networks, after)
        for watch, many in zip(watches, calls, strict=True):
            watch.sample(example, many)  # a profiler is a session of its own, which must settle as well
        plain = rounds(watches, max(min(FEWEST_ROUNDS, most), min(most, int(budget_s / round_s))))
        return plain, [_without_first(watch.finish()) for watch in watches], watches[0].how


def _settle(network: Any, example: Tensor, stopwatch: Stopwatch, seconds: float) -> None:
    """Call a network for some seconds, at least once if there are any: watching has taken its place in the caches."""
    end = stopwatch.now() + seconds
    while stopwatch.now() < end:
        network(example)


def _watches(networks: Sequence[Any], after: ExitStack) -> list[Watch]:
    watches = []
    for network in networks:
        watches.append(network.watch())
        after.callback(watches[-1].close)
    return watches


def _without_first(seen: Watched) -> Watched:
    """Without the sample in which it settled."""
    return seen._replace(seconds={layer: samples[1:] for layer, samples in seen.seconds.items()})


def measurement(plain: np.ndarray, seen: Sequence[Watched], how: str) -> Measurement:
    """The measurement of two networks, healthy first, or of one alone.

    The whole is the sum of the medians of the layers: a disturbance hits one layer of a call, and another one of the
    next call, so that it is in most of the calls and in few of the samples of each layer.

    Args:
        plain: seconds of unwatched calls, rounds × networks.
        seen: what was watched of each.
        how: the time of a layer is found.
    """
    columns = [np.array(samples) for one in seen for samples in one.seconds.values()]
    samples, ends = np.stack(columns, axis=1), np.cumsum([0, *(len(one.seconds) for one in seen)])
    medians, drawn = np.median(samples, axis=0), resampled_medians(samples)  # the same rounds for all layers
    sums = [(float(medians[a:b].sum()), drawn[:, a:b].sum(axis=1)) for a, b in pairwise(ends)]
    (healthy, others), (own, mine), alone = sums[0], sums[-1], len(seen) == 1
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    value, ratio = interval(own, mine), Interval(1.0, 1.0, 1.0) if alone else interval(own / healthy, mine / others)
    rows = [
        {
            layer: LayerSeconds(float(medians[at]), float(low[at]), float(high[at]), one.calls.get(layer, 1))
            for at, layer in enumerate(one.seconds, start)
        }
        for one, start in zip(seen, ends, strict=False)
    ]
    kinds, unwatched = {**seen[0].kinds, **seen[-1].kinds}, [float(each) for each in np.median(plain, axis=0)]
    layers = tuple(
        LayerTime(name, kinds.get(name, ""), None if alone else rows[0].get(name), rows[-1].get(name))
        for name in side_by_side(list(rows[0]), list(rows[-1]))
    )
    beside = {} if alone else {"healthy": unwatched[0], "watched_healthy": healthy}
    return replace(
        stated(value, ratio, len(plain), counted(len(plain), "round")),
        note=f"its layers together; a call that nothing watches takes {unwatched[-1] / own:.2f} times that",
        layers=LayerTimes(layers, unwatched[-1], own, n=len(plain), how=how, **beside),
    )

"""The time of a call on a GPU, as the network will be called: launched one by one, or replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Minimum calls in one sample: with fewer, the events themselves take a noticeable share.
CALLS = 20
WARM_UP = 3


@dataclass(frozen=True)
class CudaTimer:
    """CUDA events around several calls in a row.

    Attributes:
        graph: whether the calls are captured into a CUDA graph once and replayed, so that launching costs nothing.
        device: whose streams and events are used; the calls compute there.
    """

    graph: bool = False
    device: torch.device = torch.device("cuda")

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        """A function that runs the calls in rotation and returns the mean seconds of one."""
        count = max(CALLS, len(calls))

        def eager() -> None:
            for i in range(count):
                calls[i % len(calls)]()

        with torch.cuda.device(self.device):
            run = _captured(eager, calls) if self.graph else eager
            for _ in range(WARM_UP):
                run()
            torch.cuda.synchronize()  # failures show here, and not while another is timed

        def sample() -> float:
            with torch.cuda.device(self.device):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize()
                start.record()
                run()
                end.record()
                end.synchronize()
            return float(start.elapsed_time(end)) / 1000 / count

        return sample


@dataclass(frozen=True)
class _Replay:
    """A graph together with the calls in it: it refers to what they read by address only, and so must keep it alive."""

    graph: torch.cuda.CUDAGraph
    calls: Sequence[Callable[[], Tensor]]

    def __call__(self) -> None:
        self.graph.replay()


def _captured(run: Callable[[], None], calls: Sequence[Callable[[], Tensor]]) -> _Replay:
    """The calls as a CUDA graph. Everything is compiled and allocated once outside the capture, as torch requires.

    A failed capture is ended and the previous stream restored: what is timed next is not affected.
    """
    before = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    side.wait_stream(before)
    with torch.cuda.stream(side):
        for call in calls:
            call()
    before.wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run()
    finally:
        # Older versions of torch stay on the stream of a capture whose end raises.
        torch.cuda.set_stream(before)
    return _Replay(graph, calls)

"""The timer against a torch.cuda that records what is asked of it: memory, streams, devices and captures that fail."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.kernels.nm.timer import CALLS, CudaTimer


@dataclass
class Cuda:
    """A GPU on which every launch takes one second: by events, graphs and streams alone."""

    clock: float = 0.0
    stream: str = "default"
    device: int = 0
    devices: list[int] = field(default_factory=list)
    recording: list[Callable[[], None]] | None = None
    ends_badly: bool = False

    def launch(self, work: Callable[[], None]) -> None:
        """What a kernel does: it runs, or is noted where a stream is captured."""
        self.devices.append(self.device)
        if self.recording is not None:
            self.recording.append(work)
        else:
            work()
            self.clock += 1


class Stream:
    def __init__(self, cuda: Cuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: Stream) -> None:
        assert self.name != other.name


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.at = 0.0

        def record(self) -> None:
            assert fake.recording is None
            self.at = fake.clock

        def synchronize(self) -> None: ...

        def elapsed_time(self, other: Event) -> float:
            return 1000 * (other.at - self.at)

    class Graph:
        def __init__(self) -> None:
            self.work: list[Callable[[], None]] = []

        def replay(self) -> None:
            for work in self.work:
                fake.launch(work)

    class Capture:
        """As in torch 2.9: the stream stays the captured one where ending the capture raises."""

        def __init__(self, graph: Graph) -> None:
            self.graph = graph

        def __enter__(self) -> None:
            self.before, fake.stream = fake.stream, "capture"
            fake.recording = self.graph.work

        def __exit__(self, kind: Any, *rest: Any) -> None:
            fake.recording = None
            if kind is not None:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
            fake.stream = self.before

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        before, fake.stream = fake.stream, stream.name
        yield
        fake.stream = before

    @contextmanager
    def device(which: torch.device) -> Iterator[None]:
        before, fake.device = fake.device, which.index or 0
        yield
        fake.device = before

    for name, value in {
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": Capture,
        "stream": on,
        "device": device,
        "Stream": lambda: Stream(fake, "side"),
        "current_stream": lambda: Stream(fake, fake.stream),
        "set_stream": lambda stream: setattr(fake, "stream", stream.name),
        "synchronize": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


def call(cuda: Cuda, weight: Tensor) -> Callable[[], Tensor]:
    """A kernel that reads a weight: a launch, like a graph, knows it by its address alone."""
    address = weakref.ref(weight)

    def run() -> Tensor:
        def work() -> None:
            assert address() is not None, "illegal memory access: the weight was freed"

        cuda.launch(work)
        return weight

    return run


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("copies", [1, 3, 2 * CALLS])
def test_a_call_takes_what_its_launches_take(cuda: Cuda, graph: bool, copies: int) -> None:
    calls = [call(cuda, torch.zeros(1)) for _ in range(copies)]
    sample = CudaTimer(graph).sampler(calls)
    assert sample() == sample() == 1.0


def test_a_graph_keeps_alive_what_it_reads(cuda: Cuda) -> None:
    weights = [torch.zeros(1) for _ in range(3)]
    watched = [weakref.ref(weight) for weight in weights]
    sample = CudaTimer(graph=True).sampler([call(cuda, weight) for weight in weights])
    del weights
    gc.collect()
    assert sample() == 1.0
    del sample
    gc.collect()
    assert all(weight() is None for weight in watched), "and nothing of it is kept afterwards"


def test_the_device_of_the_calls_is_the_one_that_is_timed(cuda: Cuda) -> None:
    for graph in (False, True):
        CudaTimer(graph, torch.device("cuda:1")).sampler([call(cuda, torch.zeros(1))])()
    assert set(cuda.devices) == {1}
    assert cuda.device == 0


def test_a_capture_that_fails_leaves_the_stream_as_it_was(cuda: Cuda) -> None:
    def waits() -> Tensor:
        if cuda.recording is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return torch.zeros(1)

    with pytest.raises(RuntimeError, match="capture"):
        CudaTimer(graph=True).sampler([waits])
    assert (cuda.stream, cuda.recording) == ("default", None)
    assert CudaTimer(graph=True).sampler([call(cuda, torch.zeros(1))])() == 1.0

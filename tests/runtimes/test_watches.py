"""What watches say of layers: exact on a clock that moves where a module says so, and the answer as without one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from watched_networks import networks

from recipelang.runtimes import eager
from recipelang.runtimes.module_watch import CpuCuts, ModuleWatch, watch_of
from recipelang.surgery.deployed import deployed


class Clock:
    """Seconds that pass only where a module works."""

    def __init__(self) -> None:
        self.time = self.waits = 0.0

    def now(self) -> float:
        return self.time

    def waited(self) -> float:
        return self.waits


class Work(nn.Module):
    """Takes seconds, and waits for some of them."""

    def __init__(self, clock: Clock, seconds: float, waits: float = 0.0) -> None:
        super().__init__()
        self.clock, self.seconds, self.waits = clock, seconds, waits

    def forward(self, x: Tensor) -> Tensor:
        self.clock.time += self.seconds + self.waits
        self.clock.waits += self.waits
        return x + 1


class Block(nn.Module):
    """Works itself before, between and after two calls of one layer and one of another."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.twice, self.once, self.clock = Work(clock, 0.2), nn.Sequential(Work(clock, 0.3, waits=5.0)), clock

    def forward(self, x: Tensor) -> Tensor:
        self.clock.time += 0.01
        x = self.twice(self.twice(x))
        self.clock.time += 0.02
        x = self.once(x)
        self.clock.time += 0.04
        return x


def test_pieces_belong_to_the_innermost_module_and_add_up_to_the_call() -> None:
    """By hand: 0.01 + 0.02 + 0.04 are the block's own, 2 · 0.2 of one layer, 0.3 of the other; waiting is nobody's."""
    clock = Clock()
    module = nn.Sequential(Work(clock, 1.0), Block(clock)).eval()
    watch = ModuleWatch(module, CpuCuts(clock.now, clock.waited))
    for calls in (1, 3):
        watch.sample(torch.zeros(1), calls)
    seen = watch.finish()
    expected = {"": 0.0, "0": 1.0, "1": 0.07, "1.twice": 0.4, "1.once.0": 0.3}
    assert list(seen.seconds) == ["", "0", "1", "1.twice", "1.once.0"]
    for layer, seconds in expected.items():
        assert list(seen.seconds[layer]) == pytest.approx([seconds, seconds])
    assert seen.calls == {"": 1, "0": 1, "1": 1, "1.twice": 2, "1.once.0": 1}
    assert seen.kinds["1.twice"] == "Work" and seen.kinds["1"] == "Block"


def test_a_layer_that_is_reached_sometimes_only_has_a_number_for_every_sample() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.turn = nn.ReLU(), nn.Tanh(), itertools.count()

        def forward(self, x: Tensor) -> Tensor:
            return (self.a, self.b)[next(self.turn) % 2](x)

    watch = ModuleWatch(Sometimes(), CpuCuts())
    for _ in range(4):
        watch.sample(torch.zeros(1), 1)
    assert {layer: len(row) for layer, row in watch.finish().seconds.items()} == {"": 4, "a": 4, "b": 4}


def test_a_module_that_fails_is_as_it_was() -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    module = nn.Sequential(nn.ReLU(), Failing())
    watch = ModuleWatch(module, CpuCuts())
    with pytest.raises(ValueError, match="no"):
        watch.sample(torch.zeros(1), 1)
    assert all("forward" not in part.__dict__ for part in module.modules())
    assert watch.cuts.owner is None


@pytest.mark.parametrize("name", list(networks()))
def test_the_answer_is_that_of_a_call_without_a_watch(name: str) -> None:
    module = deployed(networks()[name])
    images, watch = torch.randn(2, 16, 8, 8), watch_of(module, torch.device("cpu"))
    with torch.inference_mode():
        before, answers = module(images), []
        handle = module.register_forward_hook(lambda _, __, answer: answers.append(answer))
        watch.sample(images, 2)
        handle.remove()
    assert all(torch.equal(answer, before) for answer in answers) and len(answers) == 2
    assert all("forward" not in part.__dict__ for part in module.modules())


@pytest.mark.parametrize("name", list(networks()))
def test_torchs_profiler_sees_the_same_modules_called_as_often(name: str) -> None:
    """A second opinion on structure: every module that computes has a span of its own in torch's profiler."""
    module = deployed(networks()[name])
    images, watch = torch.randn(2, 16, 8, 8), watch_of(module, torch.device("cpu"))
    spans: list[Any] = []

    def named(path: str) -> None:
        part = module.get_submodule(path)
        part.register_forward_pre_hook(lambda *_: spans.append(torch.profiler.record_function(path).__enter__()))
        part.register_forward_hook(lambda *_: spans.pop().__exit__(None, None, None))

    with torch.inference_mode():
        watch.sample(images, 1)
        seen = watch.finish()
        if name == "attending":  # hooks make torch leave the fast path, in which attention is one function
            assert "encoder.layers.0" in seen.seconds and "encoder.layers.0.linear1" not in seen.seconds
            return
        paths = [path for path in seen.seconds if path]
        for path in paths:
            named(path)
        with torch.profiler.profile() as profile:
            module(images)
    theirs = {event.key: event.count for event in profile.key_averages() if event.key in paths}
    assert theirs == {path: seen.calls[path] for path in paths} and theirs


def test_a_network_of_torch_has_a_watch() -> None:
    ready = eager.prepare(networks()["mlp"])
    watch = ready.watch()
    with torch.inference_mode():
        watch.sample(torch.randn(1, 16, 8, 8), 1)
    watch.close()
    assert list(watch.finish().seconds) == ["", "0", "1", "2", "3"]


def test_pieces_on_a_gpu_lie_between_two_events_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, on events that read a synthetic clock: the same pieces as on a CPU, and one event a cut."""
    clock, recorded = Clock(), list[Any]()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            self.at = clock.time
            recorded.append(stream)

        def elapsed_time(self, later: Any) -> float:
            return 1000.0 * (later.at - self.at)  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    module = nn.Sequential(Work(clock, 1.0), Block(clock)).eval()
    watch = watch_of(module, torch.device("cuda"))
    for _ in range(2):
        watch.sample(torch.zeros(1), 2)
    seen = watch.finish()
    watch.close()
    expected = {"": 0.0, "0": 1.0, "1": 0.07, "1.twice": 0.4, "1.once.0": 5.3}  # nothing on a GPU waits for a core
    for layer, seconds in expected.items():
        assert list(seen.seconds[layer]) == pytest.approx([seconds, seconds])
    assert set(recorded) == {"stream of cuda"} and len(recorded) == 2 * 2 * 2 * 6

"""Which runtime times a network that `accelerate` gave several: the fastest, chosen once; others have reasons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recipelang import extras
from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.methods.metrics.latency import Latency
from recipelang.methods.metrics.top1 import Top1
from recipelang.methods.runtimes.onnxruntime import OnnxRuntime
from recipelang.methods.runtimes.openvino import OpenVino
from recipelang.run import chosen as room
from recipelang.run.chosen import chosen
from recipelang.run.store import Store
from recipelang.surgery.network import Accelerated, Network

ALL = ("onnxruntime", "openvino", "torch")


@dataclass
class Bench:
    """Prepares nothing: a runtime is called by its name, and some refuse."""

    store: Store
    refused: tuple[str, ...] = ()
    prepared: list[str] = field(default_factory=list)

    def prepare(self, metric: Any, network: Network) -> Any:
        name = metric.runtime.name
        if name in self.refused:
            raise Refusal("RCP1029", f"{name} cannot execute the network", "")
        self.prepared.append(name)
        return name


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """On which OpenVINO takes 1 ms, onnxruntime 2 ms and torch 9 ms."""
    seconds = {"openvino": 1e-3, "onnxruntime": 2e-3, "torch": 9e-3}
    monkeypatch.setattr(room, "typical", lambda ready, *_: [seconds[name] for name in ready])
    monkeypatch.setattr(extras, "absent", lambda libraries: [])
    return Bench(Store(tmp_path))


def network(runtimes: tuple[str, ...] = ALL) -> Network:
    torch.manual_seed(0)
    plain = Network(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), {}, (1, 2, 2))
    return replace(plain, accelerated=Accelerated((), ("dense",), "latency", runtimes=runtimes))


def test_the_fastest_is_chosen_and_the_others_are_named(bench: Bench) -> None:
    found = chosen(Latency(batch=4), network(), bench)
    assert found.metric == Latency(batch=4, runtime=OpenVino())
    assert found.among == "chosen from openvino 1 ms, onnxruntime 2 ms, torch 9 ms"


def test_the_note_says_what_healthy_takes_in_the_same_runtime(bench: Bench) -> None:
    measured = Measurement(1e-3, 1e-3, 1e-3, ratio=0.25, note="batch of 4")
    told = chosen(Latency(batch=4), network(), bench).noted(measured)
    assert told.note.startswith("batch of 4; executed by openvino, and so is healthy in the ratio: 4 ms; chosen from ")
    assert replace(told, note=measured.note) == measured
    assert chosen(Latency(), network(()), bench).noted(measured) is measured


def test_a_runtime_without_a_choice_has_no_time_that_nobody_measured(bench: Bench) -> None:
    found = chosen(Latency(), network(("torch",)), bench)
    assert found.among.endswith("chosen from torch alone")


def test_it_is_chosen_once_for_each_way_of_calling(bench: Bench) -> None:
    for metric, times in ((Latency(), 1), (Latency(), 1), (Latency(batch=8), 2), (Latency(threads=2), 3)):
        chosen(metric, network(), bench)
        assert bench.prepared.count("torch") == times
    other = network(("torch", "openvino"))
    chosen(Latency(), other, bench)
    assert bench.prepared.count("torch") == 4, "other runtimes are another choice"


def test_a_runtime_that_cannot_is_left_out_with_its_reason(bench: Bench) -> None:
    bench.refused = ("openvino",)
    found = chosen(Latency(), network(), bench)
    assert found.metric.runtime == OnnxRuntime() and "not openvino: openvino cannot execute the network" in found.among
    assert chosen(Latency(), network(), bench) == found, "the reason is in the store, too"
    on_gpu = chosen(Latency(device="cuda"), network(), bench)
    assert on_gpu.metric == Latency(device="cuda") and "onnxruntime executes on cpu only" in on_gpu.among


def test_a_library_that_is_missing_is_a_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "absent", lambda libraries: ["openvino"] if "openvino" in libraries else [])
    found = chosen(Latency(), network(), bench)
    assert found.metric.runtime == OnnxRuntime() and "needs openvino, and it is not installed" in found.among


def test_where_none_can_the_reasons_are_told(bench: Bench) -> None:
    bench.refused = ("openvino", "onnxruntime")
    with pytest.raises(Refusal, match="none of the runtimes .*: onnxruntime: .*; openvino: ") as caught:
        chosen(Latency(), network(("onnxruntime", "openvino")), bench)
    assert caught.value.code == "RCP1461" and "`torch`" in caught.value.help


def test_nothing_is_chosen_where_a_runtime_is_named_or_nothing_is_timed(bench: Bench) -> None:
    named = Latency(runtime=OnnxRuntime())
    for metric in (named, Top1()):
        assert chosen(metric, network(), bench) == room.Chosen(metric)
    assert chosen(Latency(), network(()), bench) == room.Chosen(Latency())
    assert bench.prepared == []


def test_the_choice_is_read_from_artifacts_and_older_ones_have_none() -> None:
    told = network().accelerated
    assert told is not None and Accelerated.read(told.json()) == told
    older = {"layers": ["a"], "kernels": ["dense"], "goal": "latency", "int8": False}
    assert Accelerated.read(older) == Accelerated(("a",), ("dense",), "latency")
    assert Accelerated(("a",), ("dense",), "latency").json() == older

"""Every runtime keeps the contract of its kind; none is exempt, because the catalogue is walked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from recipelang import extras
from recipelang.catalogue import find, names
from recipelang.errors import Refusal, SettingError
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kinds import PRECISIONS, Deployment, Finding, LayerExecution, Runtime
from recipelang.methods.metrics.latency import Latency
from recipelang.methods.patterns.nm import NM
from recipelang.plan import canonical
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input

RUNTIMES = names("runtime")


def made(name: str) -> Runtime:
    runtime: Any = find("runtime", name)
    return runtime()


def sparse(network: Network) -> Network:
    """With a layer removed and another masked."""
    smaller = apply_edits(network, [RemoveLayer("layer1.2", ("layer1.2",))])
    weight = smaller.module.linear.weight.detach()
    masked = sparsify(smaller, NM(), {"linear.weight": weight.abs()})
    assert torch.equal(masked.masks["linear.weight"].keep, nm_mask(weight.abs(), 2, 4))
    return masked


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_executes_what_the_network_computes_and_says_how(name: str, digits: Network) -> None:
    network = sparse(digits)
    network.module.train()
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    ready = made(name).prepare(network, Deployment(batch=3, threads=1))
    assert network.module.training, "the network is left alone"
    assert all(torch.equal(value, before[key]) for key, value in network.module.state_dict().items())
    images = example_input(network, 3)
    with evaluating(network.module):
        torch.testing.assert_close(ready(images), network.module(images), rtol=1e-3, atol=1e-3)
    rows = ready.execution()
    assert all(isinstance(row, LayerExecution) and row.why for row in rows)
    found = {row.layer: row.executes for row in rows}
    assert found["layer1.2"] == "removed" and found["linear"] == "masked only" and found["conv1"] == "dense"


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_says_what_decides_its_speed_and_what_is_here(name: str, digits: Network) -> None:
    runtime = made(name)
    runtime.require()
    versions = runtime.versions(digits)
    assert versions and all(isinstance(value, str | int | list) for value in versions.values())
    assert all(isinstance(row, Finding) and row.value for row in runtime.findings())
    assert runtime.devices and set(runtime.precisions) <= set(PRECISIONS)


@pytest.mark.parametrize("name", RUNTIMES)
def test_what_a_runtime_cannot_do_is_refused_where_it_is_written(name: str) -> None:
    runtime = made(name)
    for precision in set(PRECISIONS) - set(runtime.precisions):
        with pytest.raises(SettingError, match=name):
            Latency(precision=precision, runtime=runtime)
    if "cuda" not in runtime.devices:
        with pytest.raises(SettingError, match="executes on cpu only"):
            Latency(device="cuda:1", runtime=runtime)
    if not runtime.compiles:
        with pytest.raises(SettingError, match="no other way of compiling"):
            Latency(compiled=True, runtime=runtime)


def test_the_default_runtime_changes_no_key_and_another_does() -> None:
    assert "runtime" not in canonical(Latency())
    assert canonical(Latency(runtime=made("onnxruntime"))) != canonical(Latency())


def test_a_library_that_is_missing_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch, digits: Network) -> None:
    monkeypatch.setattr(extras, "absent", lambda libraries: ["onnx", "onnxscript", "onnxruntime"])
    for act in (
        lambda: made("onnxruntime").prepare(digits, Deployment()),
        lambda: made("onnxruntime").versions(digits),
        lambda: find("export", "onnx")().require(),  # type: ignore[misc]
    ):
        with pytest.raises(Refusal, match="onnx, onnxscript and onnxruntime, and they are not installed") as refused:
            act()
        assert refused.value.code == "RCP1027"
        assert 'pip install "recipelang[onnxruntime]"' in refused.value.help


@dataclass(frozen=True)
class Counting:
    """Calls that were made, for the contract of what a clock times."""

    calls: list[int]
    note: str = ""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(inputs))
        return inputs


def test_the_clock_times_whatever_can_be_called() -> None:
    mine, theirs = Counting([]), Counting([])
    measured = replace(Latency(), batch=5).glance(mine, theirs, (1, 2, 2))  # type: ignore[arg-type]
    assert measured.n >= 8 and set(mine.calls) == set(theirs.calls) == {5}

"""Inputs that are whole numbers: what a data set may give, and everything that makes or changes inputs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.access import reading
from recipelang.images.disturbed import disturbed
from recipelang.images.parts import part
from recipelang.images.view import Relabelled
from recipelang.kinds import FLOATING, Deployment, Inputs, Preprocessing, Shift, inputs_of, why_unfit
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Selection
from recipelang.run.states import architecture
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import rank
from recipelang.surgery import artifact
from recipelang.surgery.network import Network, content
from recipelang.surgery.tracing import example, example_input
from recipelang.training.teachers import translated

IDS, LENGTH = 24, 8  # of `toy`
UNITS, CRITERIA = catalogue.names("unit"), catalogue.names("criterion")
COUNTED = [name for name in catalogue.names("metric") if catalogue.find("metric", name).source == "structure"]  # type: ignore[union-attr]


def fitting(criterion: str) -> tuple[str, ...]:
    """The units that a criterion can rank."""
    found: Any = catalogue.find("criterion", criterion)
    return tuple(u for u in UNITS if not why_unfit(found, u, catalogue.find("unit", u).scores))  # type: ignore[union-attr]


#: every criterion with the first unit that it can rank, and every unit with one criterion
WALKED = sorted({*((fitting(c)[0], c) for c in CRITERIA if fitting(c)), *((u, "magnitude") for u in UNITS)})


def opens(tmp_path: Path, sample: str) -> Any:
    """Data of which sample k is an expression."""
    (tmp_path / "data.py").write_text(f"""
import numpy, torch
class Data:
    def __len__(self): return 20
    def __getitem__(self, k):
        if k >= 20: raise IndexError(k)
        return {sample}, k % 2
def build(): return Data()
""")
    with reading(trust=True):
        return catalogue.find("data", "python")("data.py:build", batch=4).open(lambda text: tmp_path / text)  # type: ignore[misc]


@pytest.mark.parametrize(
    "sample",
    [
        "torch.tensor([k, 3, 0])",
        "torch.tensor([k, 3, 0], dtype=torch.int32)",
        "torch.tensor([k, 3, 0], dtype=torch.int16)",
        "numpy.array([k, 3, 0])",
    ],
)
def test_samples_may_be_whole_numbers(tmp_path: Path, sample: str) -> None:
    data = opens(tmp_path, sample)
    assert inputs_of(data) == Inputs(20) and str(data.inputs) == "whole numbers below 20"
    inputs, targets = next(iter(data.batches("train")))
    assert inputs.dtype == targets.dtype == torch.int64 and inputs.shape == (4, 3) and data.input_shape == (3,)
    assert data.fingerprint != opens(tmp_path, "torch.tensor([k, 3, 1])").fingerprint
    for derived in (part(data, torch.arange(8).numpy()), Relabelled(data, ("0", "1"), (0, 1))):
        assert inputs_of(derived) == Inputs(20)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("torch.tensor([k, -3])", "holds the whole number -3"),
        ("torch.tensor([k, 2**24])", "holds the whole number 16777216"),
        ("torch.tensor([k, 3]).byte()", "is a tensor of uint8"),
        ("torch.tensor([k, 3]).bool()", "is a tensor of bool"),
        ("torch.tensor(k)", "not a tensor of floating-point numbers"),
        ("torch.tensor([k, 3]) if k else torch.rand(2)", "some inputs are floating-point numbers, others whole"),
    ],
)
def test_other_numbers_are_refused(tmp_path: Path, sample: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        opens(tmp_path, sample)
    assert refusal.value.code == "RCP0845"


def test_a_sample_that_changes_its_kind_is_refused(tmp_path: Path) -> None:
    data = opens(tmp_path, "torch.tensor([k, 3])")
    for other in (torch.rand(2), torch.tensor([0, 20])):
        changed = replace(data, fetch=lambda *_, other=other: (other, 0))
        with pytest.raises(Refusal, match="holds other numbers than when the data was opened"):
            next(iter(changed.batches("train")))


def test_data_that_does_not_say_is_floating_point() -> None:
    assert inputs_of(object()) is FLOATING and str(FLOATING) == "floating-point numbers"


def test_examples_are_what_inputs_are(toy: SimpleNamespace) -> None:
    network: Network = toy.network
    assert toy.data.inputs == network.inputs == Inputs(IDS) and network.source["ids"] == IDS
    given = example_input(network, 50)
    assert given.dtype == torch.int64 and given.shape == (50, LENGTH) and torch.equal(given, example_input(network, 50))
    assert (int(given.min()), int(given.max())) == (0, IDS - 1)
    assert example(nn.Identity(), (3,)).dtype == torch.float32


def test_a_network_that_has_no_such_ids_is_refused(toy: SimpleNamespace) -> None:
    from recipelang.kinds import ModelRequest

    request = ModelRequest(("a", "b", "c"), (LENGTH,), lambda t: toy.folder / t, True, inputs=Inputs(100))
    with pytest.raises(Refusal, match="does not take inputs of 8 whole numbers") as refusal:
        catalogue.find("model", "python")("net.py:build").build(request)  # type: ignore[misc]
    assert refusal.value.code == "RCP0713" and "embedding" in refusal.value.help


def test_an_artifact_says_it(toy: SimpleNamespace, tmp_path: Path) -> None:
    network: Network = toy.network
    artifact.save(network, tmp_path)
    artifact.require_readable(network, tmp_path)
    told = json.loads((tmp_path / "model.json").read_text())
    assert told["format"] == "recipelang.model/4" and told["ids"] == IDS  # earlier versions refuse it
    assert artifact.load(tmp_path, trust=True).inputs == Inputs(IDS)
    fewer = replace(network, inputs=Inputs(5))
    assert content(fewer) != content(network) and architecture(fewer) != architecture(network)
    told["ids"] = -1
    (tmp_path / "model.json").write_text(json.dumps(told))
    with pytest.raises(Refusal) as refusal:
        artifact.load(tmp_path, trust=True)
    assert refusal.value.code == "RCP0714"


@pytest.mark.parametrize(("unit_name", "criterion_name"), WALKED)
def test_every_criterion_ranks_every_unit(toy: SimpleNamespace, unit_name: str, criterion_name: str) -> None:
    unit: Any = catalogue.find("unit", unit_name)()  # type: ignore[misc]
    criterion: Any = catalogue.find("criterion", criterion_name)()  # type: ignore[misc]
    offer = unit.find(toy.network, Selection())
    evidence = Gathered(
        toy.network, toy.data, Classification(), offer.groups, unit.ranks, criterion.needs,
        edits=partial(unit.edits, toy.network, offer), samples=16,
    )  # fmt: skip
    if criterion_name == "hrank":  # needs maps H×W, as of images
        with pytest.raises(Refusal, match="that the criterion could score"):
            rank(criterion, unit, evidence, offer.groups)
        return
    ranking = rank(criterion, unit, evidence, offer.groups)
    assert {step.group for step in ranking.steps} == {group.name for group in offer.groups} - set(ranking.unscored)
    gone = {offer.groups[0].name: list(range(offer.groups[0].first))}
    removed, stays = unit.remove(toy.network, offer, gone)
    assert not stays and removed.inputs == toy.network.inputs
    assert removed.module(example_input(removed)).shape == (2, 3)


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_counted_is_counted(toy: SimpleNamespace, name: str) -> None:
    from recipelang.surgery.deployed import deployed

    metric: Any = catalogue.find("metric", name)()  # type: ignore[misc]
    found = metric.measure(deployed(toy.network), toy.network, toy.network.input_shape)
    assert found.value >= 0 and "not counted" not in found.note


@pytest.mark.parametrize("runtime", catalogue.names("runtime"))
def test_every_runtime_executes_it(toy: SimpleNamespace, runtime: str) -> None:
    method: Any = catalogue.find("runtime", runtime)()  # type: ignore[misc]
    try:
        method.require()
    except Refusal as refusal:
        pytest.skip(refusal.message)
    ready = method.prepare(toy.network, Deployment(batch=3))
    assert inputs_of(ready) == Inputs(IDS)
    given = example_input(toy.network, 3)
    torch.testing.assert_close(ready(given), toy.network.module.eval()(given), rtol=1e-4, atol=1e-5)
    for name in ("latency", "throughput", "profile"):
        metric: Any = catalogue.find("metric", name)  # type: ignore[assignment]
        if name == "profile" and not getattr(method, "watches", False):
            continue
        assert metric(batch=3, runtime=method).example((LENGTH,), inputs_of(ready)).dtype == torch.int64
    if "float16" in method.precisions or "bfloat16" in method.precisions:
        half = method.prepare(toy.network, Deployment(batch=3, precision="bfloat16"))
        assert half(given).dtype == torch.bfloat16


def test_what_makes_or_changes_floating_point_inputs_is_refused(toy: SimpleNamespace) -> None:
    for name in catalogue.names("source"):
        with pytest.raises(Refusal, match="whole numbers below 24"):
            catalogue.find("source", name)().require_network(toy.network)  # type: ignore[misc]
    with pytest.raises(Refusal, match="only images can be blurred or noisy"):
        disturbed(toy.data, Shift(blur=1.0))
    with pytest.raises(Refusal):
        catalogue.find("export", "activation_maps")().require_network(toy.network)  # type: ignore[misc]


def test_a_teacher_reads_the_same_kind_of_numbers(toy: SimpleNamespace) -> None:
    named = replace(toy.network, classes=("a", "b", "c"))
    turned = replace(toy.network, classes=("c", "b", "a"))
    teacher, _ = translated(turned, named, "big")
    given = example_input(named)
    torch.testing.assert_close(teacher.module.eval()(given), toy.network.module.eval()(given).flip(1))
    images = replace(named, inputs=FLOATING, preprocessing=Preprocessing((8, 8), (0.0,), (1.0,)))
    with pytest.raises(Refusal, match="the teacher `big` reads floating-point numbers") as refusal:
        translated(images, named, "big")
    assert refusal.value.code == "RCP0914"

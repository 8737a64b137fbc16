"""Quantized networks as programs: the recipe's integers and scales, what executes in integers, and how near it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from residual_block import answers, plain, quantized

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import Deployment
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes import onnx_integers
from recipelang.runtimes.eager import prepare as prepare_torch
from recipelang.runtimes.onnx_compared import distance
from recipelang.runtimes.onnx_executable import prepare
from recipelang.runtimes.onnx_integers import grids
from recipelang.runtimes.onnx_session import Session
from recipelang.surgery.deployed import deployed
from recipelang.surgery.folding import folded
from recipelang.surgery.masks import sparsify
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.tracing import example_input

onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')


@pytest.fixture(scope="module")
def ready() -> Any:
    """What onnxruntime executes of the quantized network."""
    return prepare(quantized(plain()), Deployment(batch=2))


def test_the_answer_is_that_of_the_simulated_network(ready: Any) -> None:
    network = quantized(plain())
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    simulated, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    apart = distance(simulated, exact)
    assert 1e-3 < apart < 0.2
    assert distance(answers(ready, images), simulated) < apart
    assert distance(answers(Session(ready.program, optimised=False), images), simulated) < apart / 2


def test_integers_and_scales_are_those_of_the_recipe(ready: Any) -> None:
    network = quantized(plain())
    after = folded(network)
    graph = onnx.load_from_string(ready.program).graph
    held = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    scales = {node.input[0]: held[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    turned = 0
    for place in ("stem.weight", "one.weight", "two.weight", "linear.weight"):
        codes = grids(network)[place].codes(network.module.get_parameter(place).detach()).numpy()
        written = held[f"{place}.integers"]
        assert written.dtype == numpy.int8
        assert numpy.array_equal(abs(written), abs(codes)), "a negative factor turns signs and changes nothing else"
        turned += int((written != codes).any())
        assert numpy.allclose(scales[f"{place}.integers"], grids(after)[place].scale.numpy())
    assert turned == 3, "the norms have negative factors"


def test_what_executes_in_integers_is_told_and_the_rest_says_why(ready: Any) -> None:
    rows = {row.layer: row for row in ready.execution()}
    assert {rows[name].executes for name in ("stem", "one", "two")} == {"int8"}
    assert "QLinearConv" in rows["one"].why
    assert rows["linear"].executes in ("int8", "float32") and rows["linear"].why
    activations = [place for place in grids(quantized(plain())) if not is_parameter(place)]
    nodes = [node.op_type for node in onnx.load_from_string(ready.program).graph.node]
    assert nodes.count("QuantizeLinear") > len(activations) >= 5, "what is moved is said to be on the same grid"
    torch_rows = {row.executes for row in prepare_torch(quantized(plain())).execution()}
    assert torch_rows == {"8 bits simulated"}


def test_zeros_of_a_mask_are_zeros_of_the_program() -> None:
    network = plain()
    masked = sparsify(network, NM(), {"two.weight": network.module.two.weight.detach().abs()})
    program = onnx.load_from_string(prepare(quantized(masked), Deployment()).program)
    (codes,) = [onnx.numpy_helper.to_array(v) for v in program.graph.initializer if v.name == "two.weight.integers"]
    assert not codes[~masked.masks["two.weight"].keep.numpy()].any() and codes.any()


@pytest.mark.parametrize(("bits", "executes"), [(4, "float32"), (12, "float32")])
def test_other_numbers_of_bits_are_computed_as_they_are(bits: int, executes: str) -> None:
    network = quantized(plain(), bits)
    ready = prepare(network, Deployment())
    images = 3 * torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(5))  # beyond the grids
    simulated, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    assert distance(answers(ready, images), simulated) <= distance(simulated, exact)
    rows = {row.layer: row for row in ready.execution()}
    assert rows["one"].executes == executes and rows["one"].why


def test_weights_alone_are_stored_as_integers_and_multiplied_in_float32() -> None:
    network = quantized(plain(), parts=("weights",))
    ready = prepare(network, Deployment())
    images = example_input(network, 8)
    assert distance(answers(ready, images), answers(deployed(network), images)) < 1e-5
    assert {row.executes for row in ready.execution()} == {"float32"}


@pytest.mark.parametrize("axis", [None, 1])
def test_codebooks_are_float32_numbers_and_comparisons(axis: int | None) -> None:
    network = quantized(plain())
    draws = torch.Generator().manual_seed(2)
    place = next(place for place, one in grids(network).items() if place.startswith(":relu"))
    books = {
        "one.weight": Codebook.of(torch.randn(16, 3, generator=draws) / 10, axis=0),
        "two.weight": Codebook.of(torch.tensor([-0.1, 0.1])),
        place: Codebook.of(3 * torch.rand((8, 4) if axis else 4, generator=draws), axis),
    }
    network = network.restricted(books)
    ready, images = prepare(network, Deployment()), example_input(network, 8)
    simulated = answers(deployed(network), images)
    assert distance(answers(Session(ready.program, optimised=False), images), simulated) < 0.05
    rows = {row.layer: row for row in ready.execution()}
    assert {rows[name].executes for name in ("one", "two")} == {"float32"} and "codebooks" in rows["one"].why


def test_a_restriction_without_a_form_is_refused() -> None:
    network = replace(plain(), restrictions={"one.weight": (SimpleNamespace(kind="lattice", computes=True),)})
    with pytest.raises(Refusal, match="the lattice of `one.weight` has no form there") as caught:
        onnx_integers.rounds(network)
    assert caught.value.code == "RCP0716"


def test_a_program_with_another_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_integers._numbers
    monkeypatch.setattr(onnx_integers, "_numbers", lambda grid: (real(grid)[0] * 4, real(grid)[1]))
    with pytest.raises(Refusal, match="answers are .* from the network's") as caught:
        prepare(quantized(plain()), Deployment())
    assert caught.value.code == "RCP1028"


def test_the_file_is_smaller_and_any_batch_runs(tmp_path: Path) -> None:
    write = find("export", "onnx")().write  # type: ignore[misc]
    (small,), (large,) = write(quantized(plain()), tmp_path / "a"), write(plain(), tmp_path / "b")
    stored = [sum(len(v.raw_data) for v in onnx.load(path).graph.initializer) for path in (small, large)]
    assert stored[0] < 0.45 * stored[1]
    session = Session(small.read_bytes())
    assert [len(session(torch.zeros(n, 3, 16, 16))) for n in (1, 4)] == [1, 4]
    assert b"/recipelang" not in small.read_bytes() and str(Path.cwd()).encode() not in small.read_bytes()


def test_the_network_is_left_alone() -> None:
    network = quantized(plain())
    network.module.train()
    before = {name: value.clone() for name, value in network.tensors().items()}
    prepare(replace(network), Deployment())
    assert network.module.training and all(torch.equal(v, before[n]) for n, v in network.tensors().items())


def test_a_quantized_network_is_refused_as_pt2_with_the_format_that_holds_it(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="rounding of quantized networks") as caught:
        find("export", "pt2")().write(quantized(plain()), tmp_path)  # type: ignore[misc]
    assert caught.value.code == "RCP0716" and "export onnx" in caught.value.help


def test_a_network_that_overflows_without_its_grids_is_compared_all_the_same() -> None:
    network = quantized(plain())
    with torch.no_grad():
        for weight in (network.module.one.weight, network.module.two.weight):
            weight.mul_(1e30)  # the ends of the grid hold it
    images = example_input(network, 4)
    bare = deployed(replace(network, restrictions={}))
    with torch.no_grad():
        assert not bare(images).isfinite().all()
        assert distance(prepare(network, Deployment())(images), deployed(network)(images)) < 0.5

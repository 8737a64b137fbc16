"""Every kind of restriction goes everywhere a network goes: what cannot have it refuses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_state import EXAMPLES, PLACE, same
from torch import Tensor

from recipelang import load
from recipelang.catalogue import find, names
from recipelang.errors import Refusal
from recipelang.kinds import Deployment
from recipelang.measuring.structure import stored_bytes
from recipelang.run.states import architecture
from recipelang.runtimes.eager import prepare as prepare_torch
from recipelang.runtimes.layers import plain
from recipelang.surgery import artifact
from recipelang.surgery.deployed import deployed
from recipelang.surgery.folding import folded
from recipelang.surgery.gating import require_no_grids
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.simulated import computing, require_places
from recipelang.surgery.tracing import example_input

KINDS = sorted(EXAMPLES)


def restricted(digits: Network, kind: str) -> Network:
    """With a restriction of this kind at a weight."""
    return restrict(digits, {PLACE: EXAMPLES[kind][0]()})


def examples(*kinds: str) -> list[Any]:
    """A restriction of each kind, all for one weight: what the mask sets to zero has no shared value."""
    made = {kind: EXAMPLES[kind][0]() for kind in kinds}
    if {"mask", "shared"} <= made.keys():
        codes = made["shared"].codes.masked_fill(~made["mask"].keep, -1)
        made["shared"] = replace(made["shared"], codes=codes)
    return [made[kind] for kind in kinds]


def answer(module: Any, network: Network) -> Tensor:
    with torch.no_grad():
        found: Tensor = module(example_input(network, 4))
    return found


def test_every_kind_is_here() -> None:
    assert set(KINDS) == set(names("restriction"))


@pytest.mark.parametrize("kind", KINDS)
def test_folding_changes_no_answer(kind: str, digits: Network) -> None:
    network = restricted(digits, kind)
    simulated = answer(deployed(network), network)
    ready = folded(network)
    assert torch.allclose(answer(deployed(ready), network), simulated, atol=1e-4 * float(simulated.abs().max()))
    (before,), (after,) = network.restrictions[PLACE], ready.restrictions[PLACE]
    assert type(after) is type(before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_artifact_holds_it_and_loads_without_code(kind: str, digits: Network, tmp_path: Path) -> None:
    network = restricted(digits, kind)
    find("export", "safetensors")().write(network, tmp_path)  # type: ignore[misc]
    assert same(artifact.load(tmp_path), network)
    assert torch.equal(answer(load(tmp_path), network), answer(deployed(network), network))


@pytest.mark.parametrize("kind", KINDS)
def test_pt2_writes_what_does_not_compute_and_refuses_the_rest(kind: str, digits: Network, tmp_path: Path) -> None:
    network = restricted(digits, kind)
    if not computing(network.restrictions):
        assert find("export", "pt2")().write(network, tmp_path)  # type: ignore[misc]
        return
    with pytest.raises(Refusal) as refused:
        find("export", "pt2")().write(network, tmp_path)  # type: ignore[misc]
    assert refused.value.code == "RCP0716" and "export onnx" in refused.value.help


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_computes_the_same_and_says_how(kind: str, digits: Network) -> None:
    pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')
    from recipelang.runtimes.onnx_executable import prepare

    network = restricted(digits, kind)
    ready = prepare(network, Deployment(batch=4))
    expected = answer(deployed(network), network)
    assert torch.allclose(ready(example_input(network, 4)), expected, atol=1e-3 * float(expected.abs().max()))
    (row,) = [row for row in ready.execution() if row.layer == PLACE.removesuffix(".weight")]
    assert row.executes in {"float32", "masked only", "dense"} and row.why


@pytest.mark.parametrize("kind", KINDS)
def test_torch_says_how_it_executes(kind: str, digits: Network) -> None:
    network = restricted(digits, kind)
    ready = prepare_torch(network)
    rounds = bool(computing(network.restrictions))
    (row,) = [row for row in ready.execution() if row.layer == PLACE.removesuffix(".weight")]
    assert row.executes.endswith("simulated") == rounds == bool(ready.note) == (not plain(network))
    assert torch.equal(answer(ready, network), answer(deployed(network), network))


@pytest.mark.parametrize("kind", KINDS)
def test_size_counts_it(kind: str, digits: Network) -> None:
    network = restricted(digits, kind)
    whole, weight = stored_bytes(digits.module), network.module.get_parameter(PLACE)
    (one,) = network.restrictions[PLACE]
    stored = one.stored(weight)
    dense = 4 * weight.numel()
    assert stored_bytes(network.module, network.restrictions) == whole - dense + (dense if stored is None else stored)
    assert stored is None or stored < dense


@pytest.mark.parametrize("kind", KINDS)
def test_channels_leave_with_it(kind: str, digits: Network) -> None:
    """Removal cuts it with its parameter, and speed is decided by what of it computes."""
    network = restricted(digits, kind)
    (one,) = network.restrictions[PLACE]
    weight = network.module.get_parameter(PLACE)
    cut = one.carried(weight.shape, lambda tensor: tensor[4:, 2:])
    assert cut.why_not(weight[4:, 2:]) == ""
    if kind != "dynamic":  # the range of a part is another one
        assert torch.equal(cut.apply(one.apply(weight)[4:, 2:]), one.apply(weight)[4:, 2:])
    assert (architecture(network) != architecture(replace(network, restrictions={}))) == one.computes


@pytest.mark.parametrize("kind", KINDS)
def test_gates_are_refused_where_it_computes(kind: str, digits: Network) -> None:
    network = restricted(digits, kind)
    if computing(network.restrictions):
        with pytest.raises(Refusal):
            require_no_grids(network, "joint")
    else:
        require_no_grids(network, "joint")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_only_one_computes_at_a_place(first: str, second: str, digits: Network, tmp_path: Path) -> None:
    network = digits
    for one in examples(first, second):
        network = restrict(network, {PLACE: one})
    kinds = [one.kind for one in network.restrictions[PLACE]]
    assert kinds[-1] == second and len(set(kinds)) == len(kinds)
    assert sum(one.computes for one in network.restrictions[PLACE]) <= 1
    artifact.save(network, tmp_path)
    assert same(artifact.load(tmp_path), network)


def test_a_codebook_of_what_a_product_reads_goes_everywhere(digits: Network, tmp_path: Path) -> None:
    above_zero = torch.tensor([2.0**-126])
    signs = {
        f"layer1.0.{name}:conv2d(input)": Codebook(torch.tensor([-0.5, 0.5]), edges=above_zero)
        for name in ("conv1", "conv2")
    }
    network = restrict(digits, signs)
    simulated = answer(deployed(network), network)
    assert not torch.allclose(simulated, answer(deployed(digits), network))
    require_places(network)
    find("export", "safetensors")().write(network, tmp_path)  # type: ignore[misc]
    assert same(artifact.load(tmp_path), network) and torch.equal(answer(load(tmp_path), network), simulated)
    assert torch.allclose(answer(deployed(folded(network)), network), simulated, atol=1e-4)
    program = find("runtime", "onnxruntime")().prepare(network, Deployment())  # type: ignore[misc]
    assert (answer(program, network) - simulated).norm() < 0.05 * simulated.norm()
    with pytest.raises(Refusal, match="`layer1.0.conv9:conv2d.input.` is not a place") as refused:
        require_places(restrict(digits, {"layer1.0.conv9:conv2d(input)": signs["layer1.0.conv1:conv2d(input)"]}))
    assert refused.value.code == "RCP1404"

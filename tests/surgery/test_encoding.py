"""Weights as codes: what they take, what files hold of them, and that they are read back to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_state import same
from torch import Tensor

from recipelang import load
from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.measuring.structure import stored_bytes
from recipelang.methods.encoders.huffman import Huffman
from recipelang.surgery import artifact
from recipelang.surgery.coding import codes_of, decode, encode, like, plain_bytes, weight_of
from recipelang.surgery.encoding import coded, settled
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.restrictions.shared import Shared

SHARED, GRID, BOOK = "layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer2.0.conv1.weight"
ROWS = Scheme(4, signed=True, symmetric=True, axis=0)


def groups(shape: Any, zeros: float, count: int = 4, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, count, tuple(shape), generator=draws).to(torch.int16)
    return codes.masked_fill(torch.rand(codes.shape, generator=draws) < zeros, -1)


@pytest.fixture
def network(digits: Network) -> Network:
    """One weight of each kind that has codes, two of them with masks."""
    weights = {name: digits.module.get_parameter(name).detach() for name in (SHARED, GRID, BOOK)}
    one = Shared(groups(weights[SHARED].shape, 0.8), 4)
    masked = restrict(digits, {SHARED: Mask("80% sparse", one.codes >= 0)})
    masked = restrict(masked, {GRID: Mask("some", groups(weights[GRID].shape, 0.6) >= 0)})
    rows = weights[GRID].flatten(1)
    book = Codebook.of(torch.tensor([-0.1, 0, 0.1]).repeat(len(weights[BOOK]), 1), 0)
    wide = torch.tensor([-0.2, 0.2]).repeat(len(weights[BOOK]), 1)
    restrictions: dict[str, Any] = {
        SHARED: one,
        GRID: Grid.between(rows.amin(1), rows.amax(1), ROWS),
        BOOK: replace(book, edges=wide),  # a level that is outside of its own edges
    }
    return restrict(masked, restrictions)


def encoded(network: Network) -> Network:
    return replace(settled(network), encoded="huffman")


@given(seed=st.integers(0, 500), zeros=st.floats(0, 1), length=st.integers(1, 400), count=st.integers(1, 256))
def test_codes_are_read_back_from_the_smaller_layout(seed: int, zeros: float, length: int, count: int) -> None:
    one = Shared(groups((length,), zeros, count, seed), count)
    codes = codes_of(torch.zeros(length), (one,))
    assert codes is not None
    made = encode(codes, Huffman())
    assert torch.equal(decode(made, Huffman(), like(one, length)).numbers, codes.numbers)
    dense = len(Huffman().encode(codes.numbers)) + 1
    assert made.bytes <= dense and (made.width == 0) == (made.bytes == dense)
    assert plain_bytes(codes) == one.stored(None)


@given(seed=st.integers(0, 100), bits=st.integers(2, 8))
def test_the_weight_of_codes_is_what_computes(seed: int, bits: int) -> None:
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed))
    grid = Grid.between(weight.amin(1), weight.amax(1), replace(ROWS, bits=bits))
    for one in (grid, Codebook.of(torch.randn(6, bits), 0)):
        codes = codes_of(weight, (one,))
        assert codes is not None
        exact = weight_of(codes, weight.shape, one)
        assert torch.equal(exact, one.apply(weight)) and torch.equal(one.apply(exact), exact)


def test_files_are_smaller_and_read_back_to_the_last_bit(network: Network, tmp_path: Path) -> None:
    ready = encoded(network)
    artifact.save(settled(network), tmp_path / "plain")
    artifact.save(ready, tmp_path / "small")
    artifact.require_readable(ready, tmp_path / "small")
    back = artifact.load(tmp_path / "small")
    assert same(back, ready) and back.encoded == "huffman"
    held, plain = load_file(tmp_path / "small" / "model.safetensors"), settled(network).module.state_dict()
    assert {f"{SHARED}.codes", f"{SHARED}.gaps", f"{SHARED}.levels", f"{GRID}.codes", f"{BOOK}.codes"} <= held.keys()
    assert not {SHARED, GRID, BOOK} & held.keys()
    restrictions = load_file(tmp_path / "small" / "restrictions.safetensors")
    assert f"{SHARED}@mask.keep" not in restrictions and f"{GRID}@mask.keep" in restrictions, "rounding makes zeros too"
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("plain", "small")]
    dense = sum(4 * plain[name].numel() for name in (SHARED, GRID, BOOK))
    counted = sum(encode(codes, Huffman()).bytes for codes in coded(ready).values())
    assert 0 <= sizes[1] - (sizes[0] - dense + counted) < 600, "what is counted is what is there, and names"
    assert torch.equal(
        load(tmp_path / "small")(torch.zeros(1, 1, 8, 8)), load(tmp_path / "plain")(torch.zeros(1, 1, 8, 8))
    )


def test_size_counts_the_bytes_of_the_encoder(network: Network) -> None:
    whole, ready = stored_bytes(network.module), encoded(network)
    found = coded(ready)
    dense = sum(4 * len(codes.numbers) for codes in found.values())
    expected = sum(encode(codes, Huffman()).bytes + codes.aside for codes in found.values())
    assert stored_bytes(ready.module, ready.restrictions, encoder=Huffman()) == whole - dense + expected
    masked = replace(network, restrictions={SHARED: network.restrictions[SHARED][:1]})
    kept, number = masked.masks[SHARED].keep, masked.module.get_parameter(SHARED).numel()
    assert stored_bytes(masked.module, masked.restrictions) == whole, "masks alone are dense"
    sparse = stored_bytes(masked.module, masked.restrictions, gaps=True)
    assert whole - 4 * number + 4 * int(kept.sum()) < sparse < whole - 4 * number + 5 * int(kept.sum()) + 2


def test_weights_lose_nothing_that_computes(network: Network) -> None:
    from recipelang.surgery.deployed import deployed

    ready, images = encoded(network), torch.rand(4, 1, 8, 8)
    assert torch.equal(deployed(ready)(images), deployed(network)(images))
    assert not settled(ready).module.get_parameter(SHARED)[network.restrictions[SHARED][0].keep.logical_not()].any()  # type: ignore[attr-defined]


DAMAGE = {
    "a width": ({"widths": {SHARED: 17}}, {}),
    "another width": ({"widths": {SHARED: 1}}, {}),
    "no such weight": ({"widths": {"none": 4}}, {}),
    "nothing that tells": (
        {"widths": {"linear.weight": 0}},
        {"linear.weight.codes": torch.zeros(9, dtype=torch.uint8)},
    ),
    "codes that are no bytes": ({}, {f"{GRID}.codes": torch.zeros(9)}),
    "codes that are cut off": ({}, {f"{GRID}.codes": torch.zeros(9, dtype=torch.uint8)}),
    "levels of another number": ({}, {f"{SHARED}.levels": torch.zeros(3)}),
    "levels that are infinite in number": ({}, {f"{SHARED}.levels": torch.zeros(4, dtype=torch.float64)}),
    "too many numbers": ({}, {f"{BOOK}.codes": torch.tensor([255] * 40, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_refused(damage: str, network: Network, tmp_path: Path) -> None:
    told, tensors = DAMAGE[damage]
    artifact.save(encoded(network), tmp_path)
    model = json.loads((tmp_path / "model.json").read_text())
    model["encoded"]["widths"] |= told.get("widths", {})
    (tmp_path / "model.json").write_text(json.dumps(model))
    save_file(load_file(tmp_path / "model.safetensors") | tensors, tmp_path / "model.safetensors")
    with pytest.raises(Refusal) as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP0714" and "\n" not in refused.value.message


def test_an_encoder_that_is_not_here_is_refused_by_name(network: Network, tmp_path: Path) -> None:
    artifact.save(encoded(network), tmp_path)
    model = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**model, "encoded": {**model["encoded"], "by": "arithmetic"}}))
    with pytest.raises(Refusal, match="encoded by `arithmetic`, which is not known here") as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP0746" and "huffman" in refused.value.help

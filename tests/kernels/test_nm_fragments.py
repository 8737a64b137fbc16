"""Fragment order is compared with a warp emulated lane by lane from the PTX ISA, and with torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.fragments import BYTE_BIAS, PAD_META, Fragments, fragments, from_fragments
from recipelang.kernels.nm.reference import nm_mask


def packed_weight(outputs: int, inputs: int, dtype: torch.dtype = torch.float16, seed: int = 0) -> Packed:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    weight = weight * nm_mask(weight.abs(), 2, 4)
    return pack(weight, int8=True) if dtype is torch.int8 else pack(weight.to(dtype))


def mma_sp(a: Tensor, b: Tensor, metadata: Tensor, selector: int) -> Tensor:
    """`mma.sp.m16n8k32`, .f16 or .bf16: A 16×32 by B 32×8, from the registers of 32 lanes.

    Written from the section "Matrix fragments for sparse mma.m16n8k32" of the PTX ISA, for one element at a time.

    Args:
        a, b: 32×8: the values of each lane in the order of its registers.
        metadata: one word for each lane.
        selector: 0 or 1: lanes 4g + 2·selector and the next provide the metadata of rows g and g + 8.
    """
    dense, right = torch.zeros(16, 32, dtype=torch.float64), torch.zeros(32, 8, dtype=torch.float64)
    for lane in range(32):
        group, thread = lane // 4, lane % 4
        for i in range(8):
            row = group if i in (0, 1, 4, 5) else group + 8
            column = thread * 2 + (i & 1) + (8 if i >= 4 else 0)  # of the 16 that are stored
            words = int(metadata[4 * group + 2 * selector + column // 8]) & 0xFFFFFFFF
            half = words & 0xFFFF if row < 8 else words >> 16
            four = half >> (4 * (column % 8 // 2)) & 0xF
            assert four & 3 < four >> 2, "metadata out of order"
            dense[row, column // 2 * 4 + (four >> 2 * (column & 1) & 3)] = a[lane, i]
            right[thread * 2 + (i & 1) + 8 * (i // 2), group] = b[lane, i]
    return dense @ right


def halves_of(words: Tensor, dtype: torch.dtype) -> Tensor:
    """32×4 registers → 32×8 values."""
    return words.contiguous().view(dtype)


def b_of(x: Tensor) -> Tensor:
    """8 rows × 32 inputs → what each lane holds of B = xᵀ."""
    lanes = []
    for lane in range(32):
        group, thread = lane // 4, lane % 4
        lanes.append([x[group, thread * 2 + (i & 1) + 8 * (i // 2)] for i in range(8)])
    return torch.tensor(lanes, dtype=torch.float64)


def bytes_widened(words: Tensor, odd: int) -> Tensor:
    """32×4 registers of bytes → 32×8 values of the even or the odd tile, as drawn in fragments.py."""
    lanes = words.contiguous().view(torch.uint8).view(32, 4, 2, 2)
    return lanes[..., odd].reshape(32, 8).double() - BYTE_BIAS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_a_warp_that_follows_the_isa_multiplies_the_weight(dtype: torch.dtype) -> None:
    packed = packed_weight(32, 128, dtype)
    order = fragments(packed, torch.float16 if dtype is torch.int8 else dtype)
    x = torch.randint(-8, 9, (8, 128), generator=torch.Generator().manual_seed(1)).double()
    y = torch.zeros(32, 8, dtype=torch.float64)
    for tile in range(2):
        for pair in range(2):
            for odd in range(2):
                values = order.values[tile, pair]
                a = bytes_widened(values, odd) if dtype is torch.int8 else halves_of(values[odd], dtype).double()
                start = 64 * pair + 32 * odd
                y[16 * tile : 16 * tile + 16] += mma_sp(a, b_of(x[:, start : start + 32]), order.meta[tile, pair], odd)
    weight = unpack(Packed(packed.values.double(), packed.meta), torch.float64)
    torch.testing.assert_close(y, weight @ x.t(), rtol=1e-12, atol=1e-12)


def test_metadata_stand_as_in_the_format_of_torch() -> None:
    """torch reorders for two tiles along the outputs what is here for two along the inputs: the words are the same."""
    from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

    packed = packed_weight(32, 64)
    values, meta = sparse_semi_structured_from_dense_cutlass(unpack(packed))
    assert torch.equal(values, packed.values)
    theirs = meta.reshape(-1).view(torch.int32).view(2, 8, 2, 2)  # tile along inputs, g, tile along outputs, s
    ours = fragments(packed, torch.float16).meta.view(2, 8, 2, 2)  # tile along outputs, g, tile along inputs, s
    assert torch.equal(theirs, ours.permute(2, 1, 0, 3))


@settings(max_examples=60, deadline=None)
@given(
    outputs=st.integers(1, 40),
    groups=st.integers(1, 50),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.int8]),
    seed=st.integers(0, 2**20),
)
def test_round_trip(outputs: int, groups: int, dtype: torch.dtype, seed: int) -> None:
    packed = packed_weight(outputs, 4 * groups, dtype, seed)
    order = fragments(packed, dtype)
    back = from_fragments(order, outputs, 4 * groups, dtype, packed.scales)
    assert torch.equal(back.values, packed.values)
    assert torch.equal(back.meta, packed.meta)
    assert back.scales is packed.scales


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_padding_is_zeros_in_valid_places(dtype: torch.dtype) -> None:
    packed = packed_weight(17, 68, dtype)
    order = fragments(packed, torch.float16)
    whole = from_fragments(order, 32, 128, dtype)
    assert order.meta.shape == (2, 2, 32)
    assert torch.equal(whole.values[:17, :34], packed.values)
    assert not whole.values[17:].any()
    assert not whole.values[:, 34:].any()
    assert (whole.meta[17:] == PAD_META).all()
    assert (whole.meta[:, 3:] == PAD_META).all()


def test_other_floats_are_rounded_and_a_lane_reads_16_bytes() -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(2))
    packed = pack(weight * nm_mask(weight.abs(), 2, 4))
    order = fragments(packed, torch.bfloat16)
    assert torch.equal(from_fragments(order, 16, 64, torch.bfloat16).values, packed.values.bfloat16())
    for narrow in (order, fragments(packed_weight(16, 64, torch.int8), torch.float16)):
        assert isinstance(narrow, Fragments)
        assert narrow.values.shape[-2:] == (32, 4)
        assert narrow.values.is_contiguous()
        assert narrow.meta.is_contiguous()

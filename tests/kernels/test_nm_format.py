"""The packed form against a reference in plain Python, and against what torch packs for CUTLASS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.sparse._semi_structured_conversions import (
    _calculate_meta_reordering_scatter_offsets,
    sparse_semi_structured_from_dense_cutlass,
)

from recipelang.errors import Refusal
from recipelang.kernels.nm.format import FLOATS, Packed, pack, packable, rows, unpack, unrows, validate
from recipelang.kernels.nm.reference import grouped, nm_holds, nm_mask

#: values that a careless comparison gets wrong; all are exact in every dtype that is packed
SPECIAL = (1.0, -1.0, 0.5, 2.0**-14, math.inf, -math.inf, math.nan)
ZEROS = (0.0, -0.0)


@st.composite
def groups_of_four(draw: st.DrawFn) -> list[float]:
    """Four values, at most two nonzero: none, one and two in every place."""
    places = draw(st.sampled_from([c for n in range(3) for c in combinations(range(4), n)]))
    return [draw(st.sampled_from(SPECIAL if place in places else ZEROS)) for place in range(4)]


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    """2:4 weights, K not only a multiple of 32."""
    outputs, count = draw(st.integers(1, 3)), draw(st.integers(1, 19))
    lines = [[v for _ in range(count) for v in draw(groups_of_four())] for _ in range(outputs)]
    return torch.tensor(lines, dtype=torch.float64).to(draw(st.sampled_from(FLOATS)))


def random_24(outputs: int, inputs: int, dtype: torch.dtype = torch.float32, seed: int = 0, n: int = 2) -> Tensor:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    return (weight * nm_mask(weight.abs(), n, 4)).to(dtype)


def packed_naively(weight: Tensor) -> tuple[list[list[float]], list[list[int]]]:
    """Values and the metadata of each group, by the definition."""
    values: list[list[float]] = []
    nibbles: list[list[int]] = []
    for line in weight.tolist():
        values.append([])
        nibbles.append([])
        for start in range(0, len(line), 4):
            four = line[start : start + 4]
            occupied = [i for i in range(4) if four[i] != 0]
            free = [i for i in range(4) if four[i] == 0]
            first, second = sorted((occupied + free)[:2])
            values[-1] += [four[first], four[second]]
            nibbles[-1].append(first + 4 * second)
    return values, nibbles


def nibbles_of(meta: Tensor) -> list[list[int]]:
    return [[(word & 0xFFFFFFFF) >> shift & 15 for word in line for shift in range(0, 32, 4)] for line in meta.tolist()]


def same(a: Tensor, b: Tensor) -> bool:
    """Equal in every place, NaN to NaN, and of the same sign even where they are zero."""
    return a.shape == b.shape and torch.equal(a.isnan(), b.isnan()) and _equal_numbers(a.nan_to_num(), b.nan_to_num())


def _equal_numbers(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


def refused(code: str, call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.help
    return caught.value.message


# packing and back -----------------------------------------------------------------------------------------


@given(weights())
def test_what_is_packed_comes_back_with_zeros_positive(weight: Tensor) -> None:
    packed = pack(weight)
    back = unpack(packed)
    assert back.dtype is weight.dtype and packed.shape == tuple(weight.shape)
    assert same(back, weight.where(weight != 0, 0))


@given(weights())
def test_values_and_metadata_are_those_of_the_definition(weight: Tensor) -> None:
    packed = pack(weight)
    values, nibbles = packed_naively(weight)
    expected = torch.tensor(values, dtype=weight.dtype)
    assert same(packed.values, expected.where(expected != 0, 0))
    beyond = -(weight.shape[1] // 4) % 8
    assert nibbles_of(packed.meta) == [line + [4] * beyond for line in nibbles]


@given(weights(), st.data())
def test_a_planted_third_value_is_always_found(weight: Tensor, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, weight.shape[0] - 1))
    group = data.draw(st.integers(0, weight.shape[1] // 4 - 1))
    places = data.draw(st.permutations(range(4)))[: data.draw(st.integers(3, 4))]
    weight = weight.clone()
    weight[row, 4 * group : 4 * group + 4] = 0
    for place in places:
        weight[row, 4 * group + place] = data.draw(st.sampled_from(SPECIAL))
    message = refused("RCP1301", lambda: pack(weight))
    assert f"row {row}, columns {4 * group} to {4 * group + 3} hold {len(places)} nonzero values" in message
    assert packable(weight) is not None and packable(weight) in message


def test_nothing_is_pruned() -> None:
    weight = torch.zeros(2, 8)
    weight[1, 4:7] = torch.tensor([1.0, 1e-30, 1e-38])
    assert "row 1, columns 4 to 7 hold 3" in refused("RCP1301", lambda: pack(weight))


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_of_four_packs_like_two_of_four(dtype: torch.dtype) -> None:
    weight = random_24(5, 24, dtype, n=1)
    assert torch.equal(unpack(pack(weight)), weight)


def test_a_dtype_may_be_asked_for() -> None:
    weight = random_24(4, 8, torch.float16)
    assert torch.equal(unpack(pack(weight), torch.float64), weight.double())


def test_a_parameter_is_packed_without_its_gradient() -> None:
    packed = pack(torch.nn.Parameter(random_24(4, 8)))
    assert not packed.values.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_values_and_metadata_are_those_of_cutlass(dtype: torch.dtype) -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(1)).to(dtype)
    weight = weight.where(nm_mask(weight.abs(), 2, 4), 0)
    packed = pack(weight)
    values, reordered = sparse_semi_structured_from_dense_cutlass(weight)
    # Where groups hold fewer than two, other places would be as good: CUTLASS takes others, and here there are none.
    assert (grouped(weight, 4).count_nonzero(-1) == 2).all()
    assert torch.equal(packed.values, values)
    words = reordered.shape[1]
    order = _calculate_meta_reordering_scatter_offsets(64, words, torch.int16, "cpu")
    meta = reordered.flatten().gather(0, order).reshape(64, words).to(torch.int64) & 0xFFFF
    assert torch.equal(packed.meta.to(torch.int64) & 0xFFFFFFFF, meta[:, ::2] | meta[:, 1::2] << 16)


@pytest.mark.parametrize(
    ("dtype", "int8", "bits"),
    [(torch.float16, False, 9.0), (torch.float32, False, 17.0), (torch.float16, True, 5 + 32 / 256)],
)
def test_bits_count_everything(dtype: torch.dtype, int8: bool, bits: float) -> None:
    assert pack(random_24(16, 256, dtype), int8=int8).bits == bits


# int8 ---------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(FLOATS), st.integers(1, 4), st.integers(1, 10), st.integers(0, 2**32 - 1), st.sampled_from([0, -20])
)
def test_int8_misses_by_half_a_step_at_most(dtype: torch.dtype, n: int, groups: int, seed: int, power: int) -> None:
    weight = random_24(n, 4 * groups, seed=seed).mul(2.0**power).to(dtype)
    packed = pack(weight, int8=True)
    assert packed.scales is not None and packed.values.dtype == torch.int8
    exact = unpack(replace(packed, values=packed.values.double(), scales=None)) * packed.scales.double()[:, None]
    # One part in 2^23 for the rounding of the scale itself, up to 127 steps away from zero.
    assert ((exact - weight.double()).abs() <= packed.scales[:, None] * (0.5 + 127 * 2.0**-23)).all()
    assert torch.equal(unpack(packed), exact.float())
    assert (packed.values.abs().amax(dim=1) == 127).equal(weight.abs().amax(dim=1) >= torch.finfo(torch.float32).tiny)


def test_int8_rounds_halves_to_even_and_gives_a_row_of_zeros_the_scale_one() -> None:
    weight = torch.tensor([[127.0, 0.5, 0, 0, 1.5, 2.5, 0, 0, -2.5, -3.5, 0, 0], [0.0] * 12])
    packed = pack(weight, int8=True)
    assert packed.scales is not None
    assert packed.scales.tolist() == [1, 1]
    assert packed.values.tolist() == [[127, 0, 2, 2, -2, -4], [0] * 6]


def test_int8_takes_the_smallest_and_refuses_the_largest() -> None:
    least = torch.tensor([[180 * 2.0**-149, 0, 0, 0]])
    packed = pack(least, int8=True)
    assert packed.scales is not None
    assert ((unpack(packed) - least).abs() <= packed.scales[:, None] / 2).all()
    huge = torch.tensor([[1.0, 0, 0, 0], [1e300, 0, 0, 0]], dtype=torch.float64)
    assert "row 1 is too large" in refused("RCP1301", lambda: pack(huge, int8=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_int8_refuses_what_is_not_finite(value: float) -> None:
    weight = torch.zeros(3, 4)
    weight[2, 1] = value
    assert "row 2 holds NaN or infinity" in refused("RCP1301", lambda: pack(weight, int8=True))
    assert same(unpack(pack(weight)), weight)


# what has no packed form --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (torch.zeros(8), "its shape is 8"),
        (torch.zeros(()), "a scalar"),
        (torch.zeros(2, 4, 4), "its shape is 2×4×4"),
        (torch.zeros(2, 6), "6 inputs are not a multiple of 4"),
        (torch.zeros(0, 4), "empty (0×4)"),
        (torch.zeros(4, 0), "empty (4×0)"),
        (torch.zeros(2, 4, dtype=torch.int32), "its dtype is int32"),
        (torch.zeros(2, 4, dtype=torch.complex64), "its dtype is complex64"),
        (torch.zeros(2, 4, dtype=torch.float8_e4m3fn), "its dtype is float8_e4m3fn"),
        (torch.zeros(8, 4).t(), "not contiguous"),
        (torch.zeros(4, 8)[:, ::2], "not contiguous"),
        (torch.zeros(4, 8).to_sparse(), "its layout is sparse_coo"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(weight: Tensor, words: str) -> None:
    assert words in refused("RCP1301", lambda: pack(weight))


@pytest.mark.parametrize(
    ("shape", "words"),
    [((8,), "neither to a linear"), ((8, 4, 3), "neither to a linear"), ((8, 3, 7, 7), "3 input channels")],
)
def test_a_layer_that_is_not_packable_says_why(shape: tuple[int, ...], words: str) -> None:
    assert words in (packable(torch.zeros(shape)) or "")


# a damaged form -----------------------------------------------------------------------------------------

VALID = {first | second << 2 for first, second in combinations(range(4), 2)}


@pytest.mark.parametrize("nibble", range(16))
def test_metadata_that_names_no_two_places_is_refused(nibble: int) -> None:
    packed = pack(random_24(2, 64))
    meta = packed.meta.clone()
    meta[1, 1] = (int(meta[1, 1]) & 0x0FFFFFFF) | (nibble - 16 * (nibble > 7)) << 28
    altered = replace(packed, meta=meta)
    if nibble in VALID:
        validate(altered)
    else:
        message = refused("RCP1302", lambda: unpack(altered))
        assert f"group 15 in row 1 is {nibble:#x}" in message


def test_metadata_beyond_the_last_input_is_refused() -> None:
    packed = pack(random_24(2, 36))
    meta = packed.meta.clone()
    meta[0, 1] ^= 0xC << 4
    assert "beyond the last of 36 inputs" in refused("RCP1302", lambda: unpack(replace(packed, meta=meta)))


@given(st.binary(min_size=16, max_size=16))
def test_any_bytes_as_metadata_are_read_or_refused(data: bytes) -> None:
    packed = pack(random_24(2, 64))
    altered = replace(packed, meta=torch.frombuffer(bytearray(data), dtype=torch.int32).reshape(2, 2))
    if all(nibble in VALID for line in nibbles_of(altered.meta) for nibble in line):
        assert nm_holds(unpack(altered), 2, 4)
    else:
        refused("RCP1302", lambda: unpack(altered))


WHOLE = pack(random_24(4, 64))
WHOLE8 = pack(random_24(4, 64), int8=True)


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (replace(WHOLE, values=WHOLE.values[0]), "its values are 32"),
        (replace(WHOLE, values=WHOLE.values[:, :31]), "its values are 4×31"),
        (replace(WHOLE, values=WHOLE.values[:0]), "its values are 0×32"),
        (replace(WHOLE, values=WHOLE.values[:3]), "not 3×2 int32"),
        (replace(WHOLE, values=WHOLE.values.long()), "its values are int64"),
        (replace(WHOLE, meta=WHOLE.meta.long()), "its metadata is 4×2 int64"),
        (replace(WHOLE, meta=WHOLE.meta[:, :1]), "its metadata is 4×1 int32"),
        (replace(WHOLE, scales=WHOLE8.scales), "values of float32 come with scales"),
        (replace(WHOLE8, scales=None), "values of int8 come without scales"),
        (replace(WHOLE8, scales=torch.ones(3)), "its scales are 3 float32"),
        (replace(WHOLE8, scales=torch.ones(4).double()), "its scales are 4 float64"),
        (replace(WHOLE, meta=WHOLE.meta.to("meta")), "its parts are on cpu and meta"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(damaged: Packed, words: str) -> None:
    assert words in refused("RCP1302", lambda: unpack(damaged))


# a weight as a matrix -----------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_rows_put_input_channels_last(outputs: int, inputs: int, height: int, width: int) -> None:
    weight = torch.arange(outputs * inputs * height * width).reshape(outputs, inputs, height, width)
    matrix = rows(weight)
    assert matrix.is_contiguous()
    for o, i, h, w in product(range(outputs), range(inputs), range(height), range(width)):
        assert matrix[o, (h * width + w) * inputs + i] == weight[o, i, h, w]
    back = unrows(matrix, weight.shape)
    assert torch.equal(back, weight) and back.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_goes_there_and_back(memory_format: torch.memory_format) -> None:
    weight = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    weight = (weight * nm_mask(weight.abs(), 2, 4)).to(memory_format=memory_format)
    assert packable(weight) is None
    assert torch.equal(rows(weight).reshape(-1, 4), grouped(weight, 4).reshape(-1, 4))
    assert torch.equal(unrows(unpack(pack(rows(weight))), weight.shape), weight)


def test_a_linear_layer_is_a_matrix_already() -> None:
    weight = random_24(3, 8)
    assert rows(weight).data_ptr() == weight.data_ptr()
    assert torch.equal(unrows(rows(weight.t()), (8, 3)), weight.t())
    assert packable(weight) is None


def test_matrices_of_other_shapes_are_refused() -> None:
    assert "8×9 is not a weight 8×4×3×3" in refused("RCP1301", lambda: unrows(torch.zeros(8, 9), (8, 4, 3, 3)))
    assert "no input channels" in refused("RCP1301", lambda: rows(torch.zeros(8)))

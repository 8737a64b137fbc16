"""Runs every case of the portable kernels in Triton's interpreter; started once, by test_nm_portable.py.

Triton decides at its import whether it interprets, so that this is a process of its own. Prints one JSON object: name
of a case → what was wrong with it, "" where nothing was.

Every tensor given to a kernel is placed between guards of NaN (or of all ones): what reads beyond its ends gets a wrong
result, and what writes there is found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy
import torch
from portable_reference import dense, misses, operands_of, spread
from torch import Tensor

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import Packed, pack
from recipelang.kernels.nm.portable import FEW, MANY, Portable, prune_and_pack
from recipelang.kernels.nm.problem import ACTIVATIONS, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
GUARD = 64
INTERPRETER = Device("cpu", triton=(3, 9))
#: rows, outputs, inputs: single, ragged in every direction, exactly one tile, several
SHAPES = ((1, 1, 4), (5, 70, 140), (16, 64, 128), (17, 65, 36), (70, 130, 292))
Case = Callable[[], str]


# guards -------------------------------------------------------------------------------------------------


def between_guards(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of the tensor, and the memory around it."""
    memory = tensor.new_full((tensor.numel() + 2 * GUARD,), float("nan") if tensor.is_floating_point() else -1)
    inner = memory[GUARD:-GUARD].view(tensor.shape)
    inner.copy_(tensor)
    return inner, memory


unguarded = launch.launch


def guarded(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], constants: Mapping[str, Any], warps: int):
    """`launch.launch` with every tensor between guards."""
    copies = {i: between_guards(a) for i, a in enumerate(arguments) if isinstance(a, Tensor)}
    unguarded(
        kernel, grid, tuple(copies[i][0] if i in copies else a for i, a in enumerate(arguments)), constants, warps
    )
    for i, (inner, memory) in copies.items():
        ends = torch.cat((memory[:GUARD], memory[-GUARD:]))
        if not (ends.isnan() if ends.is_floating_point() else ends == -1).all():
            raise AssertionError(f"the kernel wrote beyond the ends of argument {i}")
        arguments[i].copy_(inner)


# pruning and packing ------------------------------------------------------------------------------------


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)


def packs_like_the_reference(weight: Tensor) -> str:
    pruned = weight.where(nm_mask(weight.abs(), 2, 4), 0)
    expected = pack(pruned)
    for given, crowded in ((weight, int((weight.reshape(-1, 4) != 0).sum(1).gt(2).sum())), (pruned, 0)):
        packed, found = prune_and_pack(given)
        if found != crowded:
            return f"{found} groups with more than two nonzero values, not {crowded}"
        if not torch.equal(packed.meta, expected.meta):
            return "metadata differ"
        if not torch.equal(bits(packed.values), bits(expected.values)):
            return "values differ"
    return ""


def keeps_nan(dtype: torch.dtype) -> str:
    nan = float("nan")
    weight = torch.tensor([[9, nan, float("inf"), 8, nan, 1, nan, nan, 0, 0, -0.0, nan]], dtype=dtype)
    packed, found = prune_and_pack(weight)
    wanted = "[[nan, inf, nan, nan, 0.0, nan]]", [1 | 2 << 2, 0 | 2 << 2, 0 | 3 << 2], 2
    got = str(packed.values.tolist()), [int(packed.meta[0, 0]) >> shift & 15 for shift in (0, 4, 8)], found
    return "" if got == wanted else f"{got}, not {wanted}"


# the product --------------------------------------------------------------------------------------------


def problem_of(x: Tensor, packed: Packed, activation: str, bias: bool) -> Problem:
    return Problem(len(x), *packed.shape, x.dtype, INTERPRETER, packed.values.dtype, bias, activation)


def multiplies(
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    int8: bool,
    biased: bool,
    activation: str,
    configuration: Mapping[str, int] | None = None,
) -> str:
    x, packed, bias = operands_of(shape, dtype, int8, biased)
    kernel, problem = Portable(), problem_of(x, packed, activation, biased)
    if reason := kernel.why_not(problem):
        return reason
    configuration = configuration or kernel.configurations(problem)[0]
    y = kernel.run(x, kernel.operands(packed, dtype, x.device), bias, problem, configuration)
    if y.dtype is not dtype or not y.is_contiguous():
        return f"the result is {y.dtype}"
    return misses(y, x, spread(packed), bias, activation)


def activates(activation: str, dtype: torch.dtype) -> str:
    """The activation alone, over all of its range: with a single weight, the sum is exact."""
    x = torch.zeros(400, 4, dtype=dtype)
    x[:, 2] = torch.linspace(-12, 12, 400)
    packed = pack(torch.tensor([[0, 0, 1, 0]], dtype=dtype))
    problem = problem_of(x, packed, activation, False)
    with numpy.errstate(over="ignore"):  # e¹⁰⁰ in a denominator is what makes 0 of it
        y = Portable().run(x, Portable().operands(packed, dtype, x.device), None, problem, MANY)
    return misses(y, x, spread(packed), None, activation)


def hands_on_what_is_not_finite() -> str:
    """NaN and infinities of x and of the weight come out as torch has them come out."""
    x, packed, bias = operands_of((4, 8, 32), torch.float32, False, True)
    x[1, 3], x[2, 5], packed.values[6, 1] = float("nan"), float("inf"), float("inf")
    problem = problem_of(x, packed, "relu", True)
    with numpy.errstate(invalid="ignore"):
        y = Portable().run(x, Portable().operands(packed, x.dtype, x.device), bias, problem, FEW)
    expected = activate(torch.nn.functional.linear(x, spread(packed).float(), bias), "relu")
    return "" if torch.allclose(y, expected, rtol=1e-5, atol=1e-5, equal_nan=True) else f"{y} and not {expected}"


def nothing_gives_nothing() -> str:
    x, packed, bias = operands_of((1, 8, 32), torch.float16, False, True)
    problem = problem_of(x, packed, "none", True)
    y = Portable().run(x[:0], Portable().operands(packed, x.dtype, x.device), bias, problem, FEW)
    return "" if y.shape == (0, 8) else f"{y.shape}"


# faults: each must be noticed ---------------------------------------------------------------------------


def notices(alter: Callable[[Packed], Packed], dtype: torch.dtype, int8: bool) -> str:
    """A kernel given something other than what its result is compared with is off."""
    x, packed, bias = operands_of((5, 70, 140), dtype, int8, True)
    operands = Portable().operands(alter(packed), dtype, x.device)
    y = Portable().run(x, operands, bias, problem_of(x, packed, "none", True), FEW)
    return "" if misses(y, x, spread(packed), bias, "none") else "the fault was not noticed"


def one_place_swapped(packed: Packed) -> Packed:
    meta = packed.meta.clone()
    nibble = int(meta[69, 4]) >> 8 & 15
    meta[69, 4] ^= (nibble ^ (0x4 if nibble != 0x4 else 0xE)) << 8
    return replace(packed, meta=meta)


def one_value_lost(packed: Packed) -> Packed:
    """The largest one of the last row: small ones drown in the rounding of 16 bits."""
    values = packed.values.clone()
    values[69, values[69].float().abs().argmax()] = 0
    return replace(packed, values=values)


def scales_of_the_next_row(packed: Packed) -> Packed:
    assert packed.scales is not None
    return replace(packed, scales=packed.scales.roll(1))


# all ----------------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[str, Case]]:
    for dtype, shape in product((*DTYPES, torch.float64), ((1, 4), (3, 36), (33, 128), (40, 292))):
        yield f"pack {dtype} {shape}", partial(packs_like_the_reference, dense(*shape, dtype))
    for dtype in (*DTYPES, torch.float64):
        yield f"pack NaN {dtype}", partial(keeps_nan, dtype)
    for shape, dtype, int8 in product(SHAPES, DTYPES, (False, True)):
        yield f"multiply {shape} {dtype} int8={int8}", partial(multiplies, shape, dtype, int8, True, "none")
    for dtype, int8, biased, activation in product(DTYPES, (False, True), (False, True), ACTIVATIONS):
        name = f"multiply {dtype} int8={int8} bias={biased} {activation}"
        yield name, partial(multiplies, (5, 70, 140), dtype, int8, biased, activation)
    for activation, dtype in product(ACTIVATIONS, DTYPES):
        yield f"activate {activation} {dtype}", partial(activates, activation, dtype)
    for configuration, rows in product((FEW, MANY), (3, 40)):
        name = f"multiply {rows} rows in tiles of {configuration['rows']}"
        yield name, partial(multiplies, (rows, 70, 140), torch.float16, False, True, "relu", configuration)
    yield "not finite", hands_on_what_is_not_finite
    yield "no rows", nothing_gives_nothing
    for fault, dtype, int8 in product((one_place_swapped, one_value_lost), DTYPES, (False, True)):
        yield f"fault {fault.__name__} {dtype} int8={int8}", partial(notices, fault, dtype, int8)
    for dtype in DTYPES:
        yield f"fault scales {dtype}", partial(notices, scales_of_the_next_row, dtype, True)


def outcome(case: Case) -> str:
    try:
        return case()
    except Exception as error:  # one broken case must not hide the others
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    launch.launch = guarded
    json.dump({name: outcome(case) for name, case in cases()}, sys.stdout)

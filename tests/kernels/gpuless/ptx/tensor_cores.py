"""mma and mma.sp on 16-bit floats, accumulating in f32. Source: PTX ISA, 9.7.14.5.8 and 9.7.14.6.

In a warp lane = 4g + t. A tensor core's product is exact, its order of summation and the bits it keeps while summing
are not documented: here the sum is exact and rounded once to f32.
"""

from __future__ import annotations

import numpy as np
from gpuless.ptx.faults import Undefined
from gpuless.ptx.formats import decode, encode
from gpuless.ptx.machine import WARP, Machine, Source, Step, instruction, items, source, target, unknown
from gpuless.ptx.parser import Instruction, Literal
from numpy.typing import NDArray

_LANE = np.arange(WARP)
_G, _T = _LANE // 4, _LANE % 4
#: Row and column of the first element of each register of A, a tile of 16×16: g and 2t are added.
_A = ((0, 0), (8, 0), (0, 8), (8, 8))
#: Row and column of each register of the accumulator, 16×8.
_C = ((0, 0), (0, 1), (8, 0), (8, 1))


@instruction("mma")
def _mma(op: Instruction) -> Step:
    sparse = op.opcode[1] == "sp::ordered_metadata"
    inputs = op.opcode[-2]
    shape = "m16n8k32" if sparse else "m16n8k16"
    lead = ("mma", "sp::ordered_metadata") if sparse else ("mma",)
    if inputs not in ("f16", "bf16") or op.opcode != (
        *lead,
        "sync",
        "aligned",
        shape,
        "row",
        "col",
        "f32",
        inputs,
        inputs,
        "f32",
    ):
        raise unknown(op)
    d, a, b, c = (items(operand) for operand in op.operands[:4])
    depth = 32 if sparse else 16
    if (len(d), len(a), len(b), len(c)) != (4, 4, depth // 8, 4):
        raise unknown(op)
    into = [target(item) for item in d]
    read_a, read_b, read_c = ([source(item, 32) for item in vector] for vector in (a, b, c))
    metadata, selector = _sparsity(op) if sparse else (None, 0)

    def multiply(machine: Machine) -> None:
        warps = machine.whole(WARP, op.text)
        left = np.zeros((len(warps), 16, 16))
        for read, (row, column) in zip(read_a, _A, strict=True):
            left[:, (_G + row)[:, None], (2 * _T + column)[:, None] + np.arange(2)] = _halves(read(machine), inputs)
        if metadata:
            words = machine.by_warp(metadata(machine))
            left = _expanded(left, words, selector, warps, op)
        right = np.zeros((len(warps), depth, 8))
        for i, read in enumerate(read_b):
            right[:, (8 * i + 2 * _T)[:, None] + np.arange(2), _G[:, None]] = _halves(read(machine), inputs)
        product = left @ right
        results = []
        for read, (row, column) in zip(read_c, _C, strict=True):
            total = decode(read(machine), "f32") + product[:, _G + row, 2 * _T + column].reshape(-1)
            results.append(encode(total, "f32"))
        for register, result in zip(into, results, strict=True):
            machine.write(register, result)

    return multiply


def _halves(register: NDArray, format: str) -> NDArray:
    """32 bits in each thread → warps×32×2."""
    return decode(np.ascontiguousarray(register).view(np.uint16), format).reshape(-1, WARP, 2)


def _sparsity(op: Instruction) -> tuple[Source, int]:
    word, selector = op.operands[4:6]
    if not isinstance(selector, Literal) or selector.value not in (0, 1):
        raise unknown(op)
    return source(word, 32), selector.value


def _expanded(left: NDArray, words: NDArray, selector: int, warps: NDArray, op: Instruction) -> NDArray:
    """The stored half of A, warps×16×16 → warps×16×32, by the metadata of the two lanes of each quad that the
    selector names: t = 2·selector describes columns 0 to 15 of rows g (low half) and g + 8, the next columns 16 to 31.
    """
    halves = np.zeros((len(words), 16, 2), np.uint32)
    chosen = _LANE[selector == _T // 2]
    halves[:, chosen // 4, chosen % 2] = words[:, chosen] & np.uint32(0xFFFF)
    halves[:, chosen // 4 + 8, chosen % 2] = words[:, chosen] >> np.uint32(16)
    nibbles = (halves[..., None] >> (4 * np.arange(4, dtype=np.uint32)) & np.uint32(15)).reshape(-1, 16, 8)
    first, second = nibbles & 3, nibbles >> 2
    if (first >= second)[warps].any():
        raise Undefined(f"the metadata of `{op.text}` is not in order")
    full = np.zeros((len(words), 16, 8, 4))
    pairs = left.reshape(-1, 16, 8, 2)
    np.put_along_axis(full, first[..., None].astype(np.int64), pairs[..., :1], axis=-1)
    np.put_along_axis(full, second[..., None].astype(np.int64), pairs[..., 1:], axis=-1)
    return full.reshape(-1, 16, 32)

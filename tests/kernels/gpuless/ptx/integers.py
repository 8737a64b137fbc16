"""Integer and bit instructions, moves, and packed 16-bit integers. Source: PTX ISA, 9.7.1 and 9.7.8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gpuless.ptx.formats import SIGNED, UNSIGNED
from gpuless.ptx.machine import Machine, Source, Step, instruction, items, only, source, target, unknown
from gpuless.ptx.parser import Instruction, Vector
from numpy.typing import NDArray

Function = Callable[..., NDArray]


def typed(op: Instruction) -> tuple[str, int]:
    """The kind (s, u, b, f) and the width of the last part of an opcode."""
    kind = op.opcode[-1]
    if kind == "pred":
        return "b", 1
    if kind[0] not in "sub" or not kind[1:].isdigit() or int(kind[1:]) not in UNSIGNED:
        raise unknown(op)
    return kind[0], int(kind[1:])


def elementwise(op: Instruction, function: Function, sources: tuple[Source, ...]) -> Step:
    """target = function(sources…)."""
    into = target(op.operands[0])
    return lambda machine: machine.write(into, function(*[read(machine) for read in sources]))


def arithmetic(op: Instruction, function: Function) -> Step:
    """An instruction all of whose operands have its type."""
    if op.opcode[-1] in ("s16x2", "u16x2"):
        return _packed(op, function, signed=op.opcode[-1][0] == "s")
    kind, bits = typed(op)
    return elementwise(op, function, tuple(source(operand, bits, kind == "s") for operand in op.operands[1:]))


def _packed(op: Instruction, function: Function, signed: bool) -> Step:
    sources = tuple(source(operand, 32) for operand in op.operands[1:])
    half = np.int16 if signed else np.uint16

    def both(*values: NDArray) -> NDArray:
        halves = [np.ascontiguousarray(value).view(half).reshape(-1, 2) for value in values]
        return np.ascontiguousarray(function(*halves)).view(np.uint32).reshape(-1)

    return elementwise(op, both, sources)


def _quotient(a: NDArray, b: NDArray) -> NDArray:
    """Towards zero, as in C; a division by zero gives zero (PTX leaves it open)."""
    safe = np.where(b == 0, b.dtype.type(1), b)
    quotient = a // safe
    quotient = quotient + ((a % safe != 0) & ((a < 0) != (safe < 0))).astype(a.dtype)
    return np.where(b == 0, b.dtype.type(0), quotient)


def _remainder(a: NDArray, b: NDArray) -> NDArray:
    return a - _quotient(a, b) * b


ARITHMETIC: dict[str, Function] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "div": _quotient,
    "rem": _remainder,
    "min": np.minimum,
    "max": np.maximum,
    "neg": lambda a: -a,
    "abs": np.abs,
}


def _product(op: Instruction, operands: int) -> Step:
    """mul and mad: the low half, the high half, or all of the product."""
    kind, bits = typed(op)
    only(op, ("lo", "hi", "wide"))
    signed = kind == "s"
    part = op.opcode[1]
    factors = tuple(source(operand, bits, signed) for operand in op.operands[1:3])
    wide = 2 * bits if part == "wide" else bits
    terms = tuple(source(operand, wide, signed) for operand in op.operands[3:operands])
    into = np.dtype((SIGNED if signed else UNSIGNED)[wide])

    def product(a: NDArray, b: NDArray, *more: NDArray) -> NDArray:
        if part == "lo":
            value = a * b
        elif bits == 64:  # no numpy integer holds the whole product
            value = (a.astype(object) * b.astype(object) >> 64).astype(into)
        else:
            whole = a.astype((SIGNED if signed else UNSIGNED)[2 * bits]) * b
            value = whole if part == "wide" else (whole >> bits).astype(into)
        for term in more:
            value = value + term
        return value

    return elementwise(op, product, factors + terms)


@instruction("mul24", "mad24")
def _no(op: Instruction) -> Step:
    raise unknown(op)


def multiply(op: Instruction) -> Step:
    return _product(op, 3)


@instruction("mad")
def _mad(op: Instruction) -> Step:
    return _product(op, 4)


LOGIC: dict[str, Function] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
    "cnot": lambda a: (a == 0).astype(a.dtype),
}


@instruction(*LOGIC)
def _logic(op: Instruction) -> Step:
    _, bits = typed(op)
    only(op, ())
    return elementwise(op, LOGIC[op.opcode[0]], tuple(source(operand, bits) for operand in op.operands[1:]))


@instruction("shl", "shr")
def _shift(op: Instruction) -> Step:
    kind, bits = typed(op)
    left = op.opcode[0] == "shl"
    signed = kind == "s" and not left

    def shifted(value: NDArray, by: NDArray) -> NDArray:
        by = np.minimum(by, bits)
        near = np.minimum(by, bits - 1).astype(value.dtype)
        moved = value << near if left else value >> near
        return moved if signed else np.where(by == bits, value.dtype.type(0), moved)

    return elementwise(op, shifted, (source(op.operands[1], bits, signed), source(op.operands[2], 32)))


@instruction("shf")
def _funnel(op: Instruction) -> Step:
    only(op, ("l", "r", "wrap", "clamp"))
    left, wrap = op.opcode[1] == "l", op.opcode[2] == "wrap"

    def funnel(low: NDArray, high: NDArray, by: NDArray) -> NDArray:
        by = (by & np.uint32(31)) if wrap else np.minimum(by, np.uint32(32))
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        by = (np.uint32(32) - by if left else by).astype(np.uint64)
        return (both >> by).astype(np.uint32)

    return elementwise(op, funnel, tuple(source(operand, 32) for operand in op.operands[1:]))


@instruction("bfe")
def _extract(op: Instruction) -> Step:
    kind, bits = typed(op)
    signed = kind == "s"

    def extract(value: NDArray, at: NDArray, length: NDArray) -> NDArray:
        at, length = (at & np.uint32(255)).astype(np.int64), (length & np.uint32(255)).astype(np.int64)
        # Bit by bit: beyond the value is its sign, or zero.
        sign = np.minimum(at + length - 1, bits - 1)
        sign_bit = value >> sign.astype(value.dtype) & value.dtype.type(1)
        fill = np.where(length == 0, 0, sign_bit).astype(value.dtype) if signed else np.zeros_like(value)
        result = np.zeros_like(value)
        for i in range(bits):
            inside = (i < length) & (at + i < bits)
            bit = (value >> np.minimum(at + i, bits - 1).astype(value.dtype)) & value.dtype.type(1)
            result |= np.where(inside, bit, fill) << value.dtype.type(i)
        return result

    sources = (source(op.operands[1], bits), source(op.operands[2], 32), source(op.operands[3], 32))
    return elementwise(op, extract, sources)


@instruction("bfi")
def _insert(op: Instruction) -> Step:
    _, bits = typed(op)
    dtype = UNSIGNED[bits]

    def insert(value: NDArray, into: NDArray, at: NDArray, length: NDArray) -> NDArray:
        at, length = np.minimum(at & np.uint32(255), bits), np.minimum(length & np.uint32(255), bits)
        places = np.arange(bits)
        field = (places >= at[:, None]) & (places < at[:, None] + length[:, None])
        mask = (field.astype(dtype) << places.astype(dtype)).sum(axis=1, dtype=dtype)
        moved = np.where(at >= bits, dtype(0), value << np.minimum(at, bits - 1).astype(dtype))
        return (into & ~mask) | (moved & mask)

    sources = tuple(source(operand, bits) for operand in op.operands[1:3])
    return elementwise(op, insert, (*sources, source(op.operands[3], 32), source(op.operands[4], 32)))


@instruction("prmt")
def _permute(op: Instruction) -> Step:
    only(op, ())  # the default mode: four selectors of four bits, the highest of which copies the sign

    def permute(low: NDArray, high: NDArray, selector: NDArray) -> NDArray:
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        result = np.zeros_like(low)
        for i in range(4):
            nibble = (selector >> np.uint32(4 * i)) & np.uint32(15)
            byte = ((both >> ((nibble & np.uint32(7)) * np.uint32(8)).astype(np.uint64)) & np.uint64(255)).astype(
                np.uint32
            )
            signs = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
            result |= np.where(nibble & np.uint32(8), signs, byte) << np.uint32(8 * i)
        return result

    return elementwise(op, permute, tuple(source(operand, 32) for operand in op.operands[1:]))


@instruction("lop3")
def _lop3(op: Instruction) -> Step:
    only(op, ())
    table = source(op.operands[4], 32)

    def look_up(a: NDArray, b: NDArray, c: NDArray, table: NDArray) -> NDArray:
        result = np.zeros_like(a)
        for i in range(8):
            term = (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
            result |= np.where((table >> np.uint32(i)) & np.uint32(1), term, np.uint32(0))
        return result

    return elementwise(op, look_up, (*(source(operand, 32) for operand in op.operands[1:4]), table))


@instruction("popc", "clz", "brev")
def _count(op: Instruction) -> Step:
    _, bits = typed(op)

    def count(value: NDArray) -> NDArray:
        digits = np.unpackbits(np.ascontiguousarray(value).view(np.uint8).reshape(-1, bits // 8)[:, ::-1], axis=1)
        match op.opcode[0]:
            case "popc":
                return digits.sum(axis=1, dtype=np.uint32)
            case "clz":
                return np.where(digits.any(axis=1), digits.argmax(axis=1), bits).astype(np.uint32)
        return np.packbits(digits[:, ::-1], axis=1)[:, ::-1].copy().view(UNSIGNED[bits]).reshape(-1)

    return elementwise(op, count, (source(op.operands[1], bits),))


@instruction("mov")
def _move(op: Instruction) -> Step:
    only(op, ())
    bits = 1 if op.opcode[-1] == "pred" else int(op.opcode[-1][1:])
    into, value = op.operands
    if isinstance(value, Vector):
        parts = tuple(source(item, bits // len(value.items)) for item in value.items)
        width = bits // len(parts)
        return elementwise(op, lambda *values: _joined(values, bits, width), parts)
    read = source(value, bits)
    if isinstance(into, Vector):
        targets = tuple(target(item) for item in items(into))
        width = bits // len(targets)

        def split(machine: Machine) -> None:
            whole = np.ascontiguousarray(read(machine)).view(UNSIGNED[width]).reshape(-1, len(targets))
            for i, register in enumerate(targets):
                machine.write(register, whole[:, i])

        return split
    return elementwise(op, lambda value: value, (read,))


def _joined(values: tuple[NDArray, ...], bits: int, width: int) -> NDArray:
    return np.stack(values, axis=1).astype(UNSIGNED[width]).view(UNSIGNED[bits]).reshape(-1)

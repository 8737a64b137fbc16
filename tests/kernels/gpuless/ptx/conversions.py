"""cvt: between integers and floats, with the roundings that Triton emits. Source: PTX ISA, 9.7.9.21."""

from __future__ import annotations

import numpy as np
from gpuless.ptx.formats import SIGNED, UNSIGNED, WIDTH, decode, encode, flushed
from gpuless.ptx.integers import elementwise
from gpuless.ptx.machine import Step, instruction, only, source, unknown
from gpuless.ptx.parser import Instruction
from numpy.typing import NDArray

#: Roundings to a whole number; those to a float are `rn` and `rz`.
_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@instruction("cvt")
def _convert(op: Instruction) -> Step:
    into, origin = op.opcode[-2:]
    only(op, (*_WHOLE, "rn", "rz", "ftz", "sat", into))
    if into in ("f16x2", "bf16x2"):
        return _to_pair(op, into.removesuffix("x2"))
    if origin in WIDTH:
        return _from_float(op, into, origin)
    signed, bits = _integer(op, origin)
    sources = (source(op.operands[1], bits, signed),)
    if "sat" in op.opcode:
        raise unknown(op)
    if into not in WIDTH:
        to_signed, to_bits = _integer(op, into)
        dtype = np.dtype((SIGNED if to_signed else UNSIGNED)[to_bits])
        return elementwise(op, lambda value: value.astype(dtype), sources)
    if bits == 64 and into != "f64" and "rn" not in op.opcode:
        raise unknown(op)
    # 64-bit integers to f32 in one rounding: numpy converts them directly.
    if bits == 64 and into == "f32":
        return elementwise(op, lambda value: value.astype(np.float32).view(np.uint32), sources)
    rounding = "rz" if "rz" in op.opcode else "rn"
    return elementwise(op, lambda value: encode(value.astype(np.float64), into, rounding), sources)


def _to_pair(op: Instruction, format: str) -> Step:
    """d = {upper: a, lower: b}."""
    if op.opcode[-1] != "f32" or len(op.operands) != 3 or "sat" in op.opcode or "ftz" in op.opcode:
        raise unknown(op)
    rounding = "rz" if "rz" in op.opcode else "rn"

    def pair(upper: NDArray, lower: NDArray) -> NDArray:
        halves = [encode(decode(half, "f32"), format, rounding).astype(np.uint32) for half in (upper, lower)]
        return halves[0] << np.uint32(16) | halves[1]

    return elementwise(op, pair, (source(op.operands[1], 32), source(op.operands[2], 32)))


def _from_float(op: Instruction, into: str, origin: str) -> Step:
    whole = next((_WHOLE[part] for part in op.opcode if part in _WHOLE), None)
    rounding = "rz" if "rz" in op.opcode else "rn"
    flush = flushed if "ftz" in op.opcode else lambda values: values
    saturate = "sat" in op.opcode

    def to_float(value: NDArray) -> NDArray:
        real = flush(decode(value, origin))
        real = whole(real) if whole else real
        if saturate:
            real = np.where(np.isnan(real), 0.0, np.clip(real, 0.0, 1.0))
        return encode(flush(real) if into == "f32" else real, into, rounding)

    sources = (source(op.operands[1], WIDTH[origin]),)
    if into in WIDTH:
        return elementwise(op, to_float, sources)
    if whole is None:
        raise unknown(op)
    signed, bits = _integer(op, into)
    kind: type[np.integer] = (SIGNED if signed else UNSIGNED)[bits]
    limits = np.iinfo(kind)

    def to_integer(value: NDArray) -> NDArray:
        real = whole(flush(decode(value, origin)))
        inside = np.where(np.isnan(real) | (real <= limits.min) | (real >= limits.max), 0.0, real).astype(kind)
        clamped = np.where(real >= limits.max, kind(limits.max), inside)
        return np.where(real <= limits.min, kind(limits.min), clamped)

    return elementwise(op, to_integer, sources)


def _integer(op: Instruction, type: str) -> tuple[bool, int]:
    if type[0] not in "su" or not type[1:].isdigit():
        raise unknown(op)
    return type[0] == "s", int(type[1:])


@instruction("cvta")
def _to_space(op: Instruction) -> Step:
    # Global addresses are generic addresses; the other windows are not modelled.
    if op.opcode[1:] not in (("to", "global", "u64"), ("global", "u64")):
        raise unknown(op)
    return elementwise(op, lambda value: value, (source(op.operands[1], 64),))

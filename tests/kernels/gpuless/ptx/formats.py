"""Floating-point formats: bits ↔ float64, which holds every value of all of them, and the one rounding on the way back.

Arithmetic of f32, f16 and bf16 is done in float64 and rounded once. For + - · / and the square root that is exact:
53 bits are more than twice 24 and two (Figueroa 1995, "When is double rounding innocuous?"). A fused multiply-add
needs `fused`, which rounds to odd in between (Boldo and Melquiond 2008).
"""

from __future__ import annotations

import numpy as np
from gpuless.ptx.faults import UnknownInstruction
from numpy.typing import NDArray

Bits = NDArray[np.unsignedinteger]
Float = NDArray[np.float64]

UNSIGNED: dict[int, type[np.unsignedinteger]] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: dict[int, type[np.signedinteger]] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
WIDTH = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}


def decode(bits: Bits, format: str) -> Float:
    """The values of bits of a format of `WIDTH`."""
    match format:
        case "f16":
            return bits.astype(np.uint16).view(np.float16).astype(np.float64)
        case "bf16":
            return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        case "f32":
            return bits.astype(np.uint32).view(np.float32).astype(np.float64)
        case "f64":
            return bits.astype(np.uint64).view(np.float64)
    raise UnknownInstruction(f"the format `{format}`")


def encode(values: Float, format: str, rounding: str = "rn") -> Bits:
    """The nearest values of a format, ties to even, or with `rounding` "rz" the nearest towards zero."""
    match format:
        case "f16":
            return _rounded(values, np.float16, rounding).view(np.uint16)
        case "bf16":
            return _bf16(values, rounding)
        case "f32":
            return _rounded(values, np.float32, rounding).view(np.uint32)
        case "f64":
            return values.view(np.uint64)
    raise UnknownInstruction(f"the format `{format}`")


def _rounded(values: Float, dtype: type[np.floating], rounding: str) -> NDArray:
    nearest = values.astype(dtype)
    if rounding == "rn":
        return nearest
    if rounding != "rz":
        raise UnknownInstruction(f"the rounding `.{rounding}`")
    outwards = np.abs(nearest.astype(np.float64)) > np.abs(values)
    return np.where(outwards & np.isfinite(values), np.nextafter(nearest, dtype(0)), nearest)


def _bf16(values: Float, rounding: str) -> Bits:
    # Towards zero to f32, and a last bit that is odd where something was cut off: then the second rounding is exact.
    narrow = _rounded(values, np.float32, "rz")
    bits = narrow.view(np.uint32) | (narrow.astype(np.float64) != values).astype(np.uint32)
    if rounding == "rn":
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    elif rounding != "rz":
        raise UnknownInstruction(f"the rounding `.{rounding}`")
    return np.where(np.isnan(values), 0x7FFF, bits >> np.uint32(16)).astype(np.uint16)


def fused(a: Float, b: Float, c: Float) -> Float:
    """a·b + c to odd, so that a later rounding to f32 or less is the only one. a·b must be exact in float64."""
    product = a * b
    total = product + c
    virtual = total - product  # Knuth's two-sum: what the addition lost
    lost = (product - (total - virtual)) + (c - virtual)
    bits = total.view(np.int64)
    inexact = (lost != 0) & np.isfinite(total) & (bits & 1 == 0)
    towards = np.where((lost > 0) == (total > 0), 1, -1)
    return np.where(inexact, bits + towards, bits).view(np.float64)


def flushed(values: Float) -> Float:
    """`.ftz`: what is subnormal in f32 becomes a zero of its sign."""
    return np.where(np.abs(values) < 2.0**-126, np.copysign(0.0, values), values)

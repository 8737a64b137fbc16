"""Floating-point arithmetic, comparison and selection. Source: PTX ISA, 9.7.3 to 9.7.6.

The approximate functions are computed exactly and rounded once: a GPU's result is within 2 ulp of it (ex2, rcp,
rsqrt, sqrt), within 2^-11 relative for `tanh.approx`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gpuless.ptx.formats import WIDTH, decode, encode, flushed, fused
from gpuless.ptx.integers import ARITHMETIC, arithmetic, elementwise, multiply
from gpuless.ptx.machine import Machine, Step, instruction, items, only, source, target, unknown
from gpuless.ptx.parser import Instruction
from numpy.typing import NDArray

Function = Callable[..., NDArray]

_MODIFIERS = ("rn", "rz", "ftz", "noftz", "approx", "full")


def is_float(op: Instruction) -> bool:
    return op.opcode[-1].removesuffix("x2") in WIDTH


def _calculate(op: Instruction, function: Function, known: tuple[str, ...] = _MODIFIERS) -> Step:
    """An instruction on floats: decode, calculate in float64, round once; both halves of a packed type."""
    only(op, known)
    kind = op.opcode[-1]
    format = kind.removesuffix("x2")
    rounding = "rz" if "rz" in op.opcode else "rn"
    flush = flushed if "ftz" in op.opcode else lambda values: values
    packed = kind.endswith("x2")

    def calculate(*values: NDArray) -> NDArray:
        if packed:
            values = tuple(np.ascontiguousarray(value).view(np.uint16) for value in values)
        result = flush(function(*[flush(decode(value, format)) for value in values]))
        bits = encode(result, format, rounding)
        return np.ascontiguousarray(bits).view(np.uint32) if packed else bits

    width = 32 if packed else WIDTH[format]
    return elementwise(op, calculate, tuple(source(operand, width) for operand in op.operands[1:]))


_FLOAT: dict[str, Function] = {
    **{name: ARITHMETIC[name] for name in ("add", "sub", "neg", "abs")},
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "fma": fused,
    "min": np.fmin,  # the operand that is a number, if one is
    "max": np.fmax,
    "ex2": np.exp2,
    "lg2": np.log2,
    "rcp": lambda a: 1 / a,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "copysign": lambda sign, value: np.copysign(value, sign),
}


@instruction("fma", "ex2", "lg2", "rcp", "sqrt", "rsqrt", "tanh", "sin", "cos", "copysign")
def _float(op: Instruction) -> Step:
    if not is_float(op) or op.opcode[0] == "fma" and op.opcode[-1] == "f64":
        raise unknown(op)
    return _calculate(op, _FLOAT[op.opcode[0]])


@instruction("add", "sub", "mul", "div", "rem", "min", "max", "neg", "abs")
def _either(op: Instruction) -> Step:
    name = op.opcode[0]
    if not is_float(op):
        if name == "mul":
            return multiply(op)
        only(op, ())
        return arithmetic(op, ARITHMETIC[name])
    if "NaN" in op.opcode:
        return _calculate(op, {"min": np.minimum, "max": np.maximum}[name], (*_MODIFIERS, "NaN"))
    return _calculate(op, _FLOAT[name])


_COMPARE: dict[str, Function] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: (a != b) & (a == a) & (b == b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    # Unordered comparisons are true where an operand is not a number.
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "neu": lambda a, b: a != b,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: (a == a) & (b == b),
    "nan": lambda a, b: (a != a) | (b != b),
    "lo": lambda a, b: a < b,
    "ls": lambda a, b: a <= b,
    "hi": lambda a, b: a > b,
    "hs": lambda a, b: a >= b,
}
_COMBINE: dict[str, Function] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


@instruction("setp")
def _set_predicate(op: Instruction) -> Step:
    only(op, (*_COMPARE, *_COMBINE, "ftz"))
    compare = _COMPARE[op.opcode[1]]
    kind = op.opcode[-1]
    bits = int("".join(c for c in kind if c.isdigit()))
    if kind not in WIDTH and (kind[0] not in "sub" or kind.endswith("x2")):
        raise unknown(op)
    sources = tuple(source(operand, bits, kind[0] == "s") for operand in op.operands[1:3])
    combine = next((_COMBINE[part] for part in op.opcode if part in _COMBINE), None)
    third = source(op.operands[3], 1) if combine else None
    into = tuple(target(item) for item in items(op.operands[0]))
    if (third is None) != (len(op.operands) == 3):
        raise unknown(op)

    def set_predicate(machine: Machine) -> None:
        values = [read(machine) for read in sources]
        if kind in WIDTH:
            values = [decode(value, kind) for value in values]
            if "ftz" in op.opcode:
                values = [flushed(value) for value in values]
        outcome = compare(*values)
        outcomes = (outcome, ~outcome)
        if combine and third:
            outcomes = tuple(combine(each, third(machine)) for each in outcomes)  # type: ignore[assignment]
        for register, each in zip(into, outcomes, strict=False):
            machine.write(register, each)

    return set_predicate


@instruction("selp")
def _select(op: Instruction) -> Step:
    only(op, ())
    bits = int(op.opcode[-1][1:])
    sources = (source(op.operands[3], 1), source(op.operands[1], bits), source(op.operands[2], bits))
    return elementwise(op, np.where, sources)

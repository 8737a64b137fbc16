"""What every axis of a parameter has to do with the channels along it: makes, reads, scales or shifts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from recipelang.surgery.axes import Axis, Dims, OperatorCall
from recipelang.surgery.axes_removal import CELLS
from recipelang.surgery.coupled import ROLES

HOLDS, SHIFTS, SCALES, READS, MAKES = range(len(ROLES))
#: a maker that is a convolution
CONVOLVES = MAKES + 1


def role(code: int) -> str:
    """The word for a code."""
    return ROLES[min(code, MAKES)]


def roles_of(atoms: int, held: Mapping[str, Dims], calls: Iterable[OperatorCall]) -> numpy.ndarray:
    """Atom → code of its role; of several, the highest. An activation has the atoms of the weight that made it.

    Args:
        atoms: how many there are.
        held: the axes of parameters and buffers.
        calls: the operations of the graph.
    """
    codes = numpy.zeros(atoms, numpy.int8)
    mine = {id(dims) for dims in held.values()}

    def mark(axis: Axis, code: int) -> None:
        codes[axis] = numpy.maximum(codes[axis], code)

    for call in calls:
        for axis, code in _roles(call, mine):
            mark(axis, code)
    return codes


def _roles(call: OperatorCall, mine: set[int]) -> Iterable[tuple[Axis, int]]:
    """(axis, its role) in one operation."""
    name, given = call.name.removesuffix("_"), call.given
    weight, bias = given.get("weight"), given.get("bias")
    if isinstance(bias, Dims):
        yield bias[-1], SHIFTS
    if isinstance(weight, Dims) and name.startswith("conv"):
        turned = "transpose" in name
        yield weight[1 if turned else 0], CONVOLVES
        yield weight[0 if turned else 1], READS
    elif isinstance(weight, Dims) and name in ("linear", "bilinear"):
        yield weight[0], MAKES
        yield from ((axis, READS) for axis in weight[1:])
    elif isinstance(weight, Dims) and name == "embedding":
        yield weight[1], MAKES
    elif isinstance(weight, Dims) and name.endswith("norm"):
        yield from ((axis, SCALES) for axis in weight)
    elif name.startswith("_weight_norm"):
        yield from ((axis, SCALES) for axis in given["g"])
    elif name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        yield from _of_matrices(given["params"])
    elif name in CELLS:
        yield from _of_matrices([given["w_ih"], given["w_hh"]])
    elif name in ("mm", "bmm", "matmul", "addmm", "baddbmm"):
        yield from _of_product(list(call.tensors())[-2:])
    elif name == "einsum":
        inputs, _, output = given["equation"].replace(" ", "").partition("->")
        for word, dims in zip(inputs.split(","), call.tensors(), strict=False):
            for letter, axis in zip(word, dims, strict=False) if id(dims) in mine else ():
                yield axis, MAKES if letter in output else READS
    elif name in ("mul", "div", "add", "sub"):
        code = SCALES if name in ("mul", "div") else SHIFTS
        yield from ((axis, code) for dims in call.tensors() if id(dims) in mine for axis in dims)


def _of_matrices(params: Iterable[Dims]) -> Iterable[tuple[Axis, int]]:
    """The matrices of a recurrent layer: each makes a part of the state."""
    for matrix in params:
        if len(matrix) == 2:
            yield matrix[0], MAKES
            yield matrix[1], READS


def _of_product(operands: list[Any]) -> Iterable[tuple[Axis, int]]:
    """…×I×K times …×K×J: the right one reads K and makes J."""
    if len(operands) == 2 and len(operands[1]) > 1:
        yield operands[1][-1], MAKES
        yield operands[1][-2], READS

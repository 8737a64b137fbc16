"""The product with a 2:4 weight as one operation that torch.compile and torch.export keep whole.

The kernel is chosen inside, by the number of rows of the call: a compiled program with a changing batch stays one
program.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kernels.nm.device import describe
from recipelang.kernels.nm.problem import Configuration, Problem
from recipelang.kernels.nm.registry import KERNELS


@dataclass(frozen=True)
class Way:
    """One way to compute a layer.

    Attributes:
        kernel: its name.
        configuration: of the kernel.
        most_rows: maximum rows of a call that it was chosen for; None for any number.
        operands: where its operands start among those of the layer, and their number.
    """

    kernel: str
    configuration: Configuration
    most_rows: int | None
    operands: tuple[int, int] = (0, 0)


def to_text(ways: Sequence[Way]) -> str:
    """Ways as an argument of the operation, which takes strings but no objects."""
    rows = [[way.kernel, dict(way.configuration), way.most_rows, way.operands] for way in ways]
    return json.dumps(rows, separators=(",", ":"))


@lru_cache(maxsize=4096)
def from_text(text: str) -> tuple[Way, ...]:
    """The inverse of `to_text`."""
    return tuple(Way(kernel, tiles, most, tuple(where)) for kernel, tiles, most, where in json.loads(text))


def multiply(
    x: Tensor, operands: Sequence[Tensor], bias: Tensor | None, outputs: int, int8: bool, activation: str, ways: str
) -> Tensor:
    """activation(x·Wᵀ + bias) in the first way that accepts this many rows.

    Args:
        x: …×inputs.
        operands: of all ways, concatenated.
        bias: outputs, or None.
        int8: whether the packed values are int8.
        ways: `to_text` of them, the last one for any number of rows.

    Returns:
        …×outputs, of the dtype of x.

    Raises:
        Refusal: RCP1303: a gradient is required. RCP1304: no way accepts this input.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        raise Refusal(
            "RCP1303",
            "a layer with a packed 2:4 weight has no gradient",
            "train the network before it is accelerated; the masks hold through training",
        )
    if not x.numel():
        return x.new_empty(*x.shape[:-1], outputs)
    flat = x.reshape(-1, x.shape[-1])
    reasons = []
    for way in from_text(ways):
        if way.most_rows is not None and flat.shape[0] > way.most_rows:
            continue
        problem = _problem(flat.shape[0], outputs, x.shape[-1], x.dtype, x.device, int8, bias is not None, activation)
        kernel = KERNELS[way.kernel]
        if reason := kernel.why_not(problem):
            reasons.append(reason)
            continue
        first, count = way.operands
        y = kernel.run(flat.contiguous(), tuple(operands[first : first + count]), bias, problem, way.configuration)
        return y.reshape(*x.shape[:-1], outputs)
    raise Refusal(
        "RCP1304",
        f"no kernel of this layer accepts {tuple(flat.shape)} {str(x.dtype).removeprefix('torch.')}"
        + "".join(f"; {reason}" for reason in dict.fromkeys(reasons)),
        "use the dtype and device that it was accelerated for, or create it again with `deployed`",
    )


@lru_cache(maxsize=4096)
def _problem(
    rows: int,
    outputs: int,
    inputs: int,
    dtype: torch.dtype,
    device: torch.device,
    int8: bool,
    bias: bool,
    activation: str,
) -> Problem:
    values = torch.int8 if int8 else dtype
    return Problem(rows, outputs, inputs, dtype, describe(device), values, bias, activation)


@torch.library.custom_op("recipelang::nm_linear", mutates_args=())
def nm_linear(
    x: Tensor, operands: list[Tensor], bias: Tensor | None, outputs: int, int8: bool, activation: str, ways: str
) -> Tensor:
    """`multiply` as an operation of torch."""
    return multiply(x, operands, bias, outputs, int8, activation, ways)


@nm_linear.register_fake
def _(
    x: Tensor, operands: list[Tensor], bias: Tensor | None, outputs: int, int8: bool, activation: str, ways: str
) -> Tensor:
    return x.new_empty(*x.shape[:-1], outputs)

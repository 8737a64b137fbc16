"""The operations that multiply, as torch's dispatcher sees them, and the two operands of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention

aten = torch.ops.aten
#: torch's switch that keeps its compiler, which no dispatch mode can enter, away from flex attention
_EAGER = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"
#: left …×n×K times right …×K×N, and the same added to the first argument
_TIMES = {aten.mm, aten.bmm, aten._int_mm}
_ADDED = {aten.addmm, aten.addmm_, aten._addmm_activation, aten.baddbmm, aten.baddbmm_, aten.addbmm, aten.addbmm_}
_CONVOLUTIONS = {aten.convolution, aten._convolution, aten.cudnn_convolution}
_ATTENTIONS = {aten._scaled_dot_product_flash_attention_for_cpu, aten._scaled_dot_product_fused_attention_overrideable}


@dataclass(frozen=True)
class Side:
    """One operand of a product: it may be a weight.

    Attributes:
        tensor: the operand. `other`: what it is multiplied with.
        inputs: the axis of the operand that is contracted.
        kind: `linear`, `convolution`, `transposed convolution`, `bilinear`, `recurrent` or `attention`.
        groups: of a convolution.
    """

    tensor: Tensor
    other: Tensor
    inputs: int
    kind: str = "linear"
    groups: int = 1


@contextmanager
def unfused() -> Iterator[None]:
    """Disables what hides products: the fused path of nn.MultiheadAttention and of nn.TransformerEncoderLayer,
    and the compiler around flex attention."""
    fused, eager = torch.backends.mha.get_fastpath_enabled(), getattr(flex_attention, _EAGER, None)
    torch.backends.mha.set_fastpath_enabled(False)
    setattr(flex_attention, _EAGER, True)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        setattr(flex_attention, _EAGER, eager)


def sides(operation: Any, args: tuple[Any, ...]) -> tuple[Side, ...]:
    """The operands of an operation that may be weights; empty for operations that do not multiply matrices."""
    if operation in _TIMES:
        return _matrices(*args[:2])
    if operation in _ADDED:
        return _matrices(*args[1:3])
    if operation in (aten.mv, aten.addmv, aten.addmv_):
        matrix, vector = args[:2] if operation is aten.mv else args[1:3]
        return Side(matrix, vector, -1), Side(vector, matrix, -1)
    if operation in (aten.dot, aten.vdot, aten.linear):
        return Side(args[1], args[0], -1), Side(args[0], args[1], -1)
    if operation in _CONVOLUTIONS or getattr(operation, "__name__", "") == "deform_conv2d":
        return (_convolution(operation, args),)
    if operation in _ATTENTIONS:
        query, key, value = args[:3]
        return Side(query, key, -1), Side(key, query, -1), Side(value, query, -2)
    return _special(operation, args)


def _matrices(left: Tensor, right: Tensor) -> tuple[Side, Side]:
    return Side(right, left, -2), Side(left, right, -1)


def _convolution(operation: Any, args: tuple[Any, ...]) -> Side:
    images, weight = args[:2]
    if operation not in (aten.convolution, aten._convolution):
        groups = images.shape[1] // weight.shape[1]
        return Side(weight, images, 1, "convolution", groups)
    transposed, groups = args[6], args[8]
    return Side(
        weight, images, 0 if transposed else 1, "transposed convolution" if transposed else "convolution", groups
    )


def _special(operation: Any, args: tuple[Any, ...]) -> tuple[Side, ...]:
    if operation is aten._trilinear:
        return (Side(args[1], args[0], 1, "bilinear"),)
    if operation is aten.mkldnn_rnn_layer:
        return tuple(Side(weight, args[0], 1, "recurrent") for weight in args[1:3])
    if operation in (aten._cudnn_rnn, aten.miopen_rnn):
        return tuple(Side(weight, args[0], 1, "recurrent") for weight in args[1] if weight.ndim == 2)
    return ()

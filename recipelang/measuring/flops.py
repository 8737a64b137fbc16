"""Floating-point operations of one forward pass, counted where products are computed, below modules and functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper

from recipelang.errors import Refusal
from recipelang.surgery.operands import unfused
from recipelang.surgery.provenance import memory_of
from recipelang.surgery.tracing import evaluating, first_line

Shape = Sequence[int]
aten = torch.ops.aten

#: torch's operations whose names say that they multiply matrices, convolve, attend or transform
_PRODUCTS = re.compile(
    r"convolution|conv\d|conv_(depthwise|dilated|transpose|tbc)|mm(_|$)|matmul|attention|quantized|fft_[cr]2"
    r"|(?<!fused)_(rnn(?!_flatten)|lstm|gru)|(^|_)linear(_|$)|linalg_(?!vector_norm|cross|check)|trilinear$"
)
#: torch's own namespaces
_OURS = {"aten", "prim", "prims", "profiler", "inductor", "debugprims"}


@dataclass(frozen=True)
class Count:
    """What one forward pass computes.

    Attributes:
        flops: 2 for each multiply-accumulate of convolutions, matrix products, attention and recurrent cells.
        uncounted: names of operations that ran and have no known formula, in order of their first call.
        of: memory of a weight → the operations of its products, for the weights that were asked for.
    """

    flops: int
    uncounted: tuple[str, ...] = ()
    of: Mapping[int, float] = field(default_factory=dict)


def count(
    module: nn.Module,
    example: Tensor,
    kept: Mapping[int, float] = MappingProxyType({}),
    weights: Collection[int] = (),
) -> Count:
    """Count one call with a copy of `example`, in evaluation mode, whichever kernels the device would choose.

    Args:
        module: left unchanged, with its modes.
        example: B×C×H×W.
        kept: memory of a weight (`provenance.memory_of`) → the part of its elements that count; of others, all do.
        weights: memory of those whose products are counted apart, too.

    Raises:
        Refusal: RCP0730: the network does not run while its operations are watched.
    """
    counter = _Counter(kept, dict.fromkeys(weights, 0.0))
    try:
        with evaluating(module), _products_in_the_open(example.device), counter:
            module(example.clone())
    except Exception as error:  # the module is the user's: whatever it raises is its answer
        raise Refusal(
            "RCP0730",
            f"the network's operations cannot be counted: {type(error).__name__}: {first_line(error)}",
            "leave `flops` out of `measure` and of conditions",
        ) from error
    return Count(round(counter.flops), tuple(counter.uncounted), counter.of)


@contextmanager
def _products_in_the_open(device: torch.device) -> Iterator[None]:
    """`unfused`, and on a GPU without fused attention, which pads the heads."""
    # Fused attention on a CPU takes heads as they are, and needs no memory for the scores.
    with unfused(), nullcontext() if device.type == "cpu" else sdpa_kernel(SDPBackend.MATH):
        yield


class _Counter(TorchDispatchMode):
    """Counts operations with a formula, decomposes those made of others, and names the rest that may multiply."""

    supports_higher_order_operators = True

    def __init__(self, kept: Mapping[int, float], of: dict[int, float]) -> None:
        super().__init__()
        self.flops = 0.0
        self.kept = kept
        self.of = of
        self.uncounted: dict[str, None] = {}
        self._formulas = {**flop_registry, **{op: shape_wrapper(formula) for op, formula in _formulas().items()}}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = getattr(func, "overloadpacket", func)
        formula = self._formulas.get(operation)
        if formula is None and isinstance(func, OpOverload):
            with self:
                outcome = func.decompose(*args, **kwargs)
            if outcome is not NotImplemented:
                return outcome
        outcome = func(*args, **kwargs)
        if formula is not None:
            flops = int(formula(*args, **kwargs, out_val=outcome)) * self._part(args)
            self.flops += flops
            self._note(args, flops)
        elif name := _may_multiply(operation):
            self.uncounted.setdefault(name)
        return outcome

    def _part(self, operands: tuple[Any, ...]) -> float:
        """The part of a product that counts: that of the weight in it."""
        if not self.kept:
            return 1.0
        return min((self.kept.get(memory_of(one), 1.0) for one in operands if isinstance(one, Tensor)), default=1.0)

    def _note(self, operands: tuple[Any, ...], flops: float) -> None:
        """Add a product to its weight; to several weights of one operation in proportion to their elements."""
        tensors = [leaf for leaf in tree_leaves(operands) if isinstance(leaf, Tensor)] if self.of else []
        mine = {memory: one.numel() for one in tensors if (memory := memory_of(one)) in self.of}
        for memory, elements in mine.items():
            self.of[memory] += flops * elements / sum(mine.values())


def _may_multiply(operation: Any) -> str:
    """The name of an operation that may multiply, judged by its name; "" for those of torch that do not."""
    if isinstance(operation, HigherOrderOperator):
        return str(operation.name())
    namespace, _, name = operation._qualified_op_name.partition("::")
    return f"{namespace}::{name}" if namespace not in _OURS or _PRODUCTS.search(name) else ""


def _formulas() -> dict[Any, Callable[..., int]]:
    """Formulas that torch's counter lacks; each takes the operation's arguments, tensors as their shapes."""
    found: dict[Any, Callable[..., int]] = {
        aten.mv: lambda matrix, vector, **_: 2 * prod(matrix),
        aten.addmv: lambda _, matrix, vector, **__: 2 * prod(matrix),
        aten.addmv_: lambda _, matrix, vector, **__: 2 * prod(matrix),
        aten.dot: lambda left, right, **_: 2 * prod(left),
        aten.vdot: lambda left, right, **_: 2 * prod(left),
        aten.addmm_: lambda _, left, right, **__: _matrices(left, right),
        aten._addmm_activation: lambda _, left, right, **__: _matrices(left, right),
        aten.addbmm: lambda _, left, right, **__: _matrices(left, right),
        aten.addbmm_: lambda _, left, right, **__: _matrices(left, right),
        aten.baddbmm_: lambda _, left, right, **__: _matrices(left, right),
        aten._int_mm: lambda left, right, **_: _matrices(left, right),
        aten._weight_int8pack_mm: lambda left, right, *_, **__: 2 * prod(left) * right[0],
        aten._trilinear: _bilinear,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_fused_attention_overrideable: _attention,
        aten._scaled_dot_product_attention_math_for_mps: _attention,
        aten.mkldnn_rnn_layer: _layer_of_cells,
        aten._cudnn_rnn: _recurrent,
        aten.miopen_rnn: _recurrent,
    }
    if deformable := getattr(torch.ops.torchvision, "deform_conv2d", None):
        found[deformable] = _deformable
    return found


def _matrices(left: Shape, right: Shape) -> int:
    """…×n×K times …×K×N."""
    return 2 * prod(left) * right[-1]


def _bilinear(first: Shape, weight: Shape, second: Shape, *_: Any, **__: Any) -> int:
    """Rows B×I, weight O×I×J, rows B×J, as torch's functional bilinear calls it: x W for each output, times y."""
    rows, (outputs, left, right) = first[0], weight
    return 2 * rows * outputs * right * (left + 1)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Query …×T×E, key …×S×E, value …×S×V; fewer heads of keys may serve several of the query. A mask saves nothing."""
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _layer_of_cells(rows: Shape, inputs: Shape, hidden: Shape, *_: Any, **__: Any) -> int:
    """Rows T×B×I through one layer in one direction, whose weights multiply every row once."""
    return 2 * prod(rows[:-1]) * (prod(inputs) + prod(hidden))


def _recurrent(rows: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """Rows T×B×I, or packed N×I; every matrix of all layers and directions multiplies every row once."""
    return 2 * prod(rows[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)


def _deformable(images: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """As a convolution; computing the positions that it samples costs no multiply-accumulates of its weights."""
    return 2 * prod(out_shape) * prod(weight[1:])

"""Linear layers of a program in onnxruntime's own operations: weights in groups, and ranges that are computed.

groups    Grouped(weight) ─▶ product          MatMulNBits: codes of 4 or 8 bits, a scale for each group; what it reads
                                              is rounded to 8 bits for each group (accuracy_level 4)
dynamic   Dynamic(value) ─▶ product           DynamicQuantizeLinear ─▶ MatMulInteger ─▶ scales of both

The exporter is given both as operations of a domain of ours (`marked`), and `rewritten` puts the others in their place:
so it does not matter whether it writes a layer as Gemm or as MatMul and Add. What reads them otherwise gets numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipelang.runtimes.onnx_graph import Graph
from recipelang.surgery.restrictions.grid import Grid, grouped

#: The domain of what the exporter is given, and that of onnxruntime's own operations.
OURS, MICROSOFT = "recipelang", "com.microsoft"
GROUPED, DYNAMIC = "Grouped", "Dynamic"
#: Sizes of groups that MatMulNBits has.
BLOCKS = (16, 32, 64, 128, 256)
#: Level 4: what the operation reads is rounded to 8 bits, so that integers are multiplied. Without it 8 bits are slower
#: than float32 by a factor of 15.
LEVEL = 4


def marked(operation: str, value: Tensor) -> Tensor:
    """The value through an operation of ours, in a module that is exported."""
    found: Tensor = torch.onnx.ops.symbolic(
        f"{OURS}::{operation}", (value,), {}, dtype=value.dtype, shape=value.shape, version=1
    )
    return found


def in_groups(grid: Grid, shape: Sequence[int]) -> bool:
    """Whether a weight of this shape can be that of MatMulNBits: a matrix of outputs × inputs in groups of such a
    size."""
    return grid.scheme.group in BLOCKS and grid.scheme.axis == 0 and len(shape) == 2


def container(bits: int) -> int:
    """The bits in which MatMulNBits holds integers of this many bits."""
    return 4 if bits <= 4 else 8


def said(grid: Grid, operation: str) -> str:
    """How onnxruntime executes the product of a weight, in words."""
    if operation != "MatMulNBits":
        return f"one {operation} with the recipe's scales"
    bits = grid.scheme.bits
    held = f", where {bits} bits are held in {container(bits)}" if bits != container(bits) else ""
    return f"one {operation}{held}; it rounds what it reads to 8 bits for each group of {grid.scheme.group}"


def rewritten(model: Any, weights: Mapping[str, tuple[str, Grid, Tensor]]) -> Any:
    """The program with onnxruntime's operations in place of ours.

    Args:
        model: is changed.
        weights: name of the initializer that `Grouped` reads → the name of the weight, its grid, and the weight of
            outputs × inputs.
    """
    ours = [node for node in model.graph.node if node.domain == OURS]
    if not ours:
        return model
    graph = Graph(model.graph)
    for node in ours:
        if node.op_type == GROUPED:
            _grouped(graph, node, *weights[node.input[0]])
        else:
            _dynamic(graph, node)
    graph.finish()
    _domains(model)
    return model


def _domains(model: Any) -> None:
    """Name the domains that are used, and no others."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    if MICROSOFT in used and MICROSOFT not in {one.domain for one in kept}:
        from onnx import helper

        kept.append(helper.make_opsetid(MICROSOFT, 1))
    del model.opset_import[:]
    model.opset_import.extend(kept)


@dataclass(frozen=True)
class _Product:
    """A linear layer in a graph: `value` × transposed weight (+ bias) → `output`."""

    node: Any
    value: str
    bias: str
    output: str


def _product(node: Any, value: str = "", weight: str = "") -> _Product | None:
    """The node as a linear layer of this value, or of this weight (transposed already for MatMul); else None."""
    from onnx import helper

    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    plain = node.op_type == "Gemm" and given.get("transB", 0) == 1 and not given.get("transA", 0)
    plain = plain and given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0
    if not (plain or node.op_type == "MatMul"):
        return None
    if (value and node.input[0] != value) or (weight and (node.input[1] != weight or node.input[0] == weight)):
        return None
    return _Product(node, node.input[0], node.input[2] if len(node.input) > 2 else "", node.output[0])


def _transposed(graph: Graph, name: str) -> list[str]:
    """The values that are the transpose of a matrix."""
    found = []
    for node in graph.readers.get(name, ()):
        turns = [list(one.ints) for one in node.attribute if one.name == "perm"]
        if node.op_type == "Transpose" and turns == [[1, 0]]:
            found.append(node.output[0])
    return found


def _grouped(graph: Graph, node: Any, place: str, grid: Grid, weight: Tensor) -> None:
    """A weight in groups: MatMulNBits where linear layers read it, its numbers where something else does."""
    from onnx import helper

    held, name = node.input[0], node.output[0]
    reading = [_product(one, weight=name) for one in graph.readers.get(name, ()) if one.op_type == "Gemm"]
    for turned in _transposed(graph, name):
        reading += [_product(one, weight=turned) for one in graph.readers.get(turned, ()) if one.op_type == "MatMul"]
    scheme = grid.scheme
    assert scheme.group is not None
    bits = container(scheme.bits)
    for product in filter(None, reading):
        inputs = [product.value, *_packed(graph, place, grid, weight, bits)]
        result = f"{product.output}_product" if product.bias else product.output
        made = [
            helper.make_node(
                "MatMulNBits",
                inputs,
                [result],
                domain=MICROSOFT,
                K=weight.shape[1],
                N=weight.shape[0],
                bits=bits,
                block_size=scheme.group,
                accuracy_level=LEVEL,
            )  # fmt: skip
        ]
        if product.bias:
            made.append(helper.make_node("Add", [result, product.bias], [product.output]))
        graph.replace(product.node, made)
    graph.replace(node, [helper.make_node("Identity", [held], [name])])


def _packed(graph: Graph, place: str, grid: Grid, weight: Tensor, bits: int) -> list[str]:
    """The initializers of MatMulNBits: integers without sign, scales, and zero points where some are not in the middle.

    Each byte holds one code of 8 bits, or two of 4, the first one in its low half.
    """
    group, offset = grid.scheme.group, 2 ** (bits - 1)
    assert group is not None
    names = [f"{place}.integers", f"{place}.scale"]
    codes = grouped(grid.codes(weight), 0, group) + offset
    graph.hold(names[0], _bytes(codes.numpy().astype(np.uint8), bits))
    graph.hold(names[1], grid.scale.numpy())
    if bool((grid.zero != 0).any()):
        zeros = (grid.zero + offset).numpy().astype(np.uint8)
        zeros = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % (8 // bits))), constant_values=offset)
        names.append(graph.hold(f"{place}.zero", _bytes(zeros, bits)))
    return names


def _bytes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    return codes if bits == 8 else (codes[..., 0::2] | (codes[..., 1::2] << 4)).astype(np.uint8)


def _dynamic(graph: Graph, node: Any) -> None:
    """A value on a grid of its own range: integers where linear layers multiply it, its numbers for the others."""
    from onnx import TensorProto, helper

    value, name = node.input[0], node.output[0]
    integers, scale, zero = (f"{name}_{what}" for what in ("integers", "scale", "zero"))
    graph.replace(
        node,
        [
            helper.make_node("DynamicQuantizeLinear", [value], [integers, scale, zero]),
            helper.make_node("DequantizeLinear", [integers, scale, zero], [name]),
        ],
    )
    for one in graph.readers.get(name, ()):
        product = _product(one, value=name)
        found = _integers(graph, one) if product else None
        if product is None or found is None:
            continue
        out, (weight, scales) = product.output, found
        sums = [
            helper.make_node("MatMulInteger", [integers, weight, zero], [f"{out}_integers"]),
            helper.make_node("Cast", [f"{out}_integers"], [f"{out}_sums"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [scale, scales], [f"{out}_scales"]),
            helper.make_node(
                "Mul", [f"{out}_sums", f"{out}_scales"], [f"{out}_product" if product.bias else out]
            ),
        ]  # fmt: skip
        if product.bias:
            sums.append(helper.make_node("Add", [f"{out}_product", product.bias], [out]))
        graph.replace(one, sums)


def _integers(graph: Graph, product: Any) -> tuple[str, str] | None:
    """The initializers with the integers of a linear layer's weight, inputs × outputs, and its scales; None where the
    weight has none, or they have zero points."""
    from onnx import numpy_helper

    made = graph.made.get(product.input[1])
    if product.op_type == "MatMul":
        if made is None or made.op_type != "Transpose":
            return None
        made = graph.made.get(made.input[0])
    if made is None or made.op_type != "DequantizeLinear" or not all(name in graph.held for name in made.input):
        return None
    parts = [numpy_helper.to_array(graph.held[name]) for name in made.input]
    codes, scales = parts[0], parts[1]
    axis = next((one.i for one in made.attribute if one.name == "axis"), 1)
    if codes.ndim != 2 or (len(parts) > 2 and parts[2].any()) or (scales.ndim and axis != 0) or codes.dtype != np.int8:
        return None
    turned = graph.hold(f"{made.input[0]}.turned", codes.T)
    graph.instead[turned] = made.input[0]
    return turned, made.input[1]

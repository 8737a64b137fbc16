"""ONNX's operators as torch's own functions and layers, with sizes as numbers of their calls.

What stands here is what surgery has to read: views, cuts, products, sums, norms. Everything else is a module of
onnx2torch (`foreign`). Source: https://onnx.ai/onnx/operators; numbers after a colon are the opset of a form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy
import torch
from torch import nn
from torch.nn import functional as F

from recipelang.importing import views
from recipelang.importing.graph import Building, Node, Unsupported, made_up
from recipelang.importing.sized import CHANNELS, RANK

Emit = Callable[[Building, Node], Any]


# products --------------------------------------------------------------------------------------


def matmul(build: Building, node: Node) -> Any:
    """`MatMul`; with a matrix of weights, and what is added to it, a linear layer."""
    weight = build.constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or build.constant(node.inputs[0]) is not None:
        return build.call(torch.matmul, build.value(node.inputs[0]), build.value(node.inputs[1]))
    bias = build.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    return _linear(build, node, weight.T, bias)


def gemm(build: Building, node: Node) -> Any:
    """`Gemm`; with weights a linear layer."""
    told = node.attributes
    weight = build.constant(node.inputs[1])
    bias = build.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    given = bias is not None or len(node.inputs) < 3 or not node.inputs[2]
    if weight is None or told.get("transA", 0) or not given:
        raise Unsupported("`Gemm` without weights")
    weight = (weight if told.get("transB", 0) else weight.T) * numpy.float32(told.get("alpha", 1.0))
    return _linear(build, node, weight, None if bias is None else bias * numpy.float32(told.get("beta", 1.0)))


def _linear(build: Building, node: Node, weight: numpy.ndarray, bias: numpy.ndarray | None) -> Any:
    """A linear layer with a weight O×I."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    tensors = {"weight": weight}
    if bias is not None:
        tensors["bias"] = numpy.broadcast_to(bias.reshape(-1), (weight.shape[0],))
    return build.layer(node, layer, tensors)


def layer_norm(build: Building, node: Node) -> Any:
    """`LayerNormalization` over the last axes."""
    scale = build.constant(node.inputs[1])
    if scale is None:
        raise Unsupported("`LayerNormalization` without weights")
    bias = build.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    layer = nn.LayerNorm(scale.shape, eps=node.attributes.get("epsilon", 1e-5), bias=bias is not None)
    return build.layer(node, layer, {"weight": scale, **({} if bias is None else {"bias": bias})})


def batch_norm(build: Building, node: Node) -> Any:
    """`BatchNormalization` with statistics of its own."""
    tensors = [build.constant(name) for name in node.inputs[1:]]
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    rank, told = node.attributes[RANK], node.attributes
    if rank not in kinds or any(tensor is None for tensor in tensors) or told.get("training_mode", 0):
        raise Unsupported("`BatchNormalization` without statistics of its own")
    names = ("weight", "bias", "running_mean", "running_var")
    held = {name: tensor for name, tensor in zip(names, tensors, strict=True) if tensor is not None}
    momentum = 1 - told.get("momentum", 0.9)
    return build.layer(node, kinds[rank](len(held["weight"]), told.get("epsilon", 1e-5), momentum), held)


def instance_norm(build: Building, node: Node) -> Any:
    """`InstanceNormalization`; exporters make up ones and zeros where it has no weights."""
    held = {name: build.constant(given) for name, given in zip(("weight", "bias"), node.inputs[1:], strict=True)}
    kinds = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}
    weight, bias, rank = held["weight"], held["bias"], node.attributes[RANK]
    if weight is None or bias is None or rank not in kinds:
        raise Unsupported("`InstanceNormalization` of other than images, or without weights")
    plain = bool((weight == 1).all()) and not bias.any() and all(made_up(name) for name in node.inputs[1:])
    layer = kinds[rank](len(weight), node.attributes.get("epsilon", 1e-5), affine=not plain)
    return build.layer(node, layer, {} if plain else {"weight": weight, "bias": bias})


def group_norm(build: Building, node: Node) -> Any:
    """`GroupNormalization`, with a scale and a shift for each channel or none."""
    told, tensors = node.attributes, [build.constant(name) for name in node.inputs[1:]]
    if any(tensor is None for tensor in tensors):
        raise Unsupported("`GroupNormalization` without weights")
    held = {name: tensor for name, tensor in zip(("weight", "bias"), tensors, strict=False) if tensor is not None}
    layer = nn.GroupNorm(told["num_groups"], told[CHANNELS], told.get("epsilon", 1e-5), affine=bool(held))
    return build.layer(node, layer, held)


# one number after another ----------------------------------------------------------------------


def two(function: Callable[..., Any]) -> Emit:
    """An operator of two operands, either of which may be a number."""

    def emit(build: Building, node: Node) -> Any:
        return build.call(function, *(build.operand(name) for name in node.inputs))

    return emit


def one(function: Callable[..., Any]) -> Emit:
    """An operator of one operand."""
    return lambda build, node: build.call(function, build.value(node.inputs[0]))


def acted(layer: Callable[[Mapping[str, Any]], nn.Module]) -> Emit:
    """An activation as a layer."""
    return lambda build, node: build.layer(node, layer(node.attributes), {})


def clip(build: Building, node: Node) -> Any:
    """`Clip`; bounds are inputs from :11."""
    low, high = (build.number(node, k) if len(node.inputs) > k and node.inputs[k] else None for k in (1, 2))
    low, high = (node.attributes.get("min", low), node.attributes.get("max", high))
    if (low, high) == (0, 6):
        return build.layer(node, nn.ReLU6(), {})
    return build.call(torch.clamp, build.value(node.inputs[0]), low, high)


def softmax(build: Building, node: Node) -> Any:
    """`Softmax` over one axis, as from :13."""
    if build.opset < 13 and node.attributes.get("axis", 1) != -1:
        raise Unsupported("`Softmax` of an opset below 13 over several axes")
    return build.call(torch.softmax, build.value(node.inputs[0]), node.attributes.get("axis", -1))


def reduce(function: Callable[..., Any]) -> Emit:
    """A reduction over axes, which are an input from :18."""

    def emit(build: Building, node: Node) -> Any:
        axes, keep = build.axes(node), bool(node.attributes.get("keepdims", 1))
        if axes is None:
            raise Unsupported(f"`{node.kind}` of all axes")
        return build.call(function, build.value(node.inputs[0]), tuple(axes), keep)

    return emit


def pool(build: Building, node: Node) -> Any:
    """`MaxPool` and `AveragePool` of images, with the same padding on both sides."""
    told = node.attributes
    kernel = told["kernel_shape"]
    pads = told.get("pads") or [0] * 2 * len(kernel)
    if len(kernel) != 2 or told.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or len(node.outputs) > 1:
        raise Unsupported(f"`{node.kind}` of other than images")
    if pads[:2] != pads[2:]:
        raise Unsupported(f"`{node.kind}` with other padding on one side than on the other")
    how: dict[str, Any] = {"stride": tuple(told.get("strides") or (1, 1)), "padding": tuple(pads[:2])}
    how |= {"ceil_mode": bool(told.get("ceil_mode", 0))}
    dilation = tuple(told.get("dilations") or (1, 1))
    if node.kind == "MaxPool":
        return build.layer(node, nn.MaxPool2d(tuple(kernel), dilation=dilation, **how), {})
    if dilation != (1, 1):
        raise Unsupported("`AveragePool` with dilation")
    counted = bool(told.get("count_include_pad", 0))
    return build.layer(node, nn.AvgPool2d(tuple(kernel), count_include_pad=counted, **how), {})


def mean_of_places(build: Building, node: Node) -> Any:
    """`GlobalAveragePool`, for images."""
    return build.layer(node, nn.AdaptiveAvgPool2d(1), {})


def maximum_of_places(build: Building, node: Node) -> Any:
    """`GlobalMaxPool`, for images."""
    return build.layer(node, nn.AdaptiveMaxPool2d(1), {})


def cast(build: Building, node: Node) -> Any:
    """`Cast` between numbers of floating point, which are float32 here."""
    if node.attributes["to"] != 1:
        raise Unsupported("`Cast` to numbers that are not floating-point")
    return build.call(torch.Tensor.to, build.value(node.inputs[0]), torch.float32)


def pad(build: Building, node: Node) -> Any:
    """`Pad`; sizes are an input from :11."""
    told = node.attributes
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        told.get("mode", "constant")
    ]
    sizes: list[int] = (build.numbers(node, 1) if len(node.inputs) > 1 else told["pads"]) or []
    axes: list[int] = build.numbers(node, 3) or list(range(len(sizes) // 2))
    value = build.number(node, 2) if len(node.inputs) > 2 and node.inputs[2] else told.get("value", 0.0)
    rank = 1 + max(axes)
    if min(axes) < 0:
        raise Unsupported("`Pad` counted from the last axis")
    each = dict(zip(axes, zip(sizes[: len(axes)], sizes[len(axes) :], strict=True), strict=True))
    flat = [size for axis in reversed(range(rank)) for size in each.get(axis, (0, 0))]
    while flat and rank == len(flat) // 2 and flat[-2:] == [0, 0] and len(flat) > 2:
        flat, rank = flat[:-2], rank - 1
    return build.call(F.pad, build.value(node.inputs[0]), flat, mode, *([value] if mode == "constant" else []))


def resize(build: Building, node: Node) -> Any:
    """`Resize` of images to sizes or by factors."""
    told = node.attributes
    how = told.get("mode", "nearest"), told.get("coordinate_transformation_mode", "half_pixel")
    known = {
        ("nearest", "asymmetric"): ("nearest", None),
        ("linear", "half_pixel"): ("bilinear", False),
        ("linear", "pytorch_half_pixel"): ("bilinear", False),
        ("linear", "align_corners"): ("bilinear", True),
        ("cubic", "half_pixel"): ("bicubic", False),
        ("cubic", "pytorch_half_pixel"): ("bicubic", False),
        ("cubic", "align_corners"): ("bicubic", True),
    }
    if how not in known or (how[0] == "cubic" and told.get("cubic_coeff_a", -0.75) != -0.75):
        raise Unsupported(f"`Resize` by `{how[0]}` at `{how[1]}`")
    mode, corners = known[how]
    sizes = build.numbers(node, 3) if len(node.inputs) > 3 and node.inputs[3] else None
    factors = build.numbers(node, 2) if sizes is None and len(node.inputs) > 2 else None
    if (sizes or factors) is None or len(sizes or factors or ()) != 4:
        raise Unsupported("`Resize` of other than images")
    return build.call(
        F.interpolate,
        build.value(node.inputs[0]),
        None if sizes is None else [int(size) for size in sizes[2:]],
        None if factors is None else [float(factor) for factor in factors[2:]],
        mode,
        corners,
    )


def same(build: Building, node: Node) -> Any:
    """What a network in evaluation passes through."""
    return build.value(node.inputs[0])


OPERATORS: Mapping[str, Emit] = {
    **{
        "Reshape": views.reshape,
        "Flatten": views.flatten,
        "Expand": views.expand,
        "Transpose": views.transpose,
        "Squeeze": views.squeeze,
    },
    **{
        "Unsqueeze": views.unsqueeze,
        "Slice": views.sliced,
        "Split": views.split,
        "Gather": views.gather,
        "Concat": views.concat,
        "Tile": views.tile,
    },
    **{
        "MatMul": matmul,
        "Gemm": gemm,
        "LayerNormalization": layer_norm,
        "BatchNormalization": batch_norm,
        "InstanceNormalization": instance_norm,
        "GroupNormalization": group_norm,
        "Pad": pad,
        "Resize": resize,
        "Cast": cast,
    },
    **{"Add": two(torch.add), "Sub": two(torch.sub), "Mul": two(torch.mul), "Div": two(torch.div)},
    **{"Pow": two(torch.pow), "Clip": clip, "Softmax": softmax, "Identity": same, "Dropout": same},
    **{"ReduceMean": reduce(torch.mean), "ReduceSum": reduce(torch.sum), "ReduceMax": reduce(torch.amax)},
    **{"ReduceMin": reduce(torch.amin)},
    **{"MaxPool": pool, "AveragePool": pool},
    **{"GlobalAveragePool": mean_of_places, "GlobalMaxPool": maximum_of_places},
    **{"Sqrt": one(torch.sqrt), "Erf": one(torch.erf), "Exp": one(torch.exp), "Log": one(torch.log)},
    **{"Neg": one(torch.neg), "Abs": one(torch.abs), "Reciprocal": one(torch.reciprocal)},
    "Relu": acted(lambda told: nn.ReLU()),
    "Sigmoid": acted(lambda told: nn.Sigmoid()),
    "Tanh": acted(lambda told: nn.Tanh()),
    "HardSwish": acted(lambda told: nn.Hardswish()),
    "Mish": acted(lambda told: nn.Mish()),
    "Gelu": acted(lambda told: nn.GELU(told.get("approximate", "none"))),
    "LeakyRelu": acted(lambda told: nn.LeakyReLU(told.get("alpha", 0.01))),
    "Elu": acted(lambda told: nn.ELU(told.get("alpha", 1.0))),
}

"""The nodes of a program, one after another, with sizes that are numbers.

Attributes of nodes say what `building` needs: `recipe.flatten`, which axes a Reshape joins; `recipe.sizes`, what it
makes, -1 for what grows; `recipe.batch`, what multiple of the batch each size of an Expand is (0: a number);
`recipe.rank`, how many axes a normalisation reads; `recipe.channels`, how many channels a GroupNormalization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from recipelang.errors import Refusal
from recipelang.importing.reading import Program, unfit

#: sizes of the two batches; a product of neither is a usual number of channels
BATCHES = (2, 3)
FLATTEN, BATCH, TO = "recipe.flatten", "recipe.batch", "recipe.sizes"
#: operations whose answer follows from sizes, whatever the values are
SIZES = ("Shape", "Size")
#: operations that a network in evaluation passes through
PASSES = ("Identity", "Dropout")
SAME = (b"SAME_UPPER", b"SAME_LOWER")
RANK, NORMS = "recipe.rank", ("BatchNormalization", "InstanceNormalization")
CHANNELS, GROUP = "recipe.channels", "GroupNormalization"
RESHAPES = ("Reshape", "Expand")
#: what changes axes and no value
VIEWS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
#: what combines its operands one number with another
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Where")
CONTROL = ("If", "Loop", "Scan", "SequenceMap")
Runs = tuple[Mapping[str, numpy.ndarray], ...]


@dataclass
class Settling:
    """A program on its way.

    Attributes:
        program: as it was read.
        model: changed in place.
        fixed: the number of images that it was written for; None where it takes any.
        data: names of what depends on the values of images.
        constants: name → value of everything that is known.
        named: name of a constant → that of the weight that it was made from.
    """

    program: Program
    model: Any
    fixed: int | None
    data: set[str] = field(default_factory=set)
    constants: dict[str, numpy.ndarray] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)


def equal(one: numpy.ndarray, other: numpy.ndarray) -> bool:
    """Whether two values are the same; NaN equals NaN."""
    return bool(numpy.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def depends(name: str, place: str) -> Refusal:
    """The refusal of sizes that grow with the batch in no way that torch has."""
    why = f"sizes at `{place[:60]}` depend on the number of images in a way that no layer of torch has"
    return unfit(name, why, "export it with a batch of fixed size 1")


def is_sized(node: Any) -> bool:
    """Whether sizes of images decide what a node does, beside its inputs."""
    return node.op_type in (*RESHAPES, *NORMS, GROUP) or any(
        each.name == "auto_pad" and each.s in SAME for each in node.attribute
    )


def settle(work: Settling, node: Any, runs: Runs, spread: set[str]) -> list[Any]:
    """The node with sizes that are numbers; and the nodes that it needs before it."""
    import onnx

    sized = is_sized(node)
    given = [_size(work, run, node.input[0]) for run in runs] if sized else []
    made = [run[node.output[0]].shape for run in runs] if sized else []
    if node.op_type == "Reshape":
        return [_reshape(work, node, given, made)]
    if node.op_type == "Expand":
        return [_expand(node, made, work.fixed)]
    if node.op_type in NORMS:
        node.attribute.append(onnx.helper.make_attribute(RANK, len(given[0])))
    elif sized and node.op_type != GROUP:
        _pad_each_side(node, given[0], made[0])
    if node.op_type == "Gather" and _takes_all(node, runs):
        return [onnx.helper.make_node("Identity", [node.input[0]], list(node.output), name=node.name)]
    before = []
    for position, name in enumerate(node.input):
        if not name or name in work.data:
            continue
        constant = work.constants.get(name)
        if constant is None:
            raise depends(work.program.name, node.name or node.output[0])
        if keeps_shape(work, node, runs) and (name in spread or _same_for_all(work, node, constant, runs)):
            work.constants[name] = constant[:1]
            continue
        joins = node.op_type == "Concat" and _axis(node) != 0
        if name in spread or (joins and constant.ndim and len(constant) == work.fixed):
            work.constants[name] = constant[:1]
            before.append(_each(node, name, constant))
            node.input[position] = before[-1].output[0]
    return [*before, node]


def keeps_shape(work: Settling, node: Any, runs: Runs) -> bool:
    """Whether one operand that is computed from images has the shape of what a node makes: others are broadcast."""
    made = node.output[0]
    known = [name for name in node.input if name in work.data and all(name in run and made in run for run in runs)]
    return node.op_type in ELEMENTWISE and any(
        all(run[name].shape == run[made].shape for run in runs) for name in known
    )


def _same_for_all(work: Settling, node: Any, constant: numpy.ndarray, runs: Runs) -> bool:
    """Whether a constant of a program for several images has the same row for each of them."""
    rows = work.fixed is not None and constant.ndim == runs[0][node.output[0]].ndim and len(constant) == work.fixed > 1
    return bool(rows) and equal(constant, constant[:1].repeat(len(constant), 0))


def _size(work: Settling, run: Mapping[str, numpy.ndarray], name: str) -> tuple[int, ...]:
    return run[name].shape if name in run else work.constants[name].shape


def _pad_each_side(node: Any, given: Sequence[int], made: Sequence[int]) -> None:
    """Write out how many places `auto_pad` adds to each side of images of this size."""
    import onnx

    told = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    kernel, rank = told["kernel_shape"], len(told["kernel_shape"])
    strides, dilations = (told.get(name) or [1] * rank for name in ("strides", "dilations"))
    pads: list[tuple[int, int]] = []
    for size, out, reach, stride, dilation in zip(given[2:], made[2:], kernel, strides, dilations, strict=True):
        all_of_them = max(0, (out - 1) * stride + dilation * (reach - 1) + 1 - size)
        less = all_of_them // 2
        pads.append((less, all_of_them - less) if told["auto_pad"] == SAME[0] else (all_of_them - less, less))
    kept = [each for each in node.attribute if each.name not in ("auto_pad", "pads")]
    del node.attribute[:]
    both = [pad[0] for pad in pads] + [pad[1] for pad in pads]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", both)])


def _each(node: Any, name: str, constant: numpy.ndarray) -> Any:
    """An Expand that gives every image of the batch the one row of a constant."""
    import onnx

    new = onnx.helper.make_node("Expand", [name], [f"{node.name}/{name}/each"], name=f"{node.name}/each")
    new.attribute.append(onnx.helper.make_attribute(BATCH, [1, *[0] * (constant.ndim - 1)]))
    new.attribute.append(onnx.helper.make_attribute(TO, [1, *map(int, constant.shape[1:])]))
    return new


def _takes_all(node: Any, runs: Runs) -> bool:
    """Whether a Gather takes all images in their order: `x[arange(len(x))]`."""
    index = [run.get(node.input[1]) for run in runs]
    sizes = BATCHES if len(runs) > 1 else ()
    return (
        _axis(node) == 0
        and bool(sizes)
        and all(each is not None and equal(each, numpy.arange(size)) for each, size in zip(index, sizes, strict=True))
    )


def _axis(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _reshape(work: Settling, node: Any, given: Sequence[Any], made: Sequence[Any]) -> Any:
    """A Reshape whose target is written out."""
    new = reshaped(work, node.input[0], node.output[0], given, made)
    if new is None:
        raise depends(work.program.name, node.name or node.output[0])
    new.name = node.name
    return new


def reshaped(work: Settling, start: str, end: str, given: Sequence[Any], made: Sequence[Any]) -> Any:
    """A Reshape between shapes: the axes that it joins, or its sizes with -1 for what grows; None where several grow.

    Args:
        start, end: names of its input and output.
        given, made: their shapes, for a batch of each size that was run.
    """
    import onnx

    after, joined = made[0], _joined(given[0], made[0])
    new = onnx.helper.make_node("Reshape", [start], [end], name=end)
    if joined:
        new.attribute.append(onnx.helper.make_attribute(FLATTEN, list(joined)))
        return new
    grows = [k for k in range(len(after)) if made[0][k] != made[-1][k]]
    if work.fixed is not None and len(made) == 1:
        grows = [0] if len(after) else []
    if len(grows) > 1:
        return None
    sizes = [-1 if k in grows else int(size) for k, size in enumerate(after)]
    new.attribute.append(onnx.helper.make_attribute(TO, sizes))
    return new


def _joined(before: Sequence[int], after: Sequence[int]) -> tuple[int, int] | None:
    """(first, last) of the axes that become one, where nothing else changes; None where it is not so."""
    gone = len(before) - len(after)
    for first in range(len(after)):
        last = first + gone
        joins = gone > 0 and first > 0 and int(numpy.prod(before[first : last + 1])) == after[first]
        if (
            joins
            and tuple(before[:first]) == tuple(after[:first])
            and tuple(before[last + 1 :]) == tuple(after[first + 1 :])
        ):
            return first, last
    return None


def _expand(node: Any, made: Sequence[Any], fixed: int | None) -> Any:
    """An Expand with its sizes, and which of them are multiples of the batch."""
    import onnx

    first, last = made[0], made[-1]
    step = [b - a for a, b in zip(first, last, strict=True)]
    if fixed is not None and len(first) and first[0] % fixed == 0:
        step[0] = first[0] // fixed
    new = onnx.helper.make_node("Expand", [node.input[0]], list(node.output), name=node.name)
    new.attribute.append(onnx.helper.make_attribute(BATCH, step))
    new.attribute.append(onnx.helper.make_attribute(TO, [int(size) for size in first]))
    return new

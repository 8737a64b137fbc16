"""A program for one size of images: every number that follows from sizes is computed, once and for all.

Programs compute the sizes of their views from those of their inputs, in dozens of operations, and a network whose
layers shall be removed cannot do so. onnxruntime runs the program with two batches of different sizes: what is equal
is a constant, what grows with the batch is a multiple of it.

Attributes of nodes say what `building` needs: `recipe.flatten`, which axes a Reshape joins; `recipe.sizes`, what it
makes, -1 for what grows; `recipe.batch`, what multiple of the batch each size of
an Expand is (0: a number); `recipe.rank`, how many axes a BatchNormalization reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from recipelang.errors import Refusal
from recipelang.importing.reading import Program, unfit
from recipelang.importing.running import Session
from recipelang.surgery.tracing import first_line

#: sizes of the two batches; a product of neither is a usual number of channels
BATCHES = (2, 3)
FLATTEN, BATCH, TO = "recipe.flatten", "recipe.batch", "recipe.sizes"
#: operations whose answer follows from sizes, whatever the values are
SIZES = ("Shape", "Size")
#: operations that a network in evaluation passes through
PASSES = ("Identity", "Dropout")
SAME = (b"SAME_UPPER", b"SAME_LOWER")
RANK, NORM = "recipe.rank", "BatchNormalization"
RESHAPES = ("Reshape", "Expand")
CONTROL = ("If", "Loop", "Scan", "SequenceMap")
Runs = tuple[Mapping[str, numpy.ndarray], ...]


@dataclass
class Settling:
    """A program on its way.

    Attributes:
        program: as it was read.
        model: changed in place.
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


def settled(program: Program, shape: tuple[int, ...]) -> Any:
    """The program for images of a shape, as an `onnx.ModelProto` whose nodes depend on the values of images, all of
    them, and whose other numbers are constants.

    Args:
        program: is not changed.
        shape: of one image, (C, H, W).

    Raises:
        Refusal: RCP0767: it has control flow, does not take such images, or its sizes depend on the batch in a way
            that torch's layers do not.
    """
    model, fixed = resized(program, shape)
    work = Settling(program, model, fixed)
    _refuse_control(work)
    _constants_aside(work)
    _follow(work)
    nodes = [node for node in model.graph.node if any(name in work.data for name in node.output)]
    read = {name for node in nodes for name in node.input if name}
    wanted = [name for name in read if name not in work.data and name not in work.constants]
    sized = {name for node in nodes if _is_sized(node) for name in (node.input[0], node.output[0])}
    runs = _runs(work, shape, [*wanted, *sorted(sized & work.data)])
    spread = _settle_constants(work, wanted, runs)
    nodes = [new for node in nodes for new in _settle(work, node, runs, spread)]
    return _rebuilt(work, nodes)


def resized(program: Program, shape: tuple[int, ...]) -> tuple[Any, int | None]:
    """A copy of the program for images of a shape and any number of them; the number that it was written for, or None.

    Raises:
        Refusal: RCP0767: it is for images with other numbers of axes or channels.
    """
    import onnx

    if len(program.axes) != len(shape) + 1 or program.axes[1] not in (None, shape[0]):
        own, given = ("×".join("?" if a is None else str(a) for a in axes) for axes in (program.axes[1:], shape))
        raise unfit(program.name, f"it takes images {own}, and these are {given}", "use data of the same channels")
    model = onnx.ModelProto()
    model.CopyFrom(program.model)
    given = next(one for one in model.graph.input if one.name == program.input)
    for axis, size in zip(given.type.tensor_type.shape.dim, ("batch", *shape), strict=True):
        axis.Clear()
        if isinstance(size, str):
            axis.dim_param = size
        else:
            axis.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model, program.axes[0]


# what is known ---------------------------------------------------------------------------------


def _refuse_control(work: Settling) -> None:
    if found := sorted({node.op_type for node in work.model.graph.node} & set(CONTROL)):
        why = f"which operations it executes depends on values: it has {', '.join(f'`{one}`' for one in found)}"
        raise unfit(work.program.name, why, "export it without branches and loops, for one size of images")


def _constants_aside(work: Settling) -> None:
    """Weights and `Constant`s as values by name."""
    import onnx

    for one in work.model.graph.initializer:
        work.constants[one.name] = onnx.numpy_helper.to_array(one)
        if work.constants[one.name].dtype.kind == "f" and work.constants[one.name].size > 1:
            work.named[one.name] = one.name
    for node in work.model.graph.node:
        if node.op_type == "Constant":
            work.constants[node.output[0]] = _constant(node.attribute[0])
        elif node.op_type in PASSES and node.input[0] in work.constants:
            work.constants[node.output[0]] = work.constants[node.input[0]]


def _constant(attribute: Any) -> numpy.ndarray:
    import onnx

    if attribute.HasField("t"):
        return numpy.asarray(onnx.numpy_helper.to_array(attribute.t))
    value = onnx.helper.get_attribute_value(attribute)
    whole = attribute.name.startswith("value_int")
    return numpy.asarray(value, numpy.int64 if whole else numpy.float32)


def _follow(work: Settling) -> None:
    """Which names depend on the values of images, and which weight alone a constant is made from."""
    work.data.add(work.program.input)
    for node in work.model.graph.node:
        given = [name for name in node.input if name]
        if node.op_type not in SIZES and any(name in work.data for name in given):
            work.data.update(node.output)
            continue
        weights = {work.named[name] for name in given if name in work.named}
        if len(weights) == 1:
            work.named.update(dict.fromkeys(node.output, weights.pop()))


def _runs(work: Settling, shape: tuple[int, ...], names: Sequence[str]) -> Runs:
    """The values of these names for batches of two sizes, or of the one that the program was written for."""
    sizes = BATCHES if work.fixed is None else (work.fixed,)
    session = Session(work.model, names)
    try:
        draws = numpy.random.default_rng(0)
        return tuple(session(draws.standard_normal((size, *shape), numpy.float32)) for size in sizes)
    except Exception as error:  # onnxruntime raises classes of its own
        size = "×".join(map(str, shape))
        own = "×".join("?" if axis is None else str(axis) for axis in work.program.axes[1:])
        why = f"onnxruntime cannot execute it with images {size}: {first_line(error)}"
        raise unfit(work.program.name, why, f"the file says that it takes images {own}") from error


def _settle_constants(work: Settling, names: Iterable[str], runs: Runs) -> set[str]:
    """Note the values of names that follow from sizes; returns those that have one row for each image, all equal."""
    spread = set()
    for name in names:
        first, last = runs[0][name], runs[-1][name]
        if _equal(first, last):
            work.constants[name] = first
        elif first.ndim and first.shape[1:] == last.shape[1:] and _equal(last, last[:1].repeat(len(last), 0)):
            work.constants[name] = last[:1]
            spread.add(name)
    return spread


def _equal(one: numpy.ndarray, other: numpy.ndarray) -> bool:
    return bool(numpy.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _depends(name: str, place: str) -> Refusal:
    why = f"sizes at `{place[:60]}` depend on the number of images in a way that no layer of torch has"
    return unfit(name, why, "export it with a batch of fixed size 1")


def _is_sized(node: Any) -> bool:
    """Whether sizes of images decide what a node does, beside its inputs."""
    return node.op_type in (*RESHAPES, NORM) or any(
        each.name == "auto_pad" and each.s in SAME for each in node.attribute
    )


# nodes -----------------------------------------------------------------------------------------


def _settle(work: Settling, node: Any, runs: Runs, spread: set[str]) -> list[Any]:
    """The node with sizes that are numbers; and the nodes that it needs before it."""
    import onnx

    sized = _is_sized(node)
    given = [_size(work, run, node.input[0]) for run in runs] if sized else []
    made = [run[node.output[0]].shape for run in runs] if sized else []
    if node.op_type == "Reshape":
        return [_reshape(work, node, given, made)]
    if node.op_type == "Expand":
        return [_expand(node, made, work.fixed)]
    if node.op_type == NORM:
        node.attribute.append(onnx.helper.make_attribute(RANK, len(given[0])))
    elif sized:
        _pad_each_side(node, given[0], made[0])
    if node.op_type == "Gather" and _takes_all(node, runs):
        return [onnx.helper.make_node("Identity", [node.input[0]], list(node.output), name=node.name)]
    before = []
    for position, name in enumerate(node.input):
        if not name or name in work.data:
            continue
        constant = work.constants.get(name)
        if constant is None:
            raise _depends(work.program.name, node.name or node.output[0])
        joins = node.op_type == "Concat" and _axis(node) != 0
        if name in spread or (joins and constant.ndim and len(constant) == work.fixed):
            work.constants[name] = constant[:1]
            before.append(_each(node, name, constant))
            node.input[position] = before[-1].output[0]
    return [*before, node]


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
        and all(each is not None and _equal(each, numpy.arange(size)) for each, size in zip(index, sizes, strict=True))
    )


def _axis(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _reshape(work: Settling, node: Any, given: Sequence[Any], made: Sequence[Any]) -> Any:
    """A Reshape whose target is written out: the axes that it joins, or its sizes with -1 for what grows."""
    import onnx

    after, joined = made[0], _joined(given[0], made[0])
    new = onnx.helper.make_node("Reshape", [node.input[0]], list(node.output), name=node.name)
    if joined:
        new.attribute.append(onnx.helper.make_attribute(FLATTEN, list(joined)))
        return new
    grows = [k for k in range(len(after)) if made[0][k] != made[-1][k]]
    if work.fixed is not None and len(after):
        grows = [0]
    if len(grows) > 1:
        raise _depends(work.program.name, node.name or node.output[0])
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


def _rebuilt(work: Settling, nodes: Sequence[Any]) -> Any:
    """The program of these nodes; each of its constants is called after the weight that it was made from."""
    import onnx

    read = dict.fromkeys(name for node in nodes for name in node.input if name in work.constants)
    times = Counter(work.named.get(name, name) for name in read)
    names = {name: own if times[own := work.named.get(name, name)] == 1 else name for name in read}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
    held = [onnx.numpy_helper.from_array(numpy.asarray(work.constants[n], order="C"), names[n]) for n in read]
    outputs = list(work.model.graph.output)
    graph = onnx.helper.make_graph(list(nodes), "network", [_input_of(work)], outputs, initializer=held)
    return onnx.helper.make_model(graph, opset_imports=list(work.model.opset_import), ir_version=work.model.ir_version)


def _input_of(work: Settling) -> Any:
    return next(one for one in work.model.graph.input if one.name == work.program.input)

"""A program for one size of images: every number that follows from sizes is computed, once and for all.

Programs compute the sizes of their views from those of their inputs, in dozens of operations, and a network whose
layers shall be removed cannot do so. onnxruntime runs the program with two batches of different sizes: what is equal
is a constant, what grows with the batch is a multiple of it.

`sized` says what becomes of each node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy

from recipelang.importing.chains import with_short_chains
from recipelang.importing.idle import asked, without_idle
from recipelang.importing.norms import with_group_norms
from recipelang.importing.reading import Program, unfit
from recipelang.importing.running import Session
from recipelang.importing.sized import BATCHES, CONTROL, PASSES, SIZES, VIEWS, Runs, Settling, equal, is_sized, settle
from recipelang.surgery.tracing import first_line


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
    sized = {name for node in nodes if has_shapes(node) for name in (node.input[0], node.output[0])}
    runs = _runs(work, shape, [*wanted, *sorted(sized & work.data | asked(work, nodes))])
    spread = _settle_constants(work, wanted, runs)
    nodes = [new for node in nodes for new in settle(work, node, runs, spread)]
    nodes = with_group_norms(work, without_idle(work, nodes, runs), runs)
    return _rebuilt(work, with_short_chains(work, nodes, runs))


def has_shapes(node: Any) -> bool:
    """Whether what a node reads and makes has to be known in its sizes."""
    return is_sized(node) or node.op_type in VIEWS


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
        if equal(first, last):
            work.constants[name] = first
        elif first.ndim and first.shape[1:] == last.shape[1:] and equal(last, last[:1].repeat(len(last), 0)):
            work.constants[name] = last[:1]
            spread.add(name)
    return spread


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

"""GroupNorm as exporters write it: a view of the groups, InstanceNormalization of each, and the view back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from recipelang.importing.sized import CHANNELS, GROUP, Runs, Settling


def with_group_norms(work: Settling, nodes: Sequence[Any], runs: Runs) -> list[Any]:
    """The nodes of a settled program, with GroupNormalization, as of opset 21, where several of them compute it."""
    import onnx

    uses = Counter([work.model.graph.output[0].name, *(name for node in nodes for name in node.input)])
    readers = {name: node for node in nodes for name in node.input if uses[name] == 1}
    found: dict[str, Any] = {}
    gone: set[str] = set()
    for node in nodes:
        if node.op_type == GROUP:
            node.attribute.append(onnx.helper.make_attribute(CHANNELS, runs[0][node.input[0]].shape[1]))
        steps = _steps(work, node, readers, runs)
        if steps:
            gone |= {step.output[0] for step in steps}
            found[steps[-1].output[0]] = _normalization(work, steps, runs[0][node.input[0]].shape[1])
    kept = (found.get(node.output[0]) or (None if node.output[0] in gone else node) for node in nodes)
    return [node for node in kept if node is not None]


def _steps(work: Settling, node: Any, readers: dict[str, Any], runs: Runs) -> list[Any]:
    """The nodes of a GroupNorm that begins with this one: view, normalisation, view back, and a row for each of
    product and sum where both follow."""
    steps = [node]
    for kind in ("InstanceNormalization", "Reshape"):
        steps.append(readers.get(steps[-1].output[0]))
        if steps[-1] is None or steps[-1].op_type != kind:
            return []
    shapes = [run[node.input[0]].shape for run in runs] if node.op_type == "Reshape" else []
    scale, shift = (work.constants.get(name) for name in steps[1].input[1:])
    if scale is None or shift is None or not (scale == 1).all() or shift.any() or len(shapes) == 0:
        return []
    grouped, back = ([run[step.output[0]].shape for run in runs] for step in (node, steps[2]))
    if back != shapes or any(a[:1] != b[:1] or b[1] % a[1] for a, b in zip(grouped, shapes, strict=True)):
        return []
    rows = _rows(work, steps[2], readers, shapes[0])
    return [*steps, *rows]


def _rows(work: Settling, node: Any, readers: dict[str, Any], shape: Sequence[int]) -> list[Any]:
    """A product with one number for each channel and a sum with another; [] where these are not both there."""
    rows = []
    for kind in ("Mul", "Add"):
        node = readers.get(node.output[0])
        constants = [name for name in node.input if name in work.constants] if node is not None else []
        if len(constants) != 1 or node.op_type != kind:
            return []
        wanted = (shape[1], *[1] * (len(shape) - 2))
        if work.constants[constants[0]].shape not in (wanted, (1, *wanted)):
            return []
        rows.append(node)
    return rows


def _normalization(work: Settling, steps: Sequence[Any], channels: int) -> Any:
    import onnx

    rows = [_flat(work, next(name for name in step.input if name in work.constants)) for step in steps[3:]]
    told = {each.name: onnx.helper.get_attribute_value(each) for each in steps[1].attribute}
    new = onnx.helper.make_node(GROUP, [steps[0].input[0], *rows], list(steps[-1].output), name=steps[-1].name)
    groups = len(work.constants[steps[1].input[1]])
    new.attribute.append(onnx.helper.make_attribute("num_groups", groups))
    new.attribute.append(onnx.helper.make_attribute("epsilon", told.get("epsilon", 1e-5)))
    new.attribute.append(onnx.helper.make_attribute(CHANNELS, channels))
    return new


def _flat(work: Settling, name: str) -> str:
    """A constant with one axis, under another name: exporters join equal constants, and others may read it as it is."""
    flat = f"{name}/channels"
    work.constants[flat] = work.constants[name].reshape(-1)
    if name in work.named:
        work.named[flat] = work.named[name]
    return flat

"""A settled program as a module: an `fx.GraphModule` of torch's layers, named after their weights."""

from __future__ import annotations

import base64
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import fx, nn

from recipelang.errors import Refusal
from recipelang.importing.branches import with_branches
from recipelang.importing.coded import coded
from recipelang.importing.foreign import emit as foreign
from recipelang.importing.graph import Building, Node, Unsupported
from recipelang.importing.operators import OPERATORS
from recipelang.surgery.entries import Wrong, entry, sequence, text

#: how many numbers of a constant are kept beside the weights: more are in the state of the network
KEPT = 16
LARGEST_PROGRAM, MOST_NUMBERS = 2**26, 2**32


@dataclass(frozen=True)
class Built:
    """A module, and the JSON that it is built again from."""

    module: nn.Module
    told: dict[str, Any]


def build(model: Any, name: str) -> Built:
    """The module of a settled program, in evaluation mode.

    Args:
        model: an `onnx.ModelProto` (`settling.settled`).
        name: of its file, for messages.

    Raises:
        Refusal: RCP0766: it has operators that neither this package nor onnx2torch translates; all are named.
    """
    work, module = _module(model, set(), name)
    return Built(module, {"program": _packed(model, work.kept), "untrained": sorted(work.untrained)})


def built_again(told: Mapping[str, Any]) -> nn.Module:
    """The architecture that `build` noted, with random weights.

    Raises:
        Refusal: RCP0714: it is not as `build` writes it; RCP0766: it cannot be translated any more.
    """
    try:
        model = _unpacked(entry(told, "program"))
        untrained = {text(name, "a name") for name in sequence(entry(told, "untrained"), "`untrained`", 2**16)}
    except (Wrong, ValueError, TypeError) as error:
        help = "use a folder unchanged since a run or `export safetensors` wrote it"
        raise Refusal("RCP0714", f"the network's source is damaged: {error}", help) from error
    _, module = _module(model, untrained, "the saved network")
    _redraw(module)
    return module


def _module(model: Any, untrained: set[str], name: str) -> tuple[Building, nn.Module]:
    import onnx
    from onnx2torch.onnx_graph import OnnxGraph

    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)
    uses = Counter(name for node in model.graph.node for name in node.input)
    work = Building(constants, opset, untrained, uses=uses)
    work.images = work.values[model.graph.input[0].name] = work.graph.placeholder("images")
    held, lacking = OnnxGraph(model.graph), dict[str, None]()
    for node in _with_sums([Node.of(proto) for proto in model.graph.node], constants, model.graph.output[0].name):
        try:
            _emit(work, node, held)
        except Unsupported as error:
            lacking[str(error)] = None
            work.values |= dict.fromkeys(node.outputs, work.images)
    if lacking:
        listed = ", ".join(lacking)
        raise Refusal(
            "RCP0766",
            f"`{name}` has operators that cannot be translated: {listed}",
            "export it with another opset, or without what they belong to",
        )
    work.graph.output(work.values[model.graph.output[0].name])
    module = fx.GraphModule(work.root, work.graph, "Imported")
    return work, coded(with_branches(module)).eval()


def _emit(work: Building, node: Node, held: Any) -> None:
    own = OPERATORS.get(node.kind) if node.proto.domain in ("", "ai.onnx") else None
    try:
        found = own(work, node) if own else foreign(work, node, held)
    except Unsupported:
        if own is None:
            raise
        found = foreign(work, node, held)
    if len(node.outputs) == 1:
        work.values[node.outputs[0]] = found
        return
    import operator

    for number, output in enumerate(node.outputs):
        if output:
            work.values[output] = work.graph.call_function(operator.getitem, (found, number))


def _with_sums(nodes: Sequence[Node], constants: Mapping[str, numpy.ndarray], output: str) -> list[Node]:
    """The nodes, with a row that is added to a product with weights as the third input of the product."""
    uses = Counter(name for node in nodes for name in node.inputs)
    products = {
        node.outputs[0]: number
        for number, node in enumerate(nodes)
        if node.kind == "MatMul" and node.inputs[1] in constants and constants[node.inputs[1]].ndim == 2
    }
    found: list[Node | None] = list(nodes)
    for number, node in enumerate(nodes):
        if node.kind != "Add":
            continue
        for product, row in (node.inputs, node.inputs[::-1]):
            place = products.get(product)
            if place is None or uses[product] != 1 or product == output or row not in constants:
                continue
            made = found[place]
            width = constants[nodes[place].inputs[1]].shape[1]
            if made is not None and constants[row].size == width == constants[row].shape[-1]:
                found[place] = None
                found[number] = replace(made, inputs=(*made.inputs[:2], row), outputs=node.outputs)
    return [node for node in found if node is not None]


# again -----------------------------------------------------------------------------------------


def _packed(model: Any, kept: set[str]) -> str:
    """The program without its weights, as text."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for one in bare.graph.initializer:
        if one.name not in kept and math.prod(one.dims) > KEPT:
            shape, kind, name = list(one.dims), one.data_type, one.name
            one.Clear()
            one.name, one.data_type = name, kind
            one.dims.extend(shape)
    return base64.b64encode(zlib.compress(bare.SerializeToString(deterministic=True), 9)).decode("ascii")


def _unpacked(packed: Any) -> Any:
    """The program with zeros for weights."""
    import onnx

    if not isinstance(packed, str) or len(packed) > LARGEST_PROGRAM:
        raise Wrong("its `program` is no program")
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(base64.b64decode(packed, validate=True), LARGEST_PROGRAM)
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf raises classes of its own
        raise Wrong("its `program` cannot be read") from error
    if not len(model.graph.input) or not len(model.graph.output):
        raise Wrong("its `program` is empty")
    if sum(math.prod(one.dims) for one in model.graph.initializer) > MOST_NUMBERS:
        raise Wrong("its `program` is larger than any network")
    for one in model.graph.initializer:
        if not one.raw_data and math.prod(one.dims) > KEPT:
            kind = onnx.helper.tensor_dtype_to_np_dtype(one.data_type)
            one.CopyFrom(onnx.numpy_helper.from_array(numpy.zeros(list(one.dims), kind), one.name))
    return model


def _redraw(module: nn.Module) -> None:
    """Random weights: of layers as torch draws them, of what is beside them small numbers."""
    drawn = set()
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
            drawn |= {id(parameter) for parameter in part.parameters(recurse=False)}
    with torch.no_grad():
        for parameter in module.parameters():
            if id(parameter) not in drawn:
                parameter.normal_(0, 0.02)

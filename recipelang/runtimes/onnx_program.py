"""A deployed network as an ONNX program: one protobuf for any batch size, with nothing of this machine in it.

Equal networks give equal bytes: notes of the exporter (stack traces with absolute paths, its own names for operations)
are removed, symbols of unknown sizes get one name, and the class names and the preprocessing are the only metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.runtimes.installed import version_of
from recipelang.runtimes.onnx_integers import Integers, rounds
from recipelang.runtimes.onnx_linear import rewritten
from recipelang.surgery.card import card
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network, content
from recipelang.surgery.simulated import INNER
from recipelang.surgery.traced import BATCH, traced
from recipelang.surgery.tracing import example_input, first_line, hushed

#: Changes whenever the same network gives another program: part of the keys of measurements.
VERSION = 1
#: The key of our metadata in the program.
CARD = "recipelang.json"
INPUT, OUTPUT = "input", "output"
#: How the exporter says that it knows no translation: `<OpOverload(op='prims.bessel_j0', overload='default')>`.
NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='(?:\w+\.)?(\w+)'")
OTHERWISE = "use `export safetensors`, which writes any network, and time it by torch"
OPSET = 20
#: The module of the network that was written last → what its program was made of, and the program.
_last: WeakKeyDictionary[nn.Module, tuple[str, bytes]] = WeakKeyDictionary()


def onnx_program(network: Network, opset: int = OPSET) -> Any:
    """The deployed network (BatchNorm folded) as an `onnx.ModelProto`, checked by ONNX's own checker.

    Args:
        network: is not changed; its grids become integers between QuantizeLinear and DequantizeLinear, and its
            codebooks float32 numbers and comparisons with them.
        opset: version of ONNX's operators.

    Raises:
        Refusal: RCP0716: the network cannot be traced, or ONNX has no operator for a part of it.
    """
    integers = Integers(network) if rounds(network) else None
    model = _stripped(_exported(integers or deployed(network), network, opset))
    _rename(model, integers.names if integers else {})
    model = rewritten(model, integers.groups if integers else {})
    model.metadata_props.add(key=CARD, value=card(network))
    _check(model)
    return model


def versions(libraries: Sequence[str]) -> Mapping[str, Any]:
    """The software that decides how a program looks and how fast these libraries execute it."""
    return {**{name: version_of(name) for name in libraries}, "torch": torch.__version__, "program": VERSION}


def as_bytes(model: Any) -> bytes:
    """The bytes of a program, the same for equal programs."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def program_of(network: Network, opset: int = OPSET) -> bytes:
    """The bytes of `onnx_program`; the last ones are kept: several runtimes ask for the program of a network in turn.

    Raises:
        Refusal: as of `onnx_program`.
    """
    made_of = f"{opset} {content(network)}"
    known, program = _last.get(network.module, ("", b""))
    if known != made_of:
        program = as_bytes(onnx_program(network, opset))
        _last.clear()
        _last[network.module] = made_of, program
    return program


def _exported(module: nn.Module, network: Network, opset: int) -> Any:
    """The exporter's own program."""
    example = example_input(network).cpu()
    try:
        with hushed(), torch.no_grad():
            program = torch.onnx.export(
                traced(module, network, example),
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch raises many kinds for code that it cannot trace or translate
        raise _untranslated(error) from error
    assert program is not None  # it is None only where a file was asked for
    return program.model_proto


def _untranslated(error: BaseException) -> Refusal:
    """The refusal of code that the exporter cannot translate, in words for whoever wrote the code."""
    kind, told = type(error).__name__, str(error)
    while error.__cause__ is not None:
        error = error.__cause__
    if "Constraints violated" in told:
        return refused(
            "its code fixes how many images a batch has: `len(x)` counts them at once",
            f"write `x.shape[0]` for `len(x)` in `forward`, or {OTHERWISE}",
        )
    if "DataDependent" in type(error).__name__ or "data-dependent" in first_line(error):
        return refused(
            "which path its code takes depends on the values of the input (`if`, `while`, `float(…)` or `len(…)` of a "
            "result), and a program is the same for every input",
            f"write it with tensors (`torch.where`), or {OTHERWISE}",
        )
    if missing := NO_OPERATOR.search(str(error)):
        return refused(f"ONNX has no operator for `{missing[1]}`", f"write it with other functions, or {OTHERWISE}")
    return refused(f"{kind}: {first_line(error)}")


def refused(why: str, help: str = "") -> Refusal:
    """The refusal of a network that cannot be an ONNX program."""
    return Refusal("RCP0716", f"the network cannot be written as onnx: {why}", help or OTHERWISE)


def _stripped(model: Any) -> Any:
    """The program without notes of the exporter and with one name for the unknown number of images."""
    for function in model.functions:
        _strip(function, function.node)
    _strip_graph(model.graph)
    _strip(model)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    # Shapes of what is between them are found again by whoever loads it; they name the batch by the tracer's symbol.
    del model.graph.value_info[:]
    return model


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Call what the program holds as the network does: a parameter's name, or a place and what of its grid it is."""
    held = [value.name for value in model.graph.initializer]
    names = {name: names.get(name, name.removeprefix(INNER)) for name in held}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    for value in model.graph.initializer:
        value.name = names[value.name]


def _strip_graph(graph: Any) -> None:
    """Remove what the exporter noted in a graph and in the graphs of its nodes."""
    _strip(graph, graph.node, graph.initializer, graph.input, graph.output)
    for node in graph.node:
        for attribute in node.attribute:
            _strip(attribute)
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                _strip_graph(inner)


def _strip(owner: Any, *parts: Any) -> None:
    for one in (owner, *(item for part in parts for item in part)):
        one.ClearField("doc_string")
        if "metadata_props" in one.DESCRIPTOR.fields_by_name:
            one.ClearField("metadata_props")


def _check(model: Any) -> None:
    """Refuse a program that ONNX's checker does not accept."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise refused(f"ONNX's checker does not accept the program: {first_line(error)}") from error

"""ONNX files, read with bounds and refused in the words of whoever exported them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from recipelang.errors import Refusal
from recipelang.extras import require_libraries
from recipelang.kinds import DEFAULT_TASK, Preprocessing
from recipelang.surgery.entries import Wrong, mapping, text
from recipelang.surgery.manifest import class_names, input_shape, read_preprocessing
from recipelang.surgery.tracing import first_line
from recipelang.surgery.untrusted import require_regular

LIBRARIES = ("onnx", "onnx2torch", "onnxruntime")
#: the key under which `export onnx` puts class names and preprocessing
CARD = "recipelang.json"
LARGEST = 2**31  # bytes: protobuf's own limit
#: ONNX's types of numbers by their number: those that become float32
FLOAT, HALVES, DOUBLE = 1, {10: "float16", 16: "bfloat16"}, 11
FLOATS = {FLOAT, *HALVES, DOUBLE}
#: what only programs that are quantized already hold
QUANTIZED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv"),
    *("QLinearMatMul", "QLinearAdd", "QLinearMul", "QGemm", "QLinearGlobalAveragePool", "QLinearConcat"),
    *("MatMulNBits", "QAttention", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "MatMulIntegerToFloat"),
}


@dataclass(frozen=True)
class Told:
    """What the metadata of `export onnx` says; empty where another tool wrote the file."""

    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    input_shape: tuple[int, ...] | None = None
    task: str = DEFAULT_TASK


@dataclass(frozen=True)
class Program:
    """A file, read.

    Attributes:
        model: an `onnx.ModelProto`, functions inlined, numbers float32.
        original: as it is in the file, where its numbers were converted; else `model`.
        name: of the file.
        input: the name of its input.
        axes: of the input: a number, or None where it is not fixed.
        told: its metadata.
        notes: for the user.
    """

    model: Any
    original: Any
    name: str
    input: str
    axes: tuple[int | None, ...]
    told: Told
    notes: tuple[str, ...] = ()


def require_importer() -> None:
    """Refuse where a library is not installed (RCP1027)."""
    require_libraries("model onnx", LIBRARIES, "onnx-import")


def files_of(path: Path) -> tuple[Path, ...]:
    """The file and those that hold its weights.

    Raises:
        Refusal: RCP0765: it cannot be read.
    """
    return path, *_beside(_parsed(path), path)


def read_program(path: Path) -> Program:
    """The program of a file.

    Raises:
        Refusal: RCP0765: it is not an ONNX file, damaged, or the files of its weights are missing; RCP0767: it is
            quantized, or has several inputs or another than one of images.
    """
    model = _complete(_parsed(path), path)
    if len(model.functions):
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    _refuse_quantized(model, path.name)
    name, axes = _input(model, path.name)
    original, notes = model, tuple[str, ...]()
    if other := _widened(copied := _copy(model)):
        model, notes = copied, (f"its numbers of {' and '.join(other)} become float32",)
    return Program(model, original, path.name, name, axes, told_by(model), notes)


def told_by(model: Any) -> Told:
    """What `export onnx` noted in a program; metadata that is not as it writes it says nothing."""
    found = {entry.key: entry.value for entry in model.metadata_props}.get(CARD)
    if found is None:
        return Told()
    try:
        card = mapping(json.loads(found), "the metadata")
        task = text(card.get("task", DEFAULT_TASK), "`task`")
        shape = input_shape(card["input_shape"], "`input_shape`")
        classes = class_names(card["classes"], {"task": task})
        return Told(classes, read_preprocessing(card["preprocessing"], shape[0]), shape, task)
    except (Wrong, KeyError, TypeError, ValueError, RecursionError):
        return Told()


def tensors_of(graph: Any) -> Iterator[Any]:
    """All tensors that a graph holds, also those of its nodes and of graphs within."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from tensors_of(inner)


def _type_named(kind: int) -> str:
    """The type of a tensor as ONNX writes it: `int64`."""
    import onnx

    try:
        return f"`{onnx.TensorProto.DataType.Name(kind).lower()}`"
    except ValueError:
        return f"number {kind} of ONNX"


def unfit(name: str, why: str, help: str) -> Refusal:
    """The refusal of a program that cannot become a network."""
    return Refusal("RCP0767", f"`{name}` cannot become a network: {why}", help)


def _damaged(path: Path, why: str, help: str = "") -> Refusal:
    return Refusal("RCP0765", f"`{path.name}` cannot be read: {why}", help or "export the network again")


def _parsed(path: Path) -> Any:
    """The program without weights that are in other files."""
    require_importer()
    import onnx

    try:
        require_regular(path)
        if path.stat().st_size > LARGEST:
            raise Wrong("it is larger than 2 GiB, which no ONNX file can be: its weights belong in files beside it")
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError as error:
        raise _damaged(path, "there is no such file", "name the file that was exported") from error
    except Wrong as error:
        raise _damaged(path, str(error), "name the `.onnx` file") from error
    except OSError as error:
        raise _damaged(path, f"{error.strerror}", "name the `.onnx` file") from error
    except Exception as error:  # protobuf raises classes of its own
        raise _damaged(path, "it is not an ONNX file, or only a part of one", "export or copy it again") from error
    if not model.ir_version or not len(model.graph.node):
        raise _damaged(path, "it is not an ONNX file, or only a part of one", "export or copy it again")
    return model


def _beside(model: Any, path: Path) -> tuple[Path, ...]:
    """The files that hold weights of the program: in its folder or below, as ONNX wants it."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    places = {ExternalDataInfo(one).location: None for one in tensors_of(model.graph) if uses_external_data(one)}
    for place in places:
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise _damaged(path, f"its weights are said to be in `{place[:80]}`, outside of its folder")
    return tuple(path.parent / place for place in places)


def _complete(model: Any, path: Path) -> Any:
    """The program with the weights of the files beside it, checked by ONNX's own checker."""
    import onnx

    if missing := [file for file in _beside(model, path) if not file.is_file()]:
        listed = ", ".join(f"`{file.name}`" for file in missing[:3])
        raise _damaged(path, f"its weights are in {listed}, which is not beside it", "copy it into the same folder")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except Exception as error:  # the checker, protobuf and files raise in their own ways
        raise _damaged(path, first_line(error)) from error
    return model


def _copy(model: Any) -> Any:
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _refuse_quantized(model: Any, name: str) -> None:
    if found := sorted({node.op_type for node in model.graph.node} & QUANTIZED):
        why = f"it is quantized already: it has {', '.join(f'`{one}`' for one in found)}"
        raise unfit(name, why, "use the file of before quantization, and `quantize` in the recipe")


def _input(model: Any, name: str) -> tuple[str, tuple[int | None, ...]]:
    """The one input that is not a weight, and its axes."""
    held = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in held]
    if len(inputs) != 1:
        listed = ", ".join(f"`{one.name}`" for one in inputs[:5]) or "none"
        raise unfit(name, f"it has {len(inputs)} inputs, {listed}", "export a network with one input, images B×C×H×W")
    if len(model.graph.output) != 1:
        listed = ", ".join(f"`{one.name}`" for one in model.graph.output[:5])
        raise unfit(name, f"it has {len(model.graph.output)} outputs, {listed}", "export it with its scores alone")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in FLOATS:
        raise unfit(
            name,
            f"its input `{inputs[0].name}` is not of floating-point numbers, but of type {_type_named(kind.elem_type)}",
            "export a network of images; for texts there is `model huggingface`",
        )
    axes = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)
    if len(axes) < 2:
        raise unfit(name, f"its input has {len(axes)} axes", "export a network of images B×C×H×W")
    return inputs[0].name, axes


def _widened(model: Any) -> list[str]:
    """Change all numbers of other precisions to float32, in place; which these were."""
    import onnx

    found: dict[str, None] = {}
    names = {**HALVES, DOUBLE: "float64"}

    def changed(kind: int) -> int:
        if kind not in names:
            return kind
        found[names[kind]] = None
        return FLOAT

    for tensor in tensors_of(model.graph):
        if tensor.data_type in names:
            values = onnx.numpy_helper.to_array(tensor).astype(numpy.float32)
            name, _ = tensor.name, changed(tensor.data_type)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = changed(value.type.tensor_type.elem_type)
    for node in model.graph.node:
        for attribute in node.attribute:
            if (node.op_type, attribute.name) in {("Cast", "to"), ("RandomNormal", "dtype"), ("EyeLike", "dtype")}:
                attribute.i = changed(attribute.i)
    del model.graph.value_info[:]
    return list(found)

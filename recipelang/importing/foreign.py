"""Operators that onnx2torch translates, also in later versions that differ in nothing that a node uses."""

from __future__ import annotations

from typing import Any

from recipelang.importing.graph import Building, Node, Unsupported
from recipelang.surgery.tracing import first_line


def emit(build: Building, node: Node, graph: Any) -> Any:
    """The module of onnx2torch for a node, called.

    Args:
        graph: the program as onnx2torch holds it.

    Raises:
        Unsupported: it has none for the operator, or not for this form of it.
    """
    from onnx2torch.onnx_node import OnnxNode

    try:
        module, told = _converter(node, build.opset)(OnnxNode(node.proto, unique_name=node.name), graph)
    except NotImplementedError as error:
        raise Unsupported(f"`{node.kind}`: {first_line(error)}") from error
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise Unsupported(f"`{node.kind}`: {type(error).__name__}: {first_line(error)}") from error
    inputs = [build.value(name) if name else None for name in told.inputs]
    return build.layer(node, module, {}, inputs)


def _converter(node: Node, opset: int) -> Any:
    """The translation of an operator: of its version, or of an older one whose form the node has."""
    from onnx import defs
    from onnx2torch.node_converters.registry import get_converter

    domain = node.proto.domain
    try:
        own = defs.get_schema(node.kind, max_inclusive_version=opset, domain=domain)
    except defs.SchemaError as error:
        raise Unsupported(f"`{domain}.{node.kind}`" if domain else f"`{node.kind}`") from error
    version = own.since_version
    while version > 0:
        try:
            older = defs.get_schema(node.kind, max_inclusive_version=version, domain=domain)
        except defs.SchemaError:
            break
        if not _fits(node, older, own):
            break
        try:
            return get_converter(domain=domain, operation_type=node.kind, version=older.since_version)
        except NotImplementedError:
            version = older.since_version - 1
    raise Unsupported(f"`{domain}.{node.kind}`" if domain else f"`{node.kind}`")


def _fits(node: Node, older: Any, own: Any) -> bool:
    """Whether an older version of an operator means the same by this node."""
    import onnx

    if len(node.inputs) > older.max_input or len(node.outputs) > older.max_output:
        return False
    if not set(node.attributes) <= set(older.attributes):
        return False
    value = onnx.helper.get_attribute_value
    for name, told in older.attributes.items():
        new = own.attributes.get(name)
        if name in node.attributes or new is None:
            continue
        if (told.default_value.name and value(told.default_value)) != (
            new.default_value.name and value(new.default_value)
        ):
            return False
    return [each.name for each in older.inputs][: len(node.inputs)] == [each.name for each in own.inputs][
        : len(node.inputs)
    ]

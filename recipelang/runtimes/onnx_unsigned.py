"""Programs for processors on which products of uint8 and int8 overflow: all 8-bit integers are unsigned there.

x86 without VNNI adds two products of uint8 and int8 in 16 bits (VPMADDUBSW), which saturates: 255 · 127 + 255 · 127 is
above 32,767. Runtimes multiply so all the same, and answers are off by half their size, without a word. Products of
uint8 and uint8 are exact everywhere, and integers that are 128 higher with a zero point that is 128 higher are the same
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

LIFT = 128
#: Operation → for each of its integer inputs, where its zero point is.
ZEROS = {"DequantizeLinear": {0: 2}, "QuantizeLinear": {}, "MatMulInteger": {0: 2, 1: 3}}


def overflows(runs: Callable[[bytes], Callable[[Tensor], Tensor]]) -> bool:
    """Whether a runtime's products of uint8 and int8 overflow on this processor.

    Args:
        runs: bytes of a program → what answers as it; it must execute the program as it stands.
    """
    from onnx import TensorProto, helper, numpy_helper

    held: dict[str, Any] = {"one": np.float32(1), "large": np.float32(2000), "zero": np.uint8(0), "none": np.int8(0)}
    held["weight"] = np.full((4, 4), 127, dtype=np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "one", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "one", "zero"], ["value"]),
        helper.make_node("DequantizeLinear", ["weight", "one", "none"], ["factor"]),
        helper.make_node("MatMul", ["value", "factor"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "large", "zero"], ["sum_codes"]),
        helper.make_node("DequantizeLinear", ["sum_codes", "large", "zero"], ["output"]),
    ]
    put, got = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("input", "output"))
    graph = helper.make_graph(nodes, "sums", [put], [got], [numpy_helper.from_array(v, n) for n, v in held.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    answer = runs(bytes(model.SerializeToString()))(torch.full((4, 4), 255.0))
    return bool((answer - 4 * 255 * 127).abs().max() > 1000)  # half a step of 2000


def unsigned(program: bytes) -> bytes:
    """The same program with every int8 between quantizing and dequantizing as uint8; names of initializers stay."""
    import onnx

    model = onnx.load_from_string(program)
    graph = _Lifted(model.graph)
    for node in model.graph.node:
        if node.op_type in ZEROS:
            graph.lift(node)
    return bytes(model.SerializeToString()) if graph.done else program


class _Lifted:
    """A graph whose signed integers are lifted."""

    def __init__(self, graph: Any) -> None:
        from onnx import TensorProto

        self.graph, self.done = graph, set[str]()
        self.held = {one.name: one for one in graph.initializer}
        self.signed = {one.name for one in graph.initializer if one.data_type == TensorProto.INT8}
        #: values that QuantizeLinear makes as int8, by its zero point
        made = (node for node in graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2)
        self.codes = {node.output[0] for node in made if node.input[2] in self.signed}

    def lift(self, node: Any) -> None:
        """Make the integers that a node reads, and the zero point that it reads or lacks, unsigned."""
        if node.op_type == "QuantizeLinear" and len(node.input) > 2:
            self._raise(node.input[2])
        for value, zero in ZEROS[node.op_type].items():
            if node.input[value] not in self.signed | self.codes:
                continue
            self._raise(node.input[value])
            node.input.extend([""] * (zero + 1 - len(node.input)))
            if not node.input[zero]:
                node.input[zero] = self._lifted_zero(node, value)
            self._raise(node.input[zero])

    def _raise(self, name: str) -> None:
        from onnx import numpy_helper

        if name in self.signed and name not in self.done:
            codes = numpy_helper.to_array(self.held[name]).astype(np.int16) + LIFT
            self.held[name].CopyFrom(numpy_helper.from_array(codes.astype(np.uint8), name))
            self.done.add(name)

    def _lifted_zero(self, node: Any, value: int) -> str:
        """A zero point for a node that has none: 128, as many as it has scales."""
        from onnx import numpy_helper

        per_channel = node.op_type == "DequantizeLinear" and node.input[1] in self.held
        shape = tuple(self.held[node.input[1]].dims) if per_channel else ()
        name = f"{node.input[value]}, zero point {'×'.join(map(str, shape))}"
        if name not in self.held:
            self.held[name] = numpy_helper.from_array(np.full(shape, LIFT, dtype=np.uint8), name)
            self.graph.initializer.append(self.held[name])
        return name

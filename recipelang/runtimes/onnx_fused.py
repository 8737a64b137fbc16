"""Which products onnxruntime computes in integers: read from the graph that it has optimised."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from recipelang.runtimes.onnx_products import FORM
from recipelang.runtimes.onnx_session import Session


def fused(program: bytes, places: Collection[str]) -> dict[str, str]:
    """Place of a weight → the operation that multiplies its integers; missing where they become float32 first.

    Args:
        program: with the initializers `PLACE.integers`.
        places: of weights.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        Session(program, keep=str(path))
        graph = onnx.load(path).graph
    written = {value.name: value for value in onnx.load_from_string(program).graph.initializer}
    held = {_content(value): value.name for value in graph.initializer}
    found = {}
    for place in places:
        if (integers := written.get(f"{place}.integers")) is None:
            continue
        contents = (_content(integers), _content(integers, turned=True))
        names = {integers.name, *(held[content] for content in contents if content in held)}
        readers = [node for node in graph.node if names & set(node.input)]
        if readers and not any(node.op_type in FORM for node in readers):
            found[place] = readers[0].op_type
    return found


def _content(value: Any, turned: bool = False) -> tuple[tuple[int, ...], bytes]:
    """Shape and numbers of an initializer, or of its transpose: onnxruntime renames what it has transposed.

    int8 reads as uint8, 128 higher, which onnxruntime makes of weights where products of the two overflow.
    """
    import numpy as np
    from onnx import numpy_helper

    array = numpy_helper.to_array(value)
    array = array.view(np.uint8) ^ np.uint8(128) if array.dtype == np.int8 else array
    array = array.T if turned else array
    return array.shape, array.tobytes()

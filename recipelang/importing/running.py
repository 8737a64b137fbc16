"""A program executed by onnxruntime as it is written, without optimisations, any of its values asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy


class Session:
    """A program with one input.

    Args:
        model: an `onnx.ModelProto`; is not changed.
        names: of the values that a run returns; default: its outputs.
    """

    def __init__(self, model: Any, names: Sequence[str] = ()) -> None:
        import onnx

        asked = onnx.ModelProto()
        asked.CopyFrom(model)
        known = {value.name for value in (*asked.graph.output, *asked.graph.input)}
        asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        held = {one.name for one in asked.graph.initializer}
        self.input = next(one.name for one in asked.graph.input if one.name not in held)
        self.names = list(names) or [output.name for output in model.graph.output]
        self._model = asked
        self._session: Any = None

    def __call__(self, images: numpy.ndarray) -> Mapping[str, numpy.ndarray]:
        """Images float32 → name → value.

        Raises:
            Exception: of onnxruntime, whose classes have no common base: it cannot execute the program.
        """
        if self._session is None:
            self._session = _session(self._model)
        names = [name for name in self.names if name != self.input]
        return {self.input: images, **dict(zip(names, self._session.run(names, {self.input: images}), strict=True))}


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # errors are raised as well
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

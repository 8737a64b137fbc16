"""An ONNX program in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recipelang.runtimes.onnx_compared import cannot_execute
from recipelang.runtimes.onnx_program import INPUT
from recipelang.runtimes.onnx_unsigned import overflows, unsigned

RUNTIME = "onnxruntime"


class Session:
    """A program that onnxruntime executes on the CPU, with unsigned integers where products of others overflow.

    Args:
        program: bytes of an ONNX program with one input, `input`.
        threads: CPU threads of one call; those that wait do not spin, since they would take time from what runs beside.
        optimised: whether its graph is optimised, as onnxruntime does where nothing is said.
        keep: a file that receives the optimised graph, to see what was fused.
        profile: the beginning of the path of a file that receives the times of operations, at `end_profile`.

    Raises:
        Refusal: RCP1029: onnxruntime cannot execute the program.
    """

    def __init__(
        self, program: bytes, threads: int = 1, *, optimised: bool = True, keep: str = "", profile: str = ""
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors are raised as well
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if keep:
            options.optimized_model_filepath = keep
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        try:
            self._session = _open(unsigned(program) if overflowing() else program, options)
        except Exception as error:  # onnxruntime raises classes of its own, which have no common base
            raise cannot_execute(RUNTIME, error) from error

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs B×…, float32 on the CPU → the network's answer."""
        return _answer(self._session, inputs)

    def end_profile(self) -> str:
        """Write the times of operations; the path of the file."""
        return str(self._session.end_profiling())


def _open(program: bytes, options: Any = None) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])


def _answer(session: Any, inputs: Tensor) -> Tensor:
    (answer,) = session.run(None, {INPUT: inputs.numpy()})
    return torch.from_numpy(answer)


@cache
def overflowing() -> bool:
    """Whether onnxruntime's products of uint8 and int8 overflow on this processor."""

    def runs(program: bytes) -> Callable[[Tensor], Tensor]:
        session = _open(program)
        return lambda inputs: _answer(session, inputs)

    return overflows(runs)

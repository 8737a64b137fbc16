"""An ONNX program in onnxruntime: a session whose answers are compared with the network's before it is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.runtimes.onnx_program import INPUT
from recipelang.surgery.tracing import first_line

#: How far answers in float32 may be from torch's, as a part of their norm: other libraries sum in other orders.
TOLERANCE = 1e-3


class Session:
    """A program that onnxruntime executes on the CPU.

    Args:
        program: bytes of an ONNX program with one input, `input`.
        threads: CPU threads of one call; those that wait do not spin, since they would take time from what runs beside.
        optimised: whether its graph is optimised, as onnxruntime does where nothing is said.
        keep: a file that receives the optimised graph, to see what was fused.

    Raises:
        Refusal: RCP1029: onnxruntime cannot execute the program.
    """

    def __init__(self, program: bytes, threads: int = 1, *, optimised: bool = True, keep: str = "") -> None:
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
        try:
            self._session = onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own, which have no common base
            raise cannot_execute(error) from error

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs B×…, float32 on the CPU → the network's answer."""
        (answer,) = self._session.run(None, {INPUT: inputs.numpy()})
        return torch.from_numpy(answer)


def cannot_execute(error: Exception) -> Refusal:
    """The refusal of a program that onnxruntime does not take."""
    return Refusal(
        "RCP1029",
        f"onnxruntime cannot execute the network: {type(error).__name__}: {first_line(error)}",
        "leave `runtime=onnxruntime` out, or `pip install --upgrade onnxruntime`",
    )


def flat_answers(module: Callable[[Tensor], Any], calls: Sequence[Tensor]) -> Tensor:
    """All answers as one row of float64."""
    with torch.no_grad():
        return torch.cat([module(inputs).detach().cpu().double().flatten() for inputs in calls])


def require_same(session: Callable[[Tensor], Any], expected: Tensor, calls: Sequence[Tensor], allowed: float) -> None:
    """Refuse a session whose answers are not those of the network.

    Args:
        session: is called on each of `calls`.
        expected: the network's answers, as of `flat_answers`.
        allowed: the largest distance of all answers together, relative to the norm of the network's.

    Raises:
        Refusal: RCP1028: they differ; RCP1029: the session raises.
    """
    try:
        found = flat_answers(session, calls)
    except Exception as error:  # as above; the network itself has just run on these inputs
        raise cannot_execute(error) from error
    off = distance(found, expected)
    if not off <= allowed:
        raise Refusal(
            "RCP1028",
            f"onnxruntime's answers are {off:.1e} from the network's, and {allowed:.1e} is allowed",
            "leave `runtime=onnxruntime` out, and please report it",
        )


def distance(answer: Tensor, expected: Tensor) -> float:
    """Norm of the difference divided by the norm of the expected answer; NaN where either contains NaN."""
    size = expected.norm().clamp_min(torch.finfo(torch.float32).tiny)
    return float((answer - expected).norm() / size)

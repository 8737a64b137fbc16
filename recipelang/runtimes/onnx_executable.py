"""Networks as ONNX programs that have been executed by onnxruntime and compared with the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from recipelang.kinds import Deployment, Inputs, LayerExecution
from recipelang.runtimes import onnx_program, onnx_session
from recipelang.runtimes.layers import VERIFIED_IMAGES, ExecutedAs, executed
from recipelang.runtimes.onnx_compared import verify
from recipelang.runtimes.onnx_fused import fused
from recipelang.runtimes.onnx_integers import grids
from recipelang.runtimes.onnx_linear import container, said
from recipelang.runtimes.onnx_products import ways
from recipelang.runtimes.onnx_session import RUNTIME, Session
from recipelang.runtimes.onnx_unsigned import unsigned
from recipelang.runtimes.onnx_watch import OnnxWatch
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.simulated import INNER

NO_KERNELS = "onnxruntime has no sparse kernels"
#: Batch sizes that a program for any batch is tried with.
BATCHES = (1, 3, VERIFIED_IMAGES)


@dataclass(frozen=True)
class OnnxExecutable:
    """A session and what it executes."""

    network: Network = field(repr=False)
    program: bytes = field(repr=False)
    session: Session = field(repr=False)
    threads: int = 1
    note: str = ""

    @property
    def inputs(self) -> Inputs:
        """What it is called with."""
        return self.network.inputs

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs B×…, such as images float32, on the CPU → the network's answer."""
        return self.session(inputs)

    def watch(self) -> OnnxWatch:
        """A watch of its layers, in a session of its own."""
        module = deployed(self.network)
        held = {name.removeprefix(INNER): weight for name, weight in module.named_parameters()}
        return OnnxWatch(self.program, held, self.threads)

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes: in integers where onnxruntime fuses them, else in float32."""
        weights = {place: grid for place, grid in grids(self.network).items() if is_parameter(place)}
        found = fused(self.program, weights) if weights else {}
        told = {place: _executed(weights[place], operation) for place, operation in found.items()}
        chosen = ways(self.network, self.program, RUNTIME, told)
        return executed(self.network, chosen, lambda product: NO_KERNELS)


def _executed(grid: Grid, operation: str) -> ExecutedAs:
    """How an operation multiplies a weight: in `int8`, or in `int4` where it holds two numbers in a byte."""
    bits = container(grid.scheme.bits) if operation == "MatMulNBits" else 8
    return ExecutedAs(f"int{bits}", said(grid, operation))


def prepare(network: Network, how: Deployment) -> OnnxExecutable:
    """A session for the network's program, compared with the deployed form.

    Raises:
        Refusal: as of `verified_program`.
    """
    program = onnx_program.program_of(network)
    session = Session(program, how.threads)
    verify(network, RUNTIME, session, (how.batch,), partial(Session, program, optimised=False))
    return OnnxExecutable(network, program, session, how.threads)


def verified_program(network: Network, opset: int, signed: bool = True) -> bytes:
    """The bytes of the network's program, after several batch sizes were compared with the deployed form.

    Args:
        network: is not changed.
        opset: version of ONNX's operators.
        signed: whether its 8-bit integers may be signed; else all of them are unsigned, the same numbers.

    Raises:
        Refusal: RCP0716: the network cannot be an ONNX program; RCP1028: onnxruntime gives other answers; RCP1029: it
            cannot execute it.
    """
    program = onnx_program.program_of(network, opset)
    program = program if signed else unsigned(program)
    verify(network, RUNTIME, Session(program), BATCHES, partial(Session, program, optimised=False))
    return program


def said_of_integers(network: Network, opset: int, signed: bool) -> str:
    """What whoever executes the file of `verified_program` should know of its integers; "" where nothing."""
    program = onnx_program.program_of(network, opset)
    has_signed = unsigned(program) is not program
    if not signed:
        return "" if has_signed else "the program has no signed integers of 8 bits: `integers=unsigned` changes nothing"
    if not has_signed or not onnx_session.overflowing():
        return ""
    return (
        "products of uint8 and int8 overflow in onnxruntime on this processor, and the program has int8 weights: it is "
        "meant for others; `export onnx(integers=unsigned)` writes one for this processor"
    )

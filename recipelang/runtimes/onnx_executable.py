"""Networks as ONNX programs that have been executed by onnxruntime and compared with the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Deployment, LayerExecution
from recipelang.runtimes import onnx_program
from recipelang.runtimes.installed import ONNX, version_of
from recipelang.runtimes.layers import VERIFIED_IMAGES, ExecutedAs, executed
from recipelang.runtimes.onnx_fused import fused
from recipelang.runtimes.onnx_integers import MOST_BITS, codebooks, grids, rounds
from recipelang.runtimes.onnx_program import as_bytes
from recipelang.runtimes.onnx_session import TOLERANCE, Session, distance, flat_answers, require_same
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.tracing import example_input

NO_KERNELS = "onnxruntime has no sparse kernels"
NO_CODEBOOKS = "its levels are multiplied as numbers: onnxruntime has no kernels for codebooks"
#: Batch sizes that a program for any batch is tried with.
BATCHES = (1, 3, VERIFIED_IMAGES)
#: How far a quantized program may be from the simulated network, as a part of the distance that quantizing has made:
#: the graph as it is written, and as onnxruntime optimises it. A number in the middle between two integers is rounded
#: to one here and to the other there, and the layers that follow multiply such differences: at most two results that
#: are equally far from float32, in different directions.
AS_WRITTEN, OPTIMISED = 0.75, 1.5
#: The distance that is assumed where it cannot be computed, below that of an answer of zeros, which is 1.
OVERFLOWED = 0.5


@dataclass(frozen=True)
class OnnxExecutable:
    """A session and what it executes."""

    network: Network = field(repr=False)
    program: bytes = field(repr=False)
    session: Session = field(repr=False)
    note: str = ""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Images B×C×H×W, float32 on the CPU → the network's answer."""
        return self.session(inputs)

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes: in integers where onnxruntime fuses them, else in float32."""
        return executed(self.network, _ways(self.network, self.program), lambda product: NO_KERNELS)


def versions() -> Mapping[str, Any]:
    """The software that decides how a program looks and how fast it is."""
    return {**{name: version_of(name) for name in ONNX}, "torch": torch.__version__, "program": onnx_program.VERSION}


def prepare(network: Network, how: Deployment) -> OnnxExecutable:
    """A session for the network's program, compared with the deployed form.

    Raises:
        Refusal: as of `verified_program`.
    """
    program = as_bytes(onnx_program.onnx_program(network))
    session = Session(program, how.threads)
    _verify(network, program, session, (how.batch,))
    return OnnxExecutable(network, program, session)


def verified_program(network: Network, opset: int) -> bytes:
    """The bytes of the network's program, after several batch sizes were compared with the deployed form.

    Raises:
        Refusal: RCP0716: the network cannot be an ONNX program; RCP1028: onnxruntime gives other answers; RCP1029: it
            cannot execute it.
    """
    program = as_bytes(onnx_program.onnx_program(network, opset))
    _verify(network, program, Session(program), BATCHES)
    return program


def _verify(network: Network, program: bytes, session: Session, batches: tuple[int, ...]) -> None:
    """Compare the session with the deployed form on at least `VERIFIED_IMAGES` images, in calls of these sizes."""
    images = example_input(network, max(sum(batches), VERIFIED_IMAGES)).cpu()
    calls = images.split(_sizes(batches, len(images)))
    simulated = flat_answers(deployed(network), calls)
    if not rounds(network):
        require_same(session, simulated, calls, TOLERANCE)
        return
    masks = {place: tuple(one for one in each if not one.computes) for place, each in network.restrictions.items()}
    apart = distance(simulated, flat_answers(deployed(replace(network, restrictions=masks)), calls))
    if not math.isfinite(apart):  # in float32 the answers overflow, which the ends of grids prevent
        apart = OVERFLOWED
    require_same(Session(program, optimised=False), simulated, calls, AS_WRITTEN * apart + TOLERANCE)
    require_same(session, simulated, calls, OPTIMISED * apart + TOLERANCE)


def _sizes(batches: tuple[int, ...], count: int) -> list[int]:
    """Sizes of calls that use `count` images up, in turn."""
    sizes: list[int] = []
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, batches[len(sizes) % len(batches)]))
    return sizes


def _ways(network: Network, program: bytes) -> dict[str, ExecutedAs]:
    """Parameter name → how onnxruntime executes the product of a weight that is on a grid or in a codebook."""
    weights = {place: grid for place, grid in grids(network).items() if is_parameter(place)}
    found = fused(program, weights) if weights else {}
    ways = {place: ExecutedAs("float32", NO_CODEBOOKS) for place in codebooks(network) if is_parameter(place)}
    for place, grid in weights.items():
        if grid.scheme.bits > MOST_BITS:
            ways[place] = ExecutedAs("float32", f"onnxruntime multiplies integers of at most {MOST_BITS} bits")
        elif operation := found.get(place):
            ways[place] = ExecutedAs("int8", f"one {operation} with the recipe's scales")
        else:
            ways[place] = ExecutedAs(
                "float32", "its integers become numbers first: onnxruntime has no integer form here"
            )
    return ways

"""Networks as ONNX programs that have been executed by onnxruntime and compared with the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Deployment, LayerExecution
from recipelang.runtimes import onnx_program
from recipelang.runtimes.installed import ONNX, version_of
from recipelang.runtimes.layers import VERIFIED_IMAGES, executed
from recipelang.runtimes.onnx_program import as_bytes
from recipelang.runtimes.onnx_session import Session, require_same
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input

NO_KERNELS = "onnxruntime has no sparse kernels"
#: Batch sizes that a program for any batch is tried with.
BATCHES = (1, 3, VERIFIED_IMAGES)


@dataclass(frozen=True)
class OnnxExecutable:
    """A session and what it executes."""

    network: Network = field(repr=False)
    session: Session = field(repr=False)
    note: str = ""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Images B×C×H×W, float32 on the CPU → the network's answer."""
        return self.session(inputs)

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes: dense, in float32."""
        return executed(self.network, {}, lambda product: NO_KERNELS)


def versions() -> Mapping[str, Any]:
    """The software that decides how a program looks and how fast it is."""
    return {**{name: version_of(name) for name in ONNX}, "torch": torch.__version__, "program": onnx_program.VERSION}


def prepare(network: Network, how: Deployment) -> OnnxExecutable:
    """A session for the network's program, compared with the deployed form.

    Raises:
        Refusal: as of `verified_program`.
    """
    session = Session(as_bytes(onnx_program.onnx_program(network)), how.threads)
    _verify(network, session, (how.batch,))
    return OnnxExecutable(network, session)


def verified_program(network: Network, opset: int) -> bytes:
    """The bytes of the network's program, after several batch sizes were compared with the deployed form.

    Raises:
        Refusal: RCP0716: the network cannot be an ONNX program; RCP1028: onnxruntime gives other answers; RCP1029: it
            cannot execute it.
    """
    program = as_bytes(onnx_program.onnx_program(network, opset))
    _verify(network, Session(program), BATCHES)
    return program


def _verify(network: Network, session: Session, batches: tuple[int, ...]) -> None:
    """Compare the session with the deployed form on at least `VERIFIED_IMAGES` images, in calls of these sizes."""
    images = example_input(network, max(sum(batches), VERIFIED_IMAGES)).cpu()
    require_same(session, deployed(network), images.split(_sizes(batches, len(images))))


def _sizes(batches: tuple[int, ...], count: int) -> list[int]:
    """Sizes of calls that use `count` images up, in turn."""
    sizes: list[int] = []
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, batches[len(sizes) % len(batches)]))
    return sizes

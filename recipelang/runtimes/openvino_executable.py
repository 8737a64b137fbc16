"""Networks as ONNX programs that have been executed by OpenVINO and compared with the network."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from recipelang.kinds import Deployment, Inputs, LayerExecution
from recipelang.runtimes import onnx_program
from recipelang.runtimes.layers import executed
from recipelang.runtimes.onnx_compared import verify
from recipelang.runtimes.onnx_integers import grids
from recipelang.runtimes.onnx_products import multiplied, ways
from recipelang.runtimes.openvino_session import RUNTIME, Compiled, kernels
from recipelang.runtimes.openvino_watch import OpenVinoWatch
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.simulated import INNER

NO_KERNELS = "OpenVINO multiplies zeros like any other number"


@dataclass(frozen=True)
class OpenVinoExecutable:
    """A compiled program and what it executes."""

    network: Network = field(repr=False)
    program: bytes = field(repr=False)
    compiled: Compiled = field(repr=False)
    shape: tuple[int, ...]
    threads: int = 1
    note: str = ""

    @property
    def inputs(self) -> Inputs:
        """What it is called with."""
        return self.network.inputs

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs B×…, such as images float32, on the CPU → the network's answer."""
        return self.compiled(inputs)

    def watch(self) -> OpenVinoWatch:
        """A watch of its layers, in programs of its own."""
        module = deployed(self.network)
        held = {name.removeprefix(INNER): weight for name, weight in module.named_parameters()}
        return OpenVinoWatch(self.program, held, self.threads)

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes: in integers where OpenVINO chose such a kernel, else in float32."""
        weights = [place for place in grids(self.network) if is_parameter(place)]
        places = multiplied(self.program, weights) if weights else {}
        told = kernels(self.compiled.compiled(self.shape), places) if places else {}
        chosen = ways(self.network, self.program, RUNTIME, told)
        return executed(self.network, chosen, lambda product: NO_KERNELS)


def prepare(network: Network, how: Deployment) -> OpenVinoExecutable:
    """The network's program compiled for `how.batch` inputs, compared with the deployed form.

    Raises:
        Refusal: RCP0716: the network cannot be an ONNX program; RCP1028: OpenVINO gives other answers; RCP1029: it
            cannot execute it.
    """
    program = onnx_program.program_of(network)
    compiled = Compiled(program, how.threads)
    verify(network, RUNTIME, compiled, (how.batch,))
    return OpenVinoExecutable(network, program, compiled, (how.batch, *network.input_shape), how.threads)

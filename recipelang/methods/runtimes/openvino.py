"""`runtime=openvino`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Deployment, Executable, Progress
from recipelang.methods.runtimes._programs import Programs


@method("runtime", "openvino")
@dataclass(frozen=True)
class OpenVino(Programs):
    """The deployed network as an ONNX program in OpenVINO, on the CPU: the program that `export onnx` writes.

    What: quantized layers execute in 8-bit integers, with the scales of the recipe; others in float32, also on CPUs on
        which OpenVINO would choose bfloat16. Before anything is timed, answers are compared with those of the deployed
        network, in which quantization is simulated.
    Formula: compiled for the batch that is timed (`PERFORMANCE_HINT=LATENCY`, one stream, `threads` threads,
        `INFERENCE_PRECISION_HINT=f32`).
    Needs: `pip install "recipelang[openvino]"`; 8-bit integers gain time only on CPUs with VNNI or the like, which
        `recipe doctor` shows.
    When it misleads: 2:4 zeros are multiplied like any other number. float32 is faster here than in torch for small
        networks, so compare ratios of one runtime only. Compiling takes about half a second.
    Source: https://docs.openvino.ai.
    """

    watches: ClassVar[bool] = True
    used_by: ClassVar[str] = "`latency(runtime=openvino)`"

    def prepare(self, network: Any, how: Deployment, progress: Progress | None = None) -> Executable:
        """The network's ONNX program, compiled.

        Raises:
            Refusal: RCP0716: the network cannot be an ONNX program; RCP1027: a library is not installed; RCP1028,
                RCP1029: OpenVINO gives other answers, or cannot execute it.
        """
        from recipelang.runtimes.openvino_executable import prepare

        self.require()
        return prepare(network, how)

"""`runtime=onnxruntime`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Deployment, Executable, Progress
from recipelang.methods.runtimes._programs import Programs


@method("runtime", "onnxruntime")
@dataclass(frozen=True)
class OnnxRuntime(Programs):
    """The deployed network as an ONNX program in onnxruntime, on the CPU: what `export onnx` writes.

    What: quantized layers execute in 8-bit integers, with the scales of the recipe; others in float32. Before anything
        is timed, answers are compared with those of the deployed network, in which quantization is simulated.
    Formula: a graph of onnxruntime's own default optimisations, `threads` threads that do not spin while they wait.
    Needs: `pip install "recipelang[onnxruntime]"`; 8-bit integers gain time only on CPUs with VNNI or the like, which
        `recipe doctor` shows.
    When it misleads: 2:4 zeros are multiplied like any other number. float32 is faster here than in torch for small
        networks, so compare ratios of one runtime only.
    Source: https://onnxruntime.ai.
    """

    watches: ClassVar[bool] = True
    used_by: ClassVar[str] = "`export onnx` and `latency(runtime=onnxruntime)`"

    def prepare(self, network: Any, how: Deployment, progress: Progress | None = None) -> Executable:
        """A session of the network's ONNX program.

        Raises:
            Refusal: RCP0716: the network cannot be an ONNX program; RCP1027: a library is not installed; RCP1028,
                RCP1029: onnxruntime gives other answers, or cannot execute it.
        """
        from recipelang.runtimes.onnx_executable import prepare

        self.require()
        return prepare(network, how)

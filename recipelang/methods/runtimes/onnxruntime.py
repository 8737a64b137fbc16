"""`runtime=onnxruntime`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Deployment, Executable, Finding, Progress


@method("runtime", "onnxruntime")
@dataclass(frozen=True)
class OnnxRuntime:
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

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    compiles: ClassVar[bool] = False
    brief: ClassVar[bool] = False

    def require(self) -> None:
        """Refuse a machine without onnxruntime or the exporter's libraries.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import ONNX, require_libraries

        require_libraries("runtime=onnxruntime", ONNX, "onnxruntime")

    def versions(self, network: Any) -> Mapping[str, Any]:
        """Versions of onnxruntime and of what makes its programs."""
        from recipelang.runtimes.onnx_executable import versions

        self.require()
        return versions()

    def prepare(self, network: Any, how: Deployment, progress: Progress | None = None) -> Executable:
        """A session of the network's ONNX program.

        Raises:
            Refusal: RCP0716: the network cannot be an ONNX program; RCP1027: a library is not installed; RCP1028,
                RCP1029: onnxruntime gives other answers, or cannot execute it.
        """
        from recipelang.runtimes.onnx_executable import prepare

        self.require()
        return prepare(network, how)

    def findings(self) -> tuple[Finding, ...]:
        """Whether it is installed."""
        from recipelang.runtimes.installed import ONNX, libraries_found

        use = "`export onnx` and `latency(runtime=onnxruntime)`"
        return (libraries_found("onnxruntime", ONNX, "onnxruntime", use),)

"""`runtime=torch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import PRECISIONS, Deployment, Executable, Finding, Progress


@method("runtime", "torch")
@dataclass(frozen=True)
class Torch:
    """The deployed network as a module of torch, each layer by torch's own kernels or a sparse one.

    What: BatchNorm folded, channels last where it has convolutions, on a CPU or a GPU; with `compiled=true` through
        torch.compile. Layers that `accelerate` names hold packed 2:4 weights where a measurement on the device shows
        that it pays off; their answers are compared with those of the dense network first.
    When it misleads: quantization is only simulated here, in float32: that shows its accuracy and gains no time. Calls
        of Python take part of the time of small networks.
    Source: torch, https://pytorch.org/docs/stable.
    """

    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS
    compiles: ClassVar[bool] = True
    brief: ClassVar[bool] = True
    watches: ClassVar[bool] = True

    def require(self) -> None:
        """Torch is always installed."""

    def versions(self, network: Any) -> Mapping[str, Any]:
        """Torch's version; with `accelerate` also those of the kernels to choose from."""
        from recipelang.runtimes.eager import versions

        return versions(network)

    def prepare(self, network: Any, how: Deployment, progress: Progress | None = None) -> Executable:
        """The deployed form on its device and in its precision.

        Raises:
            Refusal: RCP0726: the network cannot compute in this precision; RCP1001: this machine lacks the device;
                RCP1013: torch cannot compile it; RCP1305, RCP1306: no sparse kernel can run, or one is wrong.
        """
        from recipelang.runtimes.eager import prepare

        return prepare(network, how, progress)

    def findings(self) -> tuple[Finding, ...]:
        """Torch itself, its sparse kernels and its compiler."""
        from recipelang.runtimes.torch_here import findings

        return findings()

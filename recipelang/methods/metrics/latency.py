"""`latency(batch=1, threads=1, device="cpu", precision=float32, compiled=false)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Measurement, Progress
from recipelang.lazy import torch
from recipelang.profile import DEVICE

if TYPE_CHECKING:
    from torch import nn


@method("metric", "latency")
@dataclass(frozen=True)
class Latency:
    """Measured time of one forward pass, and its ratio to the healthy network.

    Formula: median over runs of the seconds of one call; ratio = median of the network / median of healthy, the two
        called alternately, at least 50 pairs, more until the ratio is known to ± 0.01 or 30 seconds have passed.
    Shapes: input batch×C×H×W (standard normal), through the deployed form: BatchNorm folded, in `precision`.
    Interval: 95 % bootstrap over pairs. On a GPU, CUDA events are read; on a CPU, the wall clock, minus the time for
        which other processes held the core (Linux), which is not the network's.
    When it misleads: seconds hold for this machine, batch, thread count and torch version, and ratios differ from
        machine to machine as well; a busy machine widens the interval. Reading and preparing images is not included.
    Source: ratios of medians of interleaved runs; block bootstrap after Politis and Romano 1992.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "s"
    source: ClassVar[str] = "clock"

    batch: int = setting(1, type="integer", low=1, help="Images in one call.")
    threads: int = setting(1, type="integer", low=1, help="CPU threads while timing.")
    device: str = setting("cpu", type="text", help='`"cpu"`, `"cuda"` or `"cuda:1"`.')
    precision: str = setting(
        "float32", type="word", choices=("float32", "float16", "bfloat16"), help="Of weights, images and activations."
    )
    compiled: bool = setting(
        False, type="boolean", help="Whether both are compiled by torch.compile, on a GPU as CUDA graphs."
    )

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise SettingError("device", f'`"{self.device}"` is not a device', 'write `"cpu"`, `"cuda"` or `"cuda:1"`')

    def measure(
        self,
        deployed: nn.Module,
        healthy_deployed: nn.Module,
        input_shape: tuple[int, int, int],
        progress: Progress | None = None,
    ) -> Measurement:
        """Seconds of one call and the ratio to healthy.

        Args:
            deployed, healthy_deployed: deployed forms on `device`, in `precision`, compiled if `compiled` is set.
            input_shape: (channels, height, width).

        Raises:
            Refusal: RCP1001: this machine does not have the device.
        """
        return self._compared(deployed, healthy_deployed, input_shape, progress=progress)

    def glance(
        self, deployed: nn.Module, healthy_deployed: nn.Module, input_shape: tuple[int, int, int]
    ) -> Measurement:
        """The same from few pairs, in about a second: for a plan, which does not decide close cases.

        Args:
            deployed, healthy_deployed, input_shape: as for `measure`.
        """
        return self._compared(deployed, healthy_deployed, input_shape, min_pairs=8, half_width=0.05, budget_s=0.5)

    def _compared(
        self, deployed: nn.Module, healthy: nn.Module, input_shape: tuple[int, int, int], **how: Any
    ) -> Measurement:
        from recipelang.measuring.clock import compare_latency

        example = torch.randn(self.batch, *input_shape, generator=torch.Generator().manual_seed(0))
        example = example.to(getattr(torch, self.precision))
        return compare_latency(deployed, healthy, example, threads=self.threads, device=self.device, **how)

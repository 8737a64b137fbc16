"""`latency(batch=1, threads=1, device="cpu", precision=float32, compiled=false, runtime=torch)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from recipelang.catalogue import method, setting, spell
from recipelang.errors import SettingError
from recipelang.kinds import PRECISIONS, Deployment, Executable, Measurement, Progress, Runtime
from recipelang.lazy import torch
from recipelang.methods.runtimes.torch import Torch
from recipelang.profile import DEVICE


@method("metric", "latency")
@dataclass(frozen=True)
class Latency:
    """Measured time of one forward pass, and its ratio to the healthy network.

    Formula: median over runs of the seconds of one call; ratio = median of the network / median of healthy, the two
        called alternately, at least 50 pairs, more until the ratio is known to ± 0.01 or 30 seconds have passed.
    Shapes: input batch×C×H×W (standard normal), through the deployed form: BatchNorm folded, in `precision`; both
        networks executed by `runtime`.
    Interval: 95 % bootstrap over pairs. On a GPU, CUDA events are read; on a CPU, the wall clock, minus the time for
        which other processes held the core (Linux), which is not the network's.
    When it misleads: seconds hold for this machine, batch, thread count, and version of the runtime, and ratios differ
        from machine to machine as well; a busy machine widens the interval. Reading and preparing images is not
        included.
    Source: ratios of medians of interleaved runs; block bootstrap after Politis and Romano 1992.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "s"
    source: ClassVar[str] = "clock"

    batch: int = setting(1, type="integer", low=1, help="Images in one call.")
    threads: int = setting(1, type="integer", low=1, help="CPU threads while timing.")
    device: str = setting("cpu", type="text", help='`"cpu"`, `"cuda"` or `"cuda:1"`.')
    precision: str = setting("float32", type="word", choices=PRECISIONS, help="Of weights, images and activations.")
    compiled: bool = setting(
        False, type="boolean", help="Whether both are compiled by torch.compile, on a GPU as CUDA graphs."
    )
    runtime: Runtime = setting(Torch(), type="method", kind="runtime", later=True, help="What executes both networks.")

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise SettingError("device", f'`"{self.device}"` is not a device', 'write `"cpu"`, `"cuda"` or `"cuda:1"`')
        name, what = spell(self.runtime), self.runtime
        if self.device.partition(":")[0] not in what.devices:
            raise SettingError("device", f"{name} executes on {' and '.join(what.devices)} only", "remove `device`")
        if self.precision not in what.precisions:
            help = f"write `precision={what.precisions[0]}`"
            raise SettingError("precision", f"{name} computes in {', '.join(what.precisions)} here", help)
        if self.compiled and not what.compiles:
            raise SettingError("compiled", f"{name} has no other way of compiling networks", "remove `compiled`")

    @property
    def deployment(self) -> Deployment:
        """How the runtime is to prepare both networks."""
        return Deployment(self.device, self.precision, self.compiled, self.batch, self.threads)

    def measure(
        self,
        executable: Executable,
        healthy: Executable,
        input_shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Measurement:
        """Seconds of one call and the ratio to healthy.

        Args:
            executable, healthy: what `runtime` prepared for `deployment`.
            input_shape: (channels, height, width).

        Raises:
            Refusal: RCP1001: this machine does not have the device.
        """
        return self._compared(executable, healthy, input_shape, progress=progress)

    def glance(self, executable: Executable, healthy: Executable, input_shape: tuple[int, ...]) -> Measurement:
        """The same from few pairs, in about a second: for a plan, which does not decide close cases.

        Args:
            executable, healthy, input_shape: as for `measure`.
        """
        return self._compared(executable, healthy, input_shape, min_pairs=8, half_width=0.05, budget_s=0.5)

    def _compared(
        self, executable: Executable, healthy: Executable, input_shape: tuple[int, ...], **how: Any
    ) -> Measurement:
        from recipelang.measuring.clock import compare_latency

        example = torch.randn(self.batch, *input_shape, generator=torch.Generator().manual_seed(0))
        example = example.to(getattr(torch, self.precision))
        found = compare_latency(executable, healthy, example, threads=self.threads, device=self.device, **how)
        return replace(found, note="; ".join(filter(None, (found.note, executable.note))))

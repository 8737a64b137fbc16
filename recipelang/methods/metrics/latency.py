"""`latency(batch=1, threads=1, device="cpu", precision=float32, compiled=false, runtime=torch)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Executable, Measurement, Progress
from recipelang.methods.metrics._clocked import BRIEFLY, Clocked


@method("metric", "latency")
@dataclass(frozen=True)
class Latency(Clocked):
    """Measured time of one forward pass, and its ratio to the healthy network.

    Formula: median over runs of the seconds of one call; ratio = median of the network / median of healthy, the two
        called alternately, at least 50 pairs, more until the ratio is known to ± 0.01 or 30 seconds have passed.
    Shapes: input batch×C×H×W (standard normal), through the deployed form: BatchNorm folded, in `precision`; both
        networks executed by `runtime`.
    Interval: 95 % bootstrap over pairs. On a GPU, CUDA events are read; on a CPU, the wall clock, minus the time for
        which other processes held the core (Linux), which is not the network's.
    Percentiles: p50, p90 and p99 of the same samples, in the report's details. A call shorter than a millisecond is
        timed several times in a row; the percentiles are then those of means of several calls, and the report says so.
    When it misleads: seconds hold for this machine, batch, thread count, and version of the runtime, and ratios differ
        from machine to machine as well; a busy machine widens the interval. Reading and preparing images is not
        included.
    Source: ratios of medians of interleaved runs; block bootstrap after Politis and Romano 1992.
    """

    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "s"

    def measure(
        self,
        executable: Executable,
        healthy: Executable,
        input_shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Measurement:
        """Seconds of one call and the ratio to healthy; arguments and errors as `timed`."""
        return self.timed(executable, healthy, input_shape, progress=progress)

    def glance(self, executable: Executable, healthy: Executable, input_shape: tuple[int, ...]) -> Measurement:
        """The same from few pairs, in about a second: for a plan, which does not decide close cases."""
        return self.timed(executable, healthy, input_shape, **BRIEFLY)

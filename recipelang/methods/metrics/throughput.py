"""`throughput(batch=64, threads=1, device="cpu", precision=float32, compiled=false, runtime=torch)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Executable, Measurement, Progress
from recipelang.methods.metrics._clocked import BRIEFLY, Clocked


@method("metric", "throughput")
@dataclass(frozen=True)
class Throughput(Clocked):
    """Images per second, one batch after another, and the ratio to the healthy network.

    Formula: batch / median seconds of one call; ratio = throughput of the network / throughput of healthy, the two
        called alternately by the clock of `latency`: the reciprocals of its numbers at the same batch.
    Shapes: input batch×C×H×W (standard normal), through the deployed form: BatchNorm folded, in `precision`; both
        networks executed by `runtime`.
    Budget: more is better, so a budget is a lower bound: `until throughput > 1.5` asks for one and a half times the
        throughput of healthy, `until throughput > 500/s` for 500 images a second.
    Interval: 95 % bootstrap over pairs, as of `latency`.
    When it misleads: one call at a time, so a machine that could compute several at once is not full; batches larger
        than memory caches are slower per image. Reading and preparing images is not included.
    Source: the usual definition of the field, as in MLPerf Inference's offline scenario (Reddi et al. 2020).
    """

    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "images/s"

    batch: int = setting(64, type="integer", low=1, help="Images in one call.")

    def measure(
        self,
        executable: Executable,
        healthy: Executable,
        input_shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Measurement:
        """Images per second and the ratio to healthy; arguments and errors as `timed`."""
        return self._rate(self.timed(executable, healthy, input_shape, progress=progress))

    def glance(self, executable: Executable, healthy: Executable, input_shape: tuple[int, ...]) -> Measurement:
        """The same from few pairs, in about a second: for a plan, which does not decide close cases."""
        return self._rate(self.timed(executable, healthy, input_shape, **BRIEFLY))

    def _rate(self, timed: Measurement) -> Measurement:
        """Seconds of one call as images per second: the ends of intervals change places."""
        assert timed.ratio and timed.ratio_low and timed.ratio_high
        return replace(
            timed,
            value=self.batch / timed.value,
            low=self.batch / timed.high,
            high=self.batch / timed.low,
            ratio=1 / timed.ratio,
            ratio_low=1 / timed.ratio_high,
            ratio_high=1 / timed.ratio_low,
            percentiles=None,
        )

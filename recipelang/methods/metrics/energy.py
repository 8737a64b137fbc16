"""`energy(batch=1, threads=1, device="cpu", precision=float32, compiled=false, runtime=torch)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Executable, Measurement, Progress, inputs_of
from recipelang.methods.metrics._clocked import Clocked


@method("metric", "energy")
@dataclass(frozen=True)
class Energy(Clocked):
    """Joules for one image, read from the machine's counters, and the ratio to the healthy network.

    Formula: median over samples of (joules of the calls / number of calls) / batch; a sample is half a second of calls
        on a CPU, 2 seconds on a GPU; ratio = median of the network / median of healthy, both called alternately, at
        least 10 pairs, more until the ratio is known to ± 0.02 or a minute has passed.
    Shapes: input batch×C×H×W (standard normal), through the deployed form: BatchNorm folded, in `precision`; both
        networks executed by `runtime`.
    Needs: on a CPU, RAPL's counters in Linux (/sys/class/powercap), readable by the user: all packages, and their
        memory where it is counted apart. On a GPU, NVML's counter (Volta and later), through `pip install
        "recipelang[energy]"`. A machine that does not tell its energy, as most virtual ones, is refused before anything
        is trained.
    Interval: 95 % bootstrap over pairs.
    When it misleads: counters see the whole processor or GPU, so its idle power and other processes are included: a
        faster network is charged for less idle time, and a busy machine for what is not its own. Power supplies, fans
        and disks are not counted.
    Source: David et al. 2010, "RAPL: memory power estimation and capping"; Khan et al. 2018, "RAPL in action"; NVIDIA
        Management Library.
    """

    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "J"
    seconds: ClassVar[float] = 15.0

    def require(self) -> None:
        """Refuse a machine that does not tell its energy.

        Raises:
            Refusal: RCP1001, RCP1027, RCP1080.
        """
        from recipelang.measuring.energy import meter_of

        meter_of(self.device)

    def measure(
        self,
        executable: Executable,
        healthy: Executable,
        input_shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Measurement:
        """Joules of one image and the ratio to healthy.

        Args:
            executable, healthy: what `runtime` prepared for `deployment`.
            input_shape: of one input, (channels, height, width) for images.

        Raises:
            Refusal: RCP1001, RCP1027, RCP1080: this machine cannot measure it.
        """
        from recipelang.measuring.energy import compare_energy, meter_of

        meter, example = meter_of(self.device), self.example(input_shape, inputs_of(executable))
        found = compare_energy(
            executable, healthy, example, meter, threads=self.threads, device=self.device, progress=progress
        )
        value, low, high = (joules / self.batch for joules in (found.value, found.low, found.high))
        return replace(found, value=value, low=low, high=high, note=executable.note)

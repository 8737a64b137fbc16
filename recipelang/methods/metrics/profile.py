"""`profile(batch=1, threads=1, device="cpu", precision=float32, runtime=torch)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from recipelang.catalogue import method, spell
from recipelang.errors import SettingError
from recipelang.kinds import Executable, Measurement, Progress, inputs_of
from recipelang.methods.metrics._clocked import Clocked


@method("metric", "profile")
@dataclass(frozen=True)
class Profile(Clocked):
    """Measured time of every layer of one forward pass, beside healthy: where the time of a network is.

    What: the report gets a table and a chart of the layers of both networks.
    Formula: by torch, the wall clock is read at the beginning and at the end of each module, and what lies between
        belongs to the innermost one: layers add up to the call, and what a block does itself (an addition, a ReLU
        function) is its own row. By onnxruntime its profiler and by OpenVINO its counters say what each operation
        takes; those that multiply a weight are its layer, the others are added up by their kind. Medians over rounds
        (healthy, healthy watched, network, network watched; the next round is in reverse); the column is the sum of
        the medians.
    Shapes: input batch×C×H×W (standard normal), through the deployed form, as `latency`.
    Interval: 95 % bootstrap over rounds. On a CPU the time for which other processes held the core is subtracted
        (Linux), and for onnxruntime and OpenVINO such calls are repeated; on a GPU events of its stream are read, and
        gaps in which it waits for Python count to the layer after.
    When it misleads: watching takes time itself, so the report says what a call takes that nothing watches; the
        larger the layers, the less they differ. What a runtime fuses is one layer: a ReLU after a convolution costs
        nothing of its own; layers that a runtime computes in one operation, or whose equal weights are one in its
        program, share a row with all their names. What a call takes outside of its operations is in no row, and
        OpenVINO's counters miss operations of less than a microsecond. Single layers say little about a call with
        several threads, or on a GPU that Python keeps waiting.
    Source: exclusive times of a call tree, as in Graham, Kessler and McKusick 1982, "gprof".
    """

    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "s"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compiled:
            help = "remove `compiled`, or measure `latency(compiled=true)`"
            raise SettingError("compiled", "a compiled network has no layers that could be timed one by one", help)
        if not getattr(self.runtime, "watches", False):
            message = f"{spell(self.runtime)} does not say what its layers take"
            raise SettingError("runtime", message, "write `runtime=torch`, `runtime=onnxruntime` or `runtime=openvino`")

    def measure(
        self,
        executable: Executable,
        healthy: Executable,
        input_shape: tuple[int, ...],
        progress: Progress | None = None,
    ) -> Measurement:
        """Seconds of all layers of a call together, the ratio to healthy, and the layers.

        Raises:
            Refusal: RCP1001: this machine does not have the device.
        """
        from recipelang.measuring.layer_clock import compare_layers

        how = {"threads": self.threads, "device": self.device, "progress": progress}
        example = self.example(input_shape, inputs_of(executable))
        found = compare_layers(executable, healthy, example, **how)  # type: ignore[arg-type]
        return replace(found, note="; ".join(filter(None, (found.note, executable.note))))

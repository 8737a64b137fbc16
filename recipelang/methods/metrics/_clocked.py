"""What metrics of a clock share: the times of alternate calls of two networks that a runtime executes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from recipelang.kinds import Executable, Measurement, inputs_of
from recipelang.methods.metrics._executed import Executed

#: of a measurement in about a second, for a plan, which does not decide close cases
BRIEFLY: dict[str, Any] = {"min_pairs": 8, "half_width": 0.05, "budget_s": 0.5}


@dataclass(frozen=True)
class Clocked(Executed):
    """A metric for which the network and the healthy one are called alternately."""

    role: ClassVar[str] = "cost"
    source: ClassVar[str] = "clock"

    def timed(
        self, executable: Executable, healthy: Executable, input_shape: tuple[int, ...], **how: Any
    ) -> Measurement:
        """Seconds of one call and the ratio to healthy.

        Args:
            executable, healthy: what `runtime` prepared for `deployment`.
            input_shape: of one input, (channels, height, width) for images.
            how: settings of `compare_latency`.

        Raises:
            Refusal: RCP1001: this machine does not have the device.
        """
        from recipelang.measuring.clock import compare_latency

        how |= {"threads": self.threads, "device": self.device}
        found = compare_latency(executable, healthy, self.example(input_shape, inputs_of(executable)), **how)
        return replace(found, note="; ".join(filter(None, (found.note, executable.note))))

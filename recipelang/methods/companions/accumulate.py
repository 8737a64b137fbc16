"""`with accumulate(4)`: the gradients of several batches make one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion


@method("companion", "accumulate")
@dataclass(frozen=True)
class Accumulate(Companion):
    """Gradient accumulation: one step with the mean gradient of several batches.

    What: the gradient of a batch that does not fit into memory; a step needs the memory of one batch of the data.
    Formula: g = (g_1 + … + g_k) / k, for the k batches of a step; the last step of an epoch has the batches that are
        left, and the mean over these.
    Shapes: any.
    Steps: everything that is counted in steps (durations, `every=10 steps`, ramps, progress, other companions) is
        counted in steps of the optimizer, of which an epoch has ⌈batches / k⌉. `plan` says how many.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: what looks at a whole batch sees one batch of the data, not k: BatchNorm takes its statistics from
        each and averages them k times in a step, losses that compare the samples of a batch compare fewer, and `mixup`
        draws a mixture for each. With fewer steps in an epoch, a training of the same epochs usually needs a larger
        learning rate.
    Source: Ott et al. 2018, "Scaling Neural Machine Translation", section 3.3.
    """

    ordinary: ClassVar[bool] = True

    batches: int = setting(type="integer", low=2, high=100_000, positional=True, help="How many batches make a step.")

    def gathers(self) -> int:
        """As many as it says."""
        return self.batches

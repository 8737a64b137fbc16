"""`top5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import Tensor


@method("metric", "top5")
@dataclass(frozen=True)
class Top5:
    """Top-5 accuracy: the share of samples whose label is among the five highest outputs.

    Formula: top5 = 1/N · Σ [fewer than five classes are ahead of label_n]; of equal outputs, the lower class is ahead.
    Shapes: outputs y N×C with C ≥ 5, labels N.
    Interval: Wilson's score interval, 95 %.
    When it misleads: with few classes it is near 100 % for any network, and with five it is always 100 %.
    Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 2015.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "predictions"

    def measure(self, outputs: Tensor, labels: Tensor) -> Measurement:
        """outputs N×C, labels N → a fraction of 1, with 0 or 1 per sample.

        Raises:
            Refusal: RCP1002: fewer than five classes. RCP1003, RCP1004: outputs that are not finite, or labels
                beyond the classes.
        """
        from recipelang.measuring.predictions import accuracy

        return accuracy(outputs, labels, 5)

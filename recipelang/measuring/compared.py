"""Images compared with their targets, batch by batch: what metrics of images have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Measurement, Task
from recipelang.measuring.likeness import as_stored, luma, without_border
from recipelang.measuring.predictions import SampleValues, mean_of


@dataclass
class Compared:
    """One number per image.

    Attributes:
        channel: `y` or `rgb`.
        border: pixels left out on each side.
        least: where the interval ends.
        seen: the numbers so far.
    """

    channel: str
    border: int
    least: float
    seen: SampleValues = field(default_factory=lambda: SampleValues("pixels"))

    @staticmethod
    def of(metric: Any, task: Task) -> Compared:
        """For a metric with the settings `channel` and `border`; the border is as wide as the task's scale."""
        border = metric.border if metric.border is not None else getattr(task, "scale", 0)
        return Compared(metric.channel, border, metric.bounds[0])

    def add(self, answer: Tensor, targets: Tensor, alike: Callable[[Tensor, Tensor], Tensor]) -> Compared:
        """This and one more batch: images of 0…1, B×C×H×W; `alike` gives one number per image."""

        def value(images: Tensor, references: Tensor) -> Tensor:
            return alike(self._prepared(images), self._prepared(references))

        self.seen.add(answer, targets, value, _incomparable)
        return self

    def mean(self) -> Measurement:
        """The mean over images.

        Raises:
            Refusal: RCP1003, RCP1004: images that are not finite, or none.
        """
        return mean_of(self.seen.numbers(), self.least)

    def _prepared(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) <= 2 * self.border:
            height, width = images.shape[-2:]
            raise Refusal(
                "RCP1015",
                f"an image of {height}×{width} pixels has no pixel inside a border of {self.border}",
                "write a smaller `border=`, or use larger images",
            )
        images = without_border(as_stored(images), self.border)
        return luma(images) if self.channel == "y" else images


def _incomparable(answer: Tensor, targets: Tensor) -> Refusal | None:
    if answer.shape == targets.shape and answer.ndim == 4:
        return None
    return Refusal(
        "RCP1004",
        f"outputs of shape {tuple(answer.shape)} cannot be compared with images of shape {tuple(targets.shape)}",
        "the network must give images of the size of the data's targets",
    )

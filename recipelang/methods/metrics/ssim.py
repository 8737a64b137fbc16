"""`ssim(channel=y)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.compared import Compared


@method("metric", "ssim")
@dataclass(frozen=True)
class Ssim:
    """Structural similarity: similar brightness, contrast and structure in windows of an image; 1 for equal ones.

    Formula: the mean over windows of (2·μx·μy + C1)(2·σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), C1 = 0.01² and
        C2 = 0.03² for values of 0…1, then the mean over images. A window is 11×11 pixels, weighted by a Gaussian of
        deviation 1.5, and lies inside the image.
    Shapes: answers and targets N×C×H×W; images of different sizes come in different batches.
    Before it: answers are clipped, rounded and cropped as for `psnr`, and the luma is compared; `channel=rgb` takes the
        mean over channels.
    Interval: normal, 95 %, over images. Two networks on the same images are compared image by image.
    When it misleads: flat regions count as much as detailed ones, and most windows of a photograph are flat.
    Source: Wang, Bovik, Sheikh and Simoncelli 2004, Image quality assessment: from error visibility to structural
        similarity, section III.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = ""
    source: ClassVar[str] = "predictions"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    tasks: ClassVar[tuple[str, ...]] = ("superresolution",)

    channel: str = setting("y", type="word", choices=("y", "rgb"), help="The luma, or all channels.")
    border: int | None = setting(
        None, type="integer", low=0, high=1024, help="Pixels left out on each side; default as many as the scale."
    )

    def start(self, task: Task) -> Compared:
        """Nothing seen yet."""
        from recipelang.measuring.compared import Compared

        return Compared.of(self, task)

    def add(self, state: Compared, answer: Tensor, targets: Tensor) -> Compared:
        """One more batch of images B×C×H×W."""
        from recipelang.measuring.likeness import ssim

        return state.add(answer, targets, ssim)

    def result(self, state: Compared) -> Measurement:
        """At most 1, with one value per image.

        Raises:
            Refusal: RCP1003, RCP1004: images that are not finite, or none; RCP1015: the windows do not fit.
        """
        return state.mean()

"""`psnr(channel=y)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.compared import Compared


@method("metric", "psnr")
@dataclass(frozen=True)
class Psnr:
    """Peak signal-to-noise ratio: how small the squared error of an image is, in dB; the mean over images.

    Formula: psnr = 1/N · Σ_n 10·log10(1 / MSE_n), MSE_n over the pixels of image n, values of 0…1; 100 dB where an
        image is equal to its target.
    Shapes: answers and targets N×C×H×W; images of different sizes come in different batches.
    Before it: answers are clipped to 0…1 and rounded to the 255 steps of an image file, as are the targets; of colour
        images the luma is compared (`channel=y`, ITU-R BT.601, as MATLAB's rgb2ycbcr), and a border as wide as the
        scale is left out, as is published for super-resolution. `channel=rgb` compares all channels.
    Interval: normal, 95 %, over images. Two networks on the same images are compared image by image.
    When it misleads: a blurred image may have a higher one than a sharp image that is shifted by a pixel; the same
        images on another channel, or without the border, differ by 1 dB and more.
    Source: Huynh-Thu and Ghanbari 2008; border and luma: Ledig et al. 2017, section 3.1; rounding: Lim et al. 2017.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "dB"
    source: ClassVar[str] = "predictions"
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
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
        from recipelang.measuring.likeness import psnr

        return state.add(answer, targets, psnr)

    def result(self, state: Compared) -> Measurement:
        """In dB, with one value per image.

        Raises:
            Refusal: RCP1003, RCP1004: images that are not finite, or none; RCP1015: no pixel is inside the border.
        """
        return state.mean()

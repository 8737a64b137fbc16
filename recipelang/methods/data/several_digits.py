"""The data set `several_digits`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "several_digits")
@dataclass(frozen=True)
class SeveralDigits:
    """Images of one to three handwritten digits, embedded; the labels are the digits that are there.

    What: the digits of `digits`, in its splits, in the corners of images of 16×16 grey pixels; the empty corners are
    black. Of ten labels, `0` to `9`, those hold whose digit is in the image, once or twice. A digit of the training
    split is in three images, of the others in one: 1,617 images train, 177 validate and 177 test. A label holds in
    about one of five.
    Shapes: images B×1×16×16, normalised to zero mean and unit deviation; labels B×10 of 0 and 1.
    Augmentation: `standard` shifts by −1, 0 or 1 pixels down and across, each equally likely, and fills with black.
    When it misleads: digits never overlap, and have one size: real images are harder. One label of one test image is
    half a point of that label's recall or more.
    Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), as in scikit-learn.
    """

    target: ClassVar[str] = "labels"

    batch: int = setting(64, type="integer", low=1, help="Images per training batch.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Whether to shift the images.")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data; `resolve` is not needed."""
        from recipelang.images.several import open_several

        return open_several(batch=self.batch, augment=self.augment == "standard")

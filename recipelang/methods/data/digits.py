"""The data set `digits`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "digits")
@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 1,797 grey images of 8×8 pixels, embedded: nothing is downloaded.

    What: 10 classes; 60 % of each class train, 20 % validate and 20 % test (about 1,080, 360 and 360 images), always
    divided in the same way, by a hash of the pixels.
    Shapes: images B×1×8×8, normalised to zero mean and unit deviation.
    Augmentation: `standard` shifts by −1, 0 or 1 pixels down and across, each equally likely, and fills with black;
    digits are never mirrored.
    When it misleads: one test image is 0.28 points of accuracy, so no difference below one point means anything, and
    nearly every method works. It is for trying out recipes, not for comparing methods.
    Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), as in scikit-learn.
    """

    target: ClassVar[str] = "class"

    batch: int = setting(64, type="integer", low=1, help="Images per training batch.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Whether to shift the images.")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data; `resolve` is not needed."""
        from recipelang.images.digits import open_digits

        return open_digits(batch=self.batch, augment=self.augment == "standard")

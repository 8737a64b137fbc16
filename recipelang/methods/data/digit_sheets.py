"""The data set `digit_sheets`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError

if TYPE_CHECKING:
    from recipelang.kinds import Dataset

SIDE = 24


@method("data", "digit_sheets")
@dataclass(frozen=True)
class DigitSheets:
    """Sheets of 3×3 handwritten digits, embedded, for super-resolution: 24×24 grey pixels, made `scale` times smaller.

    What: the digits of `digits`, in its splits, nine to a sheet: 119 sheets train, 40 validate and 40 test. Inputs are
    made by Pillow's bicubic resampling with antialiasing, which has the kernel of MATLAB's `imresize`.
    Shapes: inputs B×1×(24/scale)×(24/scale), targets B×1×24×24, values of 0…1.
    Augmentation: `standard` mirrors sheets and turns them by quarter turns, each of the eight orientations equally
    likely.
    When it misleads: these images have one kind of stroke and 17 grey levels, so a tiny network comes close to what is
    possible; numbers say nothing about photographs.
    Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), as in scikit-learn.
    """

    target: ClassVar[str] = "image"

    scale: int = setting(2, type="integer", low=2, high=8, positional=True, help="How many times smaller inputs are.")
    batch: int = setting(16, type="integer", low=1, help="Sheets per training batch.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Whether to turn and mirror.")

    def __post_init__(self) -> None:
        if SIDE % self.scale:
            raise SettingError("scale", f"sheets of {SIDE} pixels are not divisible by {self.scale}", "write `scale=2`")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data; `resolve` is not needed."""
        from recipelang.images.sheets import open_sheets

        return open_sheets(scale=self.scale, batch=self.batch, augment=self.augment == "standard")

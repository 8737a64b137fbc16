"""The data set `images`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "images")
@dataclass(frozen=True)
class Images:
    """Your own images for super-resolution: each is a target, and made `scale` times smaller it is the input.

    What: all images of a folder, also in folders inside, are divided among training, validation and test by `split`,
    by a hash of (seed, bytes): copies of a file are never in two splits. If the folder holds only `train/`, `val/` and
    `test/`, these are used as they are, and a missing `val` or `test` is cut from `train`. Inputs are made by Pillow's
    bicubic resampling with antialiasing, which has the kernel of MATLAB's `imresize`, as in published comparisons;
    results differ from MATLAB's by rounding. A folder for tests alone: `split=[0%, 0%, 100%]`.
    Shapes: targets B×channels×H×W, inputs B×channels×(H/scale)×(W/scale), values of 0…1. In training, squares of `crop`
    pixels, at a position drawn by (seed, epoch, image); criteria see the square in the centre. Of `val` and `test`
    whole images, without the rows and columns that `scale` does not divide.
    Range: as of `folder`; `channels=1` for grey images.
    Augmentation: `standard` mirrors and turns the squares, each of the eight orientations equally likely.
    When it misleads: JPEG artefacts become part of the target; images that were enlarged before have no detail to
    restore. Few images make intervals wide: report on the usual sets.
    Source: pairs and crops of Ledig et al. 2017, section 3.2; orientations of Lim et al. 2017.
    """

    target: ClassVar[str] = "image"

    root: str = setting(type="text", positional=True, hashed=False, help="Folder of the images, or its alias.")
    scale: int = setting(2, type="integer", low=2, high=8, help="How many times smaller the inputs are.")
    crop: int = setting(96, type="integer", low=16, high=1024, help="Side in pixels of the squares in training.")
    batch: int = setting(16, type="integer", low=1, help="Squares per training batch.")
    split: tuple[float, ...] = setting(
        (0.8, 0.1, 0.1), type="numbers", help="Shares of training, validation and test; they add up to 100 %."
    )
    seed: int = setting(0, type="integer", low=0, help="Seed of the division.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Whether to turn and mirror.")
    channels: int = setting(3, type="integer", low=1, high=3, help="3: colour; 1: grey.")
    bits: int | None = setting(
        None, type="integer", low=9, high=16, help="How many bits 16-bit images use if their files do not say."
    )

    def __post_init__(self) -> None:
        if self.channels == 2:
            raise SettingError("channels", "an image has 1 channel or 3, not 2", "write `channels=1` or `channels=3`")
        if self.crop % self.scale:
            message = f"`crop={self.crop}` is not divisible by the scale {self.scale}"
            raise SettingError("crop", message, f"write `crop={self.crop // self.scale * self.scale}`")
        if len(self.split) != 3 or any(s < 0 for s in self.split) or abs(sum(self.split) - 1) > 1e-6:
            right = "three shares that add up to 100 %, as in `split=[80%, 10%, 10%]`"
            raise SettingError("split", "`split` is not three shares that add up to 100 %", f"write {right}")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0801, RCP0803, RCP0805 to RCP0808, RCP0820: the folder or its images are invalid; RCP0842: an
                image is smaller than the squares.
        """
        from recipelang.images.photos import open_photos

        return open_photos(
            resolve(self.root),
            scale=self.scale,
            crop=self.crop,
            batch=self.batch,
            split=self.split,
            seed=self.seed,
            augment=self.augment == "standard",
            channels=self.channels,
            bits=self.bits,
        )

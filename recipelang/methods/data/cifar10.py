"""The data set `cifar10`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "cifar10")
@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10: 60,000 colour images of 32×32 pixels in 10 classes.

    What: 45,000 images train and 5,000 validate (every tenth of the training list sorted by path, or by position in the
    binary files, counted from the first), 10,000 test. Class folders of any image format (`train/cat/0001.png`), the
    binary files (`data_batch_1.bin`) and the Python files (`data_batch_1`, which are read without unpickling) are
    supported. Nothing is downloaded.
    Shapes: images B×3×size×size, normalised with ImageNet's mean and deviation; for sizes other than 32 they are
    resized bilinearly, for networks that were trained on larger images.
    Augmentation: `standard` pads by 4 black pixels on each side, crops 32×32 at a uniform position from the 40×40, and
    mirrors half of the images left to right; it is applied before any resizing.
    When it misleads: published networks were trained on all 50,000 training images, so they have seen the validation
    split; only the test split is new to them. JPEG copies of CIFAR-10 cost such networks about ten points, which any
    fine-tuning regains: compare with a `control`.
    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; augmentation of He et al. 2016.
    """

    target: ClassVar[str] = "class"

    root: str = setting(
        "",
        type="text",
        positional=True,
        hashed=False,
        help="Folder of the data; by default the `cifar10` of recipe.yaml.",
    )
    batch: int = setting(128, type="integer", low=1, help="Images per training batch.")
    size: int = setting(32, type="integer", low=8, high=1024, help="Side in pixels of the network's input.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Augmentation in training.")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0801 no such folder; RCP0809 no CIFAR-10 in it; RCP0802 to RCP0807 its images are invalid.
        """
        from recipelang.images.cifar import open_cifar10

        root = resolve(self.root or "cifar10")
        return open_cifar10(root, size=self.size, batch=self.batch, augment=self.augment == "standard")

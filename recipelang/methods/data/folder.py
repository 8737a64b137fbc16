"""The data set `folder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.methods.data._images import ImageSettings

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "folder")
@dataclass(frozen=True)
class Folder(ImageSettings):
    """Your own images, one folder per class.

    What: `photos/cat/1.jpg`, `photos/dog/2.png` … are divided among training, validation and test by `split`, class by
    class, by a hash of (seed, bytes): copies of a file are never in two splits, and renaming changes nothing. If the
    folder holds `train/`, `val/` and `test/` with class folders inside, these are used as they are, and a missing `val`
    or `test` is cut from `train` by its share. Folders inside a class are searched too; files that are not images are
    skipped and counted. Images that cannot be read are reported together; `unreadable=skip` leaves them out and says
    how many. Links out of the folder and to folders are refused, or followed if recipe.yaml says `links: follow`.
    Shapes: images B×channels×height×width, normalised with ImageNet's mean and deviation (one channel: 0.449 and
    0.226). Below 64 pixels they are resized directly to the size and kept decoded in a cache; from 64 on, the shorter
    side is resized to 8/7 of `size` and the centre is cropped, at whole pixels as torchvision rounds them; the files
    are read by several threads. A network with published weights brings its own resizing and normalisation.
    Range: images are turned upright by EXIF; transparency is dropped, and the colour beneath it stays. 16-bit images
    are scaled by 65,535, or by what the file says (PNG's sBIT, TIFF's MaxSampleValue), or by `bits`; if none uses the
    upper half and neither the files nor `bits` say how many bits are used, they are refused (RCP0820). Samples without
    a range (floats, 32 bits, signed) are refused (RCP0805). Of several frames the first is used, with a note.
    Augmentation: `standard` from 64 pixels on: a part of 8 % to 100 % of the area (uniform), with sides of 3:4 to 4:3
    (log-uniform; clipped to the image if it does not fit) at a uniform position, resized to `size`, and half of the
    images mirrored left to right. Below 64 pixels: shifted by up to an eighth of each side, filled with black, and
    mirrored in the same way.
    When it misleads: only byte-equal copies are recognised; frames of one video or photographs of one object that end
    up in both training and test inflate the accuracy. If left and right matter (text, road signs), mirroring is wrong:
    write `augment=none`.
    Source: random-resized crop of Szegedy et al. 2015; folder layout of torchvision's ImageFolder.
    """

    target: ClassVar[str] = "class"

    root: str = setting(type="text", positional=True, hashed=False, help="Folder of the class folders, or its alias.")

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0801 to RCP0808, RCP0810, RCP0820: the folder or its images are invalid.
        """
        from recipelang.images.folder import open_folder

        return open_folder(resolve(self.root), **self.how())

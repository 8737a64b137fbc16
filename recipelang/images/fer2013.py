"""FER2013 as torchvision reads it, without its detour: it makes a list of Python's integers of every image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import FER2013
from torchvision.datasets.utils import check_integrity

SIDE = 48
#: files that hold both splits with labels, the preferred first; else each split has one of its own
_BOTH = ("fer", "icml")


class Faces:
    """The images of one split in memory, as other sets of torchvision have them.

    Attributes:
        data: uint8 N×48×48.
        targets: their classes.
    """

    def __init__(self, root: Path, split: str) -> None:
        """
        Raises:
            RuntimeError: the file is missing or not the published one, as torchvision says it; or it has no labels.
        """
        folder, resources = Path(root) / "fer2013", FER2013._RESOURCES
        kind = next((one for one in _BOTH if (folder / resources[one][0]).exists()), split)
        name, md5 = resources[kind]
        if not check_integrity(str(folder / name), md5=md5):
            raise RuntimeError(f"{name} not found in {folder} or corrupted")
        used = ("Training",) if split == "train" else ("PublicTest", "PrivateTest")
        images, targets = [], []
        with (folder / name).open(newline="") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                if kind not in _BOTH or row["Usage"] in used:
                    images.append(np.fromstring(row["pixels"], np.int64, sep=" ").astype(np.uint8))
                    targets.append(row.get("emotion"))
        if None in targets:
            raise RuntimeError(f"{name} has no labels; {resources['fer'][0]} and {resources['icml'][0]} have them")
        self.data = np.stack(images).reshape(-1, SIDE, SIDE)
        self.targets = [int(str(label)) for label in targets]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.data[index]), self.targets[index]

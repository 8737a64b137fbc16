"""The sets of labelled images of torchvision.datasets: how each names its splits. torch is not needed to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """How torchvision opens a set.

    Attributes:
        splits: `train`, `val`, `test` → the keywords of the class for it; what is missing is cut from `train`.
        mirrored: whether an image that is mirrored left to right still is of its class.
        variant: the keyword that chooses among several forms of the set; "" where there is one form.
        variants: its values, the default first.
        folder: below the root, in which the files are; "" is the root.
        downloads: whether torchvision can download it.
        target: `class`, or `labels` where an image may have several.
    """

    splits: Mapping[str, Mapping[str, Any]]
    mirrored: bool = True
    variant: str = ""
    variants: tuple[Any, ...] = ()
    folder: str = ""
    downloads: bool = True
    target: str = "class"


def _words(**names: str) -> dict[str, dict[str, Any]]:
    return {split: {"split": word} for split, word in names.items()}


_HALVES: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_WHOLE: dict[str, dict[str, Any]] = {"train": {}}
_TWO, _THREE = _words(train="train", test="test"), _words(train="train", val="val", test="test")

SETS: Mapping[str, Layout] = {
    "CIFAR10": Layout(_HALVES, folder="cifar-10-batches-py"),
    "CIFAR100": Layout(_HALVES, folder="cifar-100-python"),
    "CLEVRClassification": Layout(_words(train="train", val="val")),
    "Caltech101": Layout(_WHOLE, folder="caltech101"),
    "Caltech256": Layout(_WHOLE, folder="caltech256"),
    "CelebA": Layout(_words(train="train", val="valid", test="test"), folder="celeba", target="labels"),
    "Country211": Layout(_words(train="train", val="valid", test="test"), folder="country211"),
    "DTD": Layout(_THREE, variant="partition", variants=tuple(range(1, 11)), folder="dtd"),
    "EMNIST": Layout(
        _HALVES,
        mirrored=False,
        variant="split",
        variants=("balanced", "byclass", "bymerge", "letters", "digits", "mnist"),
        folder="EMNIST/raw",
    ),
    "EuroSAT": Layout(_WHOLE, folder="eurosat"),
    "FER2013": Layout(_TWO, folder="fer2013", downloads=False),
    "FGVCAircraft": Layout(
        _THREE,
        variant="annotation_level",
        variants=("variant", "family", "manufacturer"),
        folder="fgvc-aircraft-2013b",
    ),
    "FashionMNIST": Layout(_HALVES, folder="FashionMNIST/raw"),
    "Flowers102": Layout(_THREE, folder="flowers-102"),
    "Food101": Layout(_TWO, folder="food-101"),
    "GTSRB": Layout(_TWO, mirrored=False, folder="gtsrb"),
    "ImageNet": Layout(_words(train="train", val="val"), downloads=False),
    "Imagenette": Layout(
        _words(train="train", val="val"), variant="size", variants=("full", "320px", "160px"), folder="imagenette2"
    ),
    "KMNIST": Layout(_HALVES, mirrored=False, folder="KMNIST/raw"),
    "MNIST": Layout(_HALVES, mirrored=False, folder="MNIST/raw"),
    "OxfordIIITPet": Layout(_words(train="trainval", test="test"), folder="oxford-iiit-pet"),
    "Places365": Layout(_words(train="train-standard", val="val")),
    "QMNIST": Layout(_HALVES, mirrored=False, folder="QMNIST/raw"),
    "RenderedSST2": Layout(_THREE, mirrored=False, folder="rendered-sst2"),
    "SEMEION": Layout(_WHOLE, mirrored=False),
    "STL10": Layout(_TWO, folder="stl10_binary"),
    "SUN397": Layout(_WHOLE, folder="SUN397"),
    "SVHN": Layout(_TWO, mirrored=False),
    "StanfordCars": Layout(_TWO, folder="stanford_cars", downloads=False),
    "USPS": Layout(_HALVES, mirrored=False),
}
#: sets of torchvision that are asked for and are not labelled images of classes in train and test
OTHERS: Mapping[str, str] = {
    "ImageFolder": 'write `folder("photos")`: it finds the splits and caches what it reads',
    "DatasetFolder": 'write `folder("photos")`: it finds the splits and caches what it reads',
    "FakeData": "write `digits`, whose images are real",
}

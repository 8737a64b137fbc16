"""`data torchvision.FashionMNIST("root")`: a set of labelled images of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError, did_you_mean
from recipelang.methods.data._images import ImageSettings

if TYPE_CHECKING:
    from recipelang.kinds import Dataset


@method("data", "torchvision")
@dataclass(frozen=True, kw_only=True)
class TorchvisionSet(ImageSettings):
    """A set of labelled images of torchvision.datasets, named after a dot: `torchvision.FashionMNIST("root")`.

    What: CIFAR10 and CIFAR100, MNIST and its relatives, SVHN, STL10, Flowers102, Food101, DTD, GTSRB, OxfordIIITPet,
    ImageNet and the others that have labelled images. Its own splits are used; a missing `val` or `test` is cut from
    `train` by its share of `split`, class by class, by a hash of (seed, bytes). `root` is the folder that torchvision
    is given. Nothing is downloaded: the message of a missing set says what does.
    Several labels, for `task multilabel`: the 40 attributes of `torchvision.CelebA`.
    Classes: named as torchvision names them, numbered where it does not; those of ImageNet by their WordNet numbers.
    Shapes: B×channels×size×size, normalised with ImageNet's mean and deviation (one channel: 0.449 and 0.226). Sets of
    small square images keep their side (MNIST 28, CIFAR10 32, STL10 96) and channels unless `size` and `channels` say
    otherwise; others become 224×224 with three channels.
    Augmentation: `standard` as of `folder`: small images are shifted, and resized afterwards; files are cropped at
    random. Digits, letters, written words and traffic signs are never mirrored.
    When it misleads: a network that was published for a set has often been trained on all of its training images, also
    those that are validation here.
    Source: torchvision.datasets; each set's page there names its paper.
    """

    targets: ClassVar[Mapping[str, str]] = {
        "class": "name a set of classes, such as `torchvision.CIFAR10`",
        "labels": "name a set whose images have several labels: `torchvision.CelebA`",
    }

    collection: str = setting(type="text", dotted=True, help="The name in torchvision.datasets: `FashionMNIST`.")
    root: str = setting(
        "torchvision", type="text", positional=True, hashed=False, help="The folder that torchvision is given."
    )
    size: int | tuple[int, int] | None = setting(  # type: ignore[assignment]
        None, type="size", low=8, high=1024, help="Side in pixels of the input; default that of small images, else 224."
    )
    channels: int | None = setting(  # type: ignore[assignment]
        None, type="integer", low=1, high=3, help="3: colour; 1: grey; default as the images are."
    )
    variant: str | None = setting(
        None, type="text", help='Which form: `EMNIST("root", variant="letters")`; DTD, FGVCAircraft and Imagenette too.'
    )

    def __post_init__(self) -> None:
        from recipelang.images.known_sets import OTHERS, SETS  # loads nothing else

        super().__post_init__()
        if self.collection not in SETS:
            message = f"torchvision has no `{self.collection}` of images with classes"
            hint = OTHERS.get(self.collection, f"the sets are {', '.join(SETS)}")
            raise SettingError("collection", message, did_you_mean(self.collection, SETS) + hint)
        known = tuple(map(str, SETS[self.collection].variants))
        if self.variant is not None and self.variant not in known:
            message = f"`{self.collection}` has no variant `{self.variant}`"
            help = f"{did_you_mean(self.variant, known)}{'variants: ' + ', '.join(known) if known else 'leave it out'}"
            raise SettingError("variant", message, help)

    @property
    def target(self) -> str:
        """What the images of the set are labelled with."""
        from recipelang.images.known_sets import SETS

        return SETS[self.collection].target

    @staticmethod
    def dotted_names() -> frozenset[str]:
        """The names allowed after the dot."""
        from recipelang.images.known_sets import SETS

        return frozenset(SETS)

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data.

        Raises:
            Refusal: RCP0857: the set is not there; RCP0805 to RCP0808, RCP0820, RCP0870: its images or labels
                cannot be used.
        """
        from recipelang.images.known_sets import SETS
        from recipelang.images.torchvision_sets import open_set

        how: dict[str, Any] = self.how()
        values = {str(value): value for value in SETS[self.collection].variants}
        how["size"] = how["size"] if self.size is not None else None
        return open_set(self.collection, resolve(self.root), variant=values.get(self.variant or ""), **how)

"""A data set as one network sees it: labels are its outputs, images are prepared as it expects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.classes import listed, match, unknown_to
from recipelang.kinds import Batch, Dataset, Inputs, Labels, Preprocessing, inputs_of, names_of
from recipelang.lazy import torch

HELP = "name the class folders as the network names its classes, or train a network for these classes"


def seen_by(data: Dataset, classes: Sequence[str], preprocessing: Preprocessing | None) -> Dataset:
    """The data set as a network sees it.

    Args:
        data: any data set; returned as it is if nothing needs to change.
        classes: names of the network's outputs; if there are none, or the data has none, the targets stay as they are.
        preprocessing: the network's; the data keeps what it cannot change, such as its size.

    Raises:
        Refusal: RCP0819: the network does not know a class of the data.
    """
    if preprocessing is not None and preprocessing != data.preprocessing:
        data = _prepared(data, preprocessing)
    names = names_of(data)
    if not classes or names is None or tuple(classes) == names:
        return data
    found = match(classes, names)
    if found is None:
        message = f"the network does not know {unknown_to(classes, names)} of the data `{data.name}`"
        raise Refusal("RCP0819", f"{message}; it knows {listed(classes)}", HELP)
    if (missing := unsaid(data, classes)) is not None:
        raise missing
    return Relabelled(data, tuple(classes), found.outputs)


def unsaid(data: Dataset, classes: Sequence[str]) -> Refusal | None:
    """The refusal of data that does not say of every label of a network whether it holds; None where it does.

    Of classes it need not: an image has one of them. Of labels, each is asked for.
    """
    names = names_of(data) or ()
    if data.target != "labels" or len(names) >= len(classes):
        return None
    message = f"the data `{data.name}` does not say whether {unknown_to(names, classes).replace('class', 'label')} hold"
    message += "s" * (len(classes) - len(names) == 1)
    return Refusal(
        "RCP0819", f"{message}, which the network gives scores for", "use data with all labels of the network"
    )


def _prepared(data: Dataset, preprocessing: Preprocessing) -> Dataset:
    """The data set with a network's preprocessing, as far as it can adopt it."""
    if hasattr(data, "prepared"):
        ready: Dataset = data.prepared(preprocessing)
        return ready
    return data  # from a third-party method, which decides itself how its images are prepared


@dataclass(frozen=True)
class Derived:
    """What a data set made from another has in common with it; see `kinds.Dataset`."""

    data: Dataset

    @property
    def name(self) -> str:
        """Its name in the recipe."""
        return self.data.name

    @property
    def target(self) -> str:
        """What its targets are."""
        return self.data.target

    @property
    def labels(self) -> Labels | None:
        """What its labels mean."""
        return self.data.labels

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How its images are prepared."""
        return self.data.preprocessing

    @property
    def batch(self) -> int:
        """Training batch size."""
        return self.data.batch

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.data.input_shape

    @property
    def inputs(self) -> Inputs:
        """What the numbers of a sample are."""
        return inputs_of(self.data)

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Of one target."""
        return self.data.target_shape

    @property
    def drawn(self) -> Callable[..., np.ndarray]:
        """The numbers of its training samples in the order of `batches`; an error where the data has no `drawn`."""
        numbers: Callable[..., np.ndarray] = self.data.drawn  # type: ignore[attr-defined]  # `hasattr` asks for it
        return numbers

    @property
    def augments(self) -> bool:
        """Whether a training sample is another one in each epoch; an error where the data does not say."""
        return bool(self.data.augments)  # type: ignore[attr-defined]

    @property
    def unaugmented(self) -> str:
        """What to do so that it does not augment; an error where the data does not say."""
        return str(self.data.unaugmented)  # type: ignore[attr-defined]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of it."""
        return tuple(getattr(self.data, "notes", ()))


@dataclass(frozen=True)
class Relabelled(Derived):
    """A data set whose labels are the outputs of a network.

    Attributes:
        data: with its own labels.
        classes: of the network's outputs.
        outputs: for each class of the data, the output that stands for it.
    """

    classes: tuple[str, ...]
    outputs: tuple[int, ...]

    @property
    def labels(self) -> Labels:
        """The classes of the network."""
        return Labels(self.classes)

    @property
    def fingerprint(self) -> str:
        """Of the data and of the meaning of its labels."""
        return derived(self.data.fingerprint, outputs=self.outputs, of=len(self.classes))

    @property
    def part(self) -> Callable[[np.ndarray], Relabelled]:
        """The same with only these training samples; an error where the data has no `part`."""
        pick = self.data.part  # type: ignore[attr-defined]  # `hasattr` asks for it
        return lambda chosen: replace(self, data=pick(chosen))

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""
        return self.data.size(split)

    def batches(self, split: str, **how: Any) -> Iterator[Batch]:
        """Batches of inputs and labels; see `kinds.Dataset.batches`."""
        outputs = torch.tensor(self.outputs, dtype=torch.int64)
        of_labels = self.target == "labels"
        for images, labels in self.data.batches(split, **how):
            yield Batch(images, labels[:, outputs.argsort()] if of_labels else outputs[labels])


def derived(fingerprint: str, **decides: Any) -> str:
    """Hex digest of a data set that is made from another one."""
    return hashlib.sha256(f"{fingerprint} {json.dumps(decides, sort_keys=True)}".encode()).hexdigest()

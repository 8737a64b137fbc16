"""What a data set must offer, and the method that opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from recipelang.kinds.preprocessing import Preprocessing


@dataclass(frozen=True)
class Labels:
    """What the classes of a data set are called: label k is `names[k]`."""

    names: tuple[str, ...]


class Batch(NamedTuple):
    """Some samples: what a network is given, and what it should answer.

    Attributes:
        inputs: tensor with the samples along axis 0, or a tuple, list or dictionary of such tensors.
        targets: the same, of the kind that the task's `target` says: int64 B for `class`, float32 B×C of 0 and 1 for
            `labels`, B×C×H×W for `image`.
    """

    inputs: Any
    targets: Any


class Dataset(Protocol):
    """An opened data set: three honest splits, in a fixed order.

    Attributes:
        name: as the recipe calls it.
        target: what it offers: `class`, `labels`, `image`, …; a task asks for one of them.
        labels: its classes, or what may be true of a sample; None where it has none.
        preprocessing: what was applied to the images; travels with the compressed model. None: nothing is known.
        fingerprint: hex digest of names, sizes and bytes and of everything that decides the splits.
        batch: training batch size.
        input_shape: of one input, without the batch: (channels, height, width) for images, (tokens,) for texts.
        target_shape: of one target, where the answer must have its shape; None where it need not.

    Optional:
        inputs: `Inputs`, where inputs are not floating-point numbers; ask `inputs_of`.
        drawn(*, samples=None, epoch=None, seed=0) -> int64 N: the numbers of the training samples, from 0, in the order
            in which `batches("train", …)` of the same arguments gives them. Losses that keep something for each sample
            (`Loss.remembers`) need it, and so do kept answers of teachers (`Companion.caches`).
        augments: whether a training sample may be another one in each epoch; answers of teachers are kept only where it
            is False. It may take a pass over the samples.
        unaugmented: what to do so that it does not augment; default: to write `augment=none`.
    """

    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def labels(self) -> Labels | None: ...
    @property
    def preprocessing(self) -> Preprocessing | None: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def target_shape(self) -> tuple[int, ...] | None: ...

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[Batch]:
        """Batches: inputs as `inputs` says, such as images float32 B×C×H×W normalised, with labels int64 B or
        with images.

        Args:
            split: `train`, `val` or `test`.
            batch: samples per batch; default `self.batch`. One may be smaller, except in training.
            samples: only this many, drawn once by `seed`, the same at every call; default all.
            epoch: None reads in order without augmentation; a number is training: shuffled by (seed, epoch),
                each sample augmented by (seed, epoch, index), the last incomplete batch dropped.
            start: skip this many batches at no cost, to resume inside an epoch.
        """


class DataMethod(Protocol):
    """`data NAME(…)`.

    Attributes:
        target: what the data offers, which `check` compares with the task; "" is known only when it is opened.

    Optional:
        targets: where settings decide what it offers: each kind of target → which settings give it, in words. `target`
            is then a property.
    """

    target: ClassVar[str]
    batch: int

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data. `resolve` turns a path of the recipe into a path on this machine.

        Raises:
            Refusal: RCP08xx: missing folder, corrupt image, empty class, images without labels.
        """


def names_of(data: Dataset | None) -> tuple[str, ...] | None:
    """The class names of a data set; None where there is no data, or it has no classes."""
    return data.labels.names if data is not None and data.labels is not None else None


def offered(method: Any) -> tuple[str, ...]:
    """The kinds of targets that a data method, or its class, can offer; () where only opening the data tells."""
    several = tuple(getattr(method, "targets", ())) if isinstance(method, type) else ()
    target = "" if several else str(getattr(method, "target", ""))
    return several or ((target,) if target else ())

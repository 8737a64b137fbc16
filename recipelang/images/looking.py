"""What one look at every sample of a user's data set shows, which names it and its changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.images.access import current
from recipelang.images.draws import AUGMENT, bits
from recipelang.images.samples import Refuse, read_sample, shape_of
from recipelang.images.workers import at, in_processes

#: fetch(data set, index, number) → a sample; what the user's code draws follows from the number
Fetch = Callable[[Any, int, int], Any]
MOST_CLASSES = 2**16
CHUNK = 32  # samples that are looked at before they are reported


@dataclass(frozen=True)
class IndexedSamples:
    """Some samples of a data set that can be indexed.

    Attributes:
        whole: the user's data set.
        indices: int64 N, of the samples.
        shapes: of the input and of the target of each sample.
        labels: int64 N where targets are classes, N×C of 0 and 1 where they are labels.
        ids: how many ids there are among the inputs, of each sample; 0 where inputs are floating point.
        digests: SHA-256 of each sample.
    """

    whole: Any
    indices: np.ndarray
    shapes: tuple[tuple[Any, Any], ...]
    labels: np.ndarray
    digests: tuple[bytes, ...]
    ids: np.ndarray

    def take(self, chosen: np.ndarray) -> IndexedSamples:
        """The samples at these places."""
        some = [int(k) for k in chosen]
        shapes, digests = tuple(self.shapes[k] for k in some), tuple(self.digests[k] for k in some)
        return IndexedSamples(self.whole, self.indices[chosen], shapes, self.labels[chosen], digests, self.ids[chosen])


def look_at(whole: Any, split: str, target: str, fetch: Fetch, refuse: Refuse, workers: int) -> IndexedSamples:
    """Look at every sample of a data set once.

    Args:
        whole: the user's data set.
        split: its name, for messages.
        target: what the task needs: `class`, `labels` or another kind of target.
        fetch: reads a sample.
        refuse: makes refusals in which the user's function is named.
        workers: processes that read, at most.

    Raises:
        Refusal: as `refuse`, where a sample or the length is invalid; RCP0856: a worker died.
    """
    try:
        count = len(whole)
    except Exception as error:  # the user's code may raise anything
        message = f"the length of `{split}` is unknown: {type(error).__name__}: {str(error)[:200]}"
        raise refuse(
            message, "give the data set `__len__`; data that is only iterated over cannot be shuffled"
        ) from error
    if split == "train" and not count:
        raise refuse("`train` has no samples", "return a data set with samples")
    indices = np.arange(count)
    draws = bits((0, AUGMENT), indices)

    def look(some: range) -> list[_Look]:
        return [_one(whole, k, int(draws[k]), target, fetch, refuse) for k in some]

    pieces = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    looks: list[_Look] = []
    progress = current().progress
    if progress:
        progress.start(f"looking at the samples of `{split}`", count)
    try:
        ended = lambda sample, why: died(split, sample, why, refuse)  # noqa: E731
        for some in in_processes(look, pieces, min(workers, len(pieces) // 2), ended):
            looks += some
            if progress:
                progress.advance(len(some))
    finally:
        if progress:
            progress.stop()
    for k, one in enumerate(looks):
        if np.shape(one.label) != np.shape(looks[0].label):
            message = f"sample {k} of `{split}` has {np.size(one.label)} labels, sample 0 {np.size(looks[0].label)}"
            raise refuse(message, "give every sample a 0 or 1 for each label, in the same order")
    labels = np.asarray([look.label for look in looks], np.int64)
    return IndexedSamples(
        whole,
        indices,
        tuple(look.shapes for look in looks),
        labels,
        tuple(look.digest for look in looks),
        np.asarray([look.ids for look in looks], np.int64),
    )


class _Look(NamedTuple):
    """What one look at a sample shows: as in `IndexedSamples`."""

    shapes: tuple[Any, Any]
    label: int | tuple[int, ...]
    digest: bytes
    ids: int


def _one(whole: Any, k: int, draw: int, target: str, fetch: Fetch, refuse: Refuse) -> _Look:
    at(k)
    sample, goal = read_sample(fetch(whole, k, draw), k, target, refuse)
    shapes = (tuple(sample.shape), shape_of(goal))
    label: int | tuple[int, ...] = goal if isinstance(goal, int) and 0 <= goal < MOST_CLASSES else -1
    if target == "labels":
        label = tuple(goal.int().tolist())
    return _Look(shapes, label, digest_of(sample, goal), ids_in(sample))


def digest_of(sample: Tensor, goal: Any) -> bytes:
    """SHA-256 of an input and its target."""
    shapes = (tuple(sample.shape), shape_of(goal))
    digest = hashlib.sha256(repr(shapes).encode() + sample.numpy().tobytes())
    digest.update(b"%d" % goal if isinstance(goal, int) else goal.numpy().tobytes())
    return digest.digest()


def died(split: str, sample: int | None, why: str, refuse: Refuse) -> Refusal:
    """The refusal for a worker that ended while it read a sample."""
    what = f"sample {sample}" if sample is not None else "a sample"
    refusal = refuse(f"the worker that read {what} of `{split}` died: {why}", "")
    help = "write `workers=0` to see what the sample does; a worker that was killed may have had too little memory"
    return Refusal("RCP0856", refusal.message, help)


def ids_in(sample: Tensor) -> int:
    """The number of ids that there are at least, if the largest is in this sample; 0 for floating-point numbers."""
    if sample.is_floating_point():
        return 0
    return int(sample.max()) + 1 if sample.numel() else 1

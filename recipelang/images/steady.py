"""Whether the samples of a user's code are the same in every epoch: each is read again with other random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recipelang.images.access import current
from recipelang.images.draws import AUGMENT, bits
from recipelang.images.looking import CHUNK, IndexedSamples, died
from recipelang.images.samples import Refuse
from recipelang.images.workers import in_processes

#: read(data set, place among the samples, number) → SHA-256 of a sample; what the code draws follows from the number
Digest = Callable[[Any, int, int], bytes]


class Watched:
    """A data set of which is noted how the generators of random numbers stand before and after a sample is read."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self.before: tuple[object, ...] = ()
        self.after: tuple[object, ...] = ()

    def __getitem__(self, index: int) -> Any:
        self.before = _generators()
        sample = self._whole[index]
        self.after = _generators()
        return sample


def first_that_varies(source: IndexedSamples, read: Digest, refuse: Refuse, workers: int) -> int | None:
    """The index of the first sample that is another one with other random numbers, or that may be: its code draws
    some, and does not begin with a seed of its own. None where there is none.

    Code that draws from a source which is neither Python's, numpy's nor torch's generator is noticed where a sample
    differs from what it was when the data was opened.

    Args:
        source: the training samples, with the digests of when they were opened.
        read: reads one of them.
        refuse: makes the refusal where a worker dies.
        workers: processes that read, at most.

    Raises:
        Refusal: as `read`; RCP0856: a worker died.
    """
    count = len(source.indices)
    first, second = (bits((1, AUGMENT, epoch), source.indices) for epoch in (0, 1))

    def look(some: range) -> list[int]:
        return [k for k in some if _varies(source, read, k, int(first[k]), int(second[k]))][:1]

    pieces = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    progress = current().progress
    if progress:
        progress.start("reading the samples of `train` again", count)
    try:
        ended = lambda sample, why: died("train", sample, why, refuse)  # noqa: E731
        for found in in_processes(look, pieces, min(workers, len(pieces) // 2), ended):
            if found:
                return int(source.indices[found[0]])
            if progress:
                progress.advance(CHUNK)
    finally:
        if progress:
            progress.stop()
    return None


def _varies(source: IndexedSamples, read: Digest, k: int, first: int, second: int) -> bool:
    watched = Watched(source.whole)
    if read(watched, k, first) != source.digests[k]:
        return True
    before, after = watched.before, watched.after
    if before == after:
        return False
    # random numbers were drawn: after a seed of the code's own, the generator stands at the same place once more
    again = read(watched, k, second)
    pairs = zip(before, after, watched.after, strict=True)
    return again != source.digests[k] or any(a != b and b != c for a, b, c in pairs)


def _generators() -> tuple[object, ...]:
    """The states of Python's, numpy's and torch's generators."""
    arrays: Any = np.random.get_state(legacy=False)["state"]
    return random.getstate(), (arrays["key"].tobytes(), arrays["pos"]), torch.get_rng_state().numpy().tobytes()

"""Random numbers that depend on their purpose, not on how many were drawn before.

A draw is decided by (seed, epoch, index) alone, so training resumes in the middle of an epoch, and a
image is augmented the same way in every batch and every thread.
"""

from __future__ import annotations

import hashlib

import numpy as np

ORDER, SUBSET, AUGMENT = 1, 2, 3  # what a number is for: the same seed gives each purpose its own numbers
_MASK = 0xFFFF_FFFF_FFFF_FFFF


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection of uint64 N."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bits(keys: tuple[int, ...], indices: np.ndarray) -> np.ndarray:
    """Uniform uint64, one per index.

    Args:
        keys: seed, purpose, epoch, …; integers of any size and sign.
        indices: int64 N.
    """
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = _mix(state ^ np.asarray([key & _MASK], np.uint64))
    return _mix(state ^ indices.astype(np.uint64))


def uniform(keys: tuple[int, ...], indices: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1): float64 N×count, row i decided by `keys` and `indices[i]` alone."""
    base = bits(keys, indices)
    steps = _mix(np.arange(1, count + 1, dtype=np.uint64))
    return (_mix(base[:, None] ^ steps[None, :]) >> np.uint64(11)) * 2.0**-53


def shuffled(keys: tuple[int, ...], count: int) -> np.ndarray:
    """A permutation of 0 … count−1 (int64), decided by `keys`."""
    return np.argsort(bits(keys, np.arange(count)), kind="stable")


def course(seed: int, count: int, samples: int | None, epoch: int | None, batch: int) -> np.ndarray:
    """The numbers of the samples of a split in the order in which its batches hold them (int64).

    Args:
        seed: of the data.
        count: samples of the split.
        samples: only this many, drawn once; None: all.
        epoch: None: in order; a number: shuffled for this epoch of a training, without the last incomplete batch.
        batch: samples per batch, at most; a training on fewer samples has batches of all of them.
    """
    chosen = subset(seed, count, samples)
    if epoch is None:
        return chosen
    chosen = chosen[shuffled((seed, ORDER, epoch), len(chosen))]
    size = min(batch, len(chosen))
    return chosen[: len(chosen) // size * size]


def subset(seed: int, count: int, samples: int | None) -> np.ndarray:
    """The indices of `samples` out of `count`, drawn once by `seed` and sorted; all where `samples` is None."""
    if samples is None or samples >= count:
        return np.arange(count)
    return np.sort(shuffled((seed, SUBSET), count)[:samples])


def fingerprint_of_part(fingerprint: str, chosen: np.ndarray) -> str:
    """Of the data set with this fingerprint and only these training samples (sorted numbers)."""
    return hashlib.sha256(f"{fingerprint} {chosen.tolist()}".encode()).hexdigest()

"""Splits without leaks: seeded, with the same share of every class, and no image in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.decode import shown

SPLITS = ("train", "val", "test")
#: what people call the three splits, in lower case
SPLIT_NAMES = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val", "development": "val"},
    **{"test": "test", "testing": "test"},
}


def divide(
    digests: Sequence[bytes],
    labels: Sequence[int],
    shares: Sequence[float],
    seed: int,
    classes: Sequence[str],
    what: str = "image",
) -> tuple[np.ndarray, ...]:
    """Divide images among splits.

    Each class is ordered by a hash of (seed, bytes) and cut by the shares, so a split depends neither on
    file names nor on the order of the disk, and an added image moves few others. Files of equal bytes stay
    together, even if they are in two classes: a copy in both train and test would be a leak.

    Args:
        digests: of each image's bytes, N.
        labels: class number of each image, N.
        shares: of each split, adding up to 1; 0 leaves a split empty.
        seed: another seed gives another division.
        classes: names, for messages.
        what: is divided, for messages.

    Returns:
        for each split, the sorted indices (int64) of its images.

    Raises:
        Refusal: RCP0808: a class has too few different images to be in every split.
    """
    sown = seed.to_bytes(8, "big", signed=True)
    members: dict[int, dict[bytes, list[int]]] = {}
    for index, (label, digest) in enumerate(zip(labels, digests, strict=True)):
        key = hashlib.sha256(sown + digest).digest()
        members.setdefault(label, {}).setdefault(key, []).append(index)
    placed: dict[bytes, int] = {}
    parts: list[list[int]] = [[] for _ in shares]
    for label in sorted(members):
        groups = members[label]
        total = sum(map(len, groups.values()))
        # The first split takes what rounding leaves over; every other gets at least one image.
        wanted = [0] + [max(1, round(total * s)) if s > 0 else 0 for s in shares[1:]]
        counts = [0] * len(shares)
        before = groups.keys() & placed.keys()
        for key in sorted(before):
            counts[placed[key]] += len(groups[key])
            parts[placed[key]] += groups[key]
        split = len(shares) - 1  # which is filled: the last one first
        for key in sorted(groups.keys() - before):
            while split and counts[split] >= wanted[split]:
                split -= 1
            placed[key] = split
            counts[split] += len(groups[key])
            parts[split] += groups[key]
        if any(s > 0 and c == 0 for s, c in zip(shares, counts, strict=True)):
            raise Refusal(
                "RCP0808",
                f"the class `{shown(classes[label])}` has {len(groups)} different "
                f"{what}{'s' * (len(groups) != 1)}, too few to give every split one",
                f"add {what}s to the class, remove the class, or give a split the share 0%",
            )
    return tuple(np.asarray(sorted(part), np.int64) for part in parts)

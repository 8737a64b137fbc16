"""Labels of which a sample may have several: how they divide a data set, and what can be learnt of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.table import listed

#: samples that are divided on their own for a label; fewer are divided with those that have none
LEAST = 10
NONE = "no label"


def strata(labels: np.ndarray) -> np.ndarray:
    """What divides samples evenly: the rarest label that each has, and the number of labels where it has none.

    A label that is frequent is divided well by chance, a rare one is not. Labels of few samples are not divided on
    their own.

    Args:
        labels: N×C of 0 and 1.

    Returns:
        int64 N, 0 … C.
    """
    holds = np.asarray(labels) > 0.5
    counts = holds.sum(0)
    width = holds.shape[1]
    found = np.where(holds.any(1), np.where(holds, counts, len(holds) + 1).argmin(1), width)
    sizes = np.bincount(found, minlength=width + 1)
    found[sizes[found] < LEAST] = width
    sizes = np.bincount(found, minlength=width + 1)
    if 0 < sizes[width] < LEAST and sizes[:width].any():
        found[found == width] = sizes[:width].argmax()
    return found.astype(np.int64)


def require_varied(labels: np.ndarray, names: Sequence[str], what: str) -> None:
    """Refuse labels that every training sample has, or none.

    Args:
        labels: of the training samples, N×C of 0 and 1.
        names: of the labels.
        what: the data, for the message.

    Raises:
        Refusal: RCP0870.
    """
    share = np.asarray(labels).mean(0)
    for value, said in ((0.0, "no training sample of {} has"), (1.0, "every training sample of {} has")):
        if same := [name for name, mean in zip(names, share, strict=True) if mean == value]:
            several = "s" * (len(same) > 1)
            message = f"{said.format(what)} the label{several} {listed(same)}"
            raise Refusal("RCP0870", message, f"leave the label{several} out, or add samples that differ in it")

"""The part of the training split that a search judges by: neither ranking nor tuning sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.draws import shuffled
from recipelang.images.parts import part
from recipelang.kinds import Dataset
from recipelang.training.smoke import few

#: the part of the training split that a search judges by, and how many samples that is at most
HELD, MOST_HELD = 0.2, 1000
HELD_DRAW = 7  # what the numbers are for that draw it (`images.draws`)


@dataclass(frozen=True)
class Division:
    """A data set, its training split cut in two: what is ranked and trained by, and what a search judges by."""

    rest: Dataset
    held: Dataset


def divided(data: Dataset, seed: int, smoke: bool = False) -> Division:
    """Draw the part that a search judges by.

    Raises:
        Refusal: RCP1008: there are too few training samples to be divided.
    """
    size = data.size("train")
    if size < 2:
        raise Refusal("RCP1008", f"`train` has {size} sample, too few for a search to judge by", "use more data")
    count = max(1, min(MOST_HELD, few(None, smoke) or MOST_HELD, round(HELD * size)))
    order = shuffled((seed, HELD_DRAW), size)
    return Division(part(data, np.sort(order[count:])), part(data, np.sort(order[:count])))

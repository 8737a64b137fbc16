"""One option for each of several items: every best trade of two sums, for all budgets at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: how many trades are kept after each item: of more, the best within each of this many equal parts of the price range
MOST = 4096


def trades(
    prices: Sequence[Sequence[float]], harms: Sequence[Sequence[float]], most: int = MOST
) -> list[tuple[int, ...]]:
    """The options of all items, for every pair of sums (price, harm) that no others beat in one without losing in the
    other: the highest price, and least harm, first.

    This is the multiple-choice knapsack by dynamic programming over its undominated partial sums (Nemhauser and Ullmann
    1969; Kellerer, Pferschy, Pisinger, "Knapsack problems", 2004, 11.5). It is exact as long as no more than `most`
    trades are undominated; otherwise each sum of prices is exact, and its harm is the least for a price that is at most
    items/most of the range lower.

    Args:
        prices: of each option of each item.
        harms: of the same; finite.
        most: trades that are kept after each item.

    Returns:
        one number of an option for each item. Of equal options the first one is taken.
    """
    price, harm = np.zeros(1), np.zeros(1)
    steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for item, (own, lost) in enumerate(zip(prices, harms, strict=True)):
        count = len(own)
        added = (price[:, None] + np.asarray(own, dtype=np.float64)).ravel()
        worse = (harm[:, None] + np.asarray(lost, dtype=np.float64)).ravel()
        kept = _undominated(added, worse)
        if len(kept) > most:
            kept = _thinned(kept, added, most)
        price, harm = added[kept], worse[kept]
        steps.append((kept // count, kept % count))
        assert len(kept), f"item {item} has no option"
    return [_options(steps, last) for last in range(len(price) - 1, -1, -1)]


def _undominated(price: NDArray[np.float64], harm: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the sums that none beats, by rising price and falling harm."""
    order = np.lexsort((np.arange(len(price)), harm, price))
    best = np.minimum.accumulate(harm[order])
    first = np.ones(len(order), dtype=bool)
    first[1:] = harm[order][1:] < best[:-1]
    return order[first].astype(np.int64)


def _thinned(kept: NDArray[np.int64], price: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Of the sums within each of `most` equal parts of the range, the one of least harm; and the cheapest of all."""
    values = price[kept]
    part = np.floor((values - values[0]) / (values[-1] - values[0]) * (most - 1))
    last = np.append(part[1:] != part[:-1], True)
    last[0] = True
    return kept[last]


def _options(steps: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], last: int) -> tuple[int, ...]:
    found = []
    for parents, options in reversed(steps):
        found.append(int(options[last]))
        last = int(parents[last])
    return tuple(reversed(found))

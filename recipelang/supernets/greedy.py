"""Greedy slimming: the group that hurts least loses parts, until a budget holds.

Yu and Huang, "AutoSlim: towards one-shot architecture search for channel numbers", 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

#: how many steps of each queue are taken
Counts = tuple[int, ...]


def options(taken: Counts, most: Sequence[int], stride: Sequence[int]) -> list[Counts]:
    """Every way to let one queue lose its next few steps.

    Args:
        taken: so far.
        most: number of steps of each queue.
        stride: how many steps a queue loses at a time; fewer where fewer are left.
    """
    return [
        (*taken[:queue], min(end, taken[queue] + by), *taken[queue + 1 :])
        for queue, (end, by) in enumerate(zip(most, stride, strict=True))
        if taken[queue] < end
    ]


def slimmed(
    most: Sequence[int],
    stride: Sequence[int],
    holds: Callable[[Counts], bool],
    choose: Callable[[list[Counts]], int],
) -> Iterator[Counts]:
    """The path from the whole network to one at which the budget holds, or to the end.

    Args:
        holds: whether the budget holds.
        choose: the number of the option that hurts least.
    """
    taken: Counts = (0,) * len(most)
    yield taken
    while not holds(taken):
        offered = options(taken, most, stride)
        if not offered:
            return
        before, taken = taken, offered[choose(offered)]
        if holds(taken):  # the last of several steps may not be needed
            taken = finest(before, taken, holds)
        yield taken


def finest(before: Counts, after: Counts, holds: Callable[[Counts], bool]) -> Counts:
    """Of the numbers between the two, which differ in one queue, the smallest at which the budget holds; it holds at
    the second."""
    (queue,) = (number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1])
    for count in range(before[queue] + 1, after[queue]):
        between = (*after[:queue], count, *after[queue + 1 :])
        if holds(between):
            return between
    return after

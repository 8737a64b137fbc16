"""From atoms to channels: which of them are one and the same channel, and which channels are interchangeable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from recipelang.surgery.axes import Axes, Axis


def components(axes: Axes) -> numpy.ndarray:
    """Atom → number of the set of atoms that it is joined to: a channel."""
    empty = numpy.empty(0, dtype=numpy.int64)
    rows = numpy.concatenate([empty, *(a for a, _ in axes.joins)])
    columns = numpy.concatenate([empty, *(b for _, b in axes.joins)])
    graph = coo_array((numpy.ones(len(rows), dtype=numpy.int8), (rows, columns)), shape=(axes.atoms, axes.atoms))
    return connected_components(graph, directed=False)[1]


def alike(axes: list[Axis], free: numpy.ndarray) -> list[numpy.ndarray]:
    """The free channels, grouped where they are in the same axes, equally often in each.

    Slices and concatenations keep the order of indices, so the first, second, … place of a channel in an axis
    corresponds to the first, second, … of every other channel of its set.
    """
    channel = numpy.concatenate(axes)
    axis = numpy.repeat(numpy.arange(len(axes)), [len(a) for a in axes])
    channel, axis = channel[free[channel]], axis[free[channel]]
    order = numpy.lexsort((axis, channel))
    channel, axis = channel[order], axis[order]
    found: dict[bytes, list[int]] = {}
    starts = numpy.flatnonzero(numpy.diff(channel, prepend=-1))
    for start, end in pairwise([*starts, len(channel)]):
        found.setdefault(axis[start:end].tobytes(), []).append(int(channel[start]))
    return [numpy.array(channels) for channels in found.values()]


def first_reasons(axes: Axes, component: numpy.ndarray) -> numpy.ndarray:
    """Channel → number of the first entry of `axes.frozen` that keeps it in place; -1 for a free one."""
    why = numpy.full(component.max(initial=-1) + 1, -1)
    for number in range(len(axes.frozen) - 1, -1, -1):  # backwards, so that the first reason wins
        why[component[axes.frozen[number][0]]] = number
    return why


def positions(
    axis: numpy.ndarray, group: numpy.ndarray, sets: Sequence[numpy.ndarray]
) -> Iterator[tuple[int, numpy.ndarray]]:
    """Where an axis holds the channels of the groups that it has.

    Args:
        axis: the channel of every index.
        group: the number of the group of each channel; -1 for none.
        sets: the channels of each group, ascending.

    Returns:
        (number of the group, its indices in the axis: channels × times that the axis holds each).
    """
    present = group[axis]
    for number in numpy.unique(present[present >= 0]).tolist():
        where = numpy.flatnonzero(present == number)
        order = numpy.argsort(axis[where], kind="stable")  # in the order of the group's channels, which ascends
        yield number, where[order].reshape(len(sets[number]), -1)

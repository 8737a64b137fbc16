"""Cuts of tensors: which indices of which axes an edit removes, as JSON that is read with bounds, and what is zero
instead in the network that the edited one is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recipelang.surgery.entries import MOST_TENSORS, Wrong, mapping, sequence, shown, text, whole

#: largest size of an axis, and number of sizes that an attribute may hold
LARGEST_AXIS, MOST_SIZES, MOST_AXES = 2**24, 64, 16
#: largest number of numbers in the calls of one module
MOST_CALLS = 2**12
#: largest number of indices that the cuts of one edit name together: a few characters of a file may name very many
MOST_GONE = 2**20
Size = int | tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """The same slices of several tensors.

    Attributes:
        gone: the indices that are removed, ascending.
        size: how many there were.
        places: (parameter or buffer, axis), every name of a tied tensor.
    """

    gone: tuple[int, ...]
    size: int
    places: tuple[tuple[str, int], ...]

    def json(self) -> dict[str, Any]:
        """`{"gone": [[0, 4], [7, 8]], "of": 16, "at": [["conv1.weight", 0], …]}`: ranges without their ends."""
        return {"gone": _ranges(self.gone), "of": self.size, "at": [list(place) for place in self.places]}


@dataclass(frozen=True)
class Zeroed:
    """What was at some indices of an axis before they became zero.

    Attributes:
        data: of the parameter. `axis`, `where`: the indices of the axis.
        values: that were there; with `within` (another axis, indices) only at these, because the others were zero.
    """

    data: Tensor
    axis: int
    where: Tensor
    values: Tensor
    within: tuple[int, Tensor] | None

    def restore(self) -> None:
        """Put them back."""
        values = self.values
        if self.within:
            values = self.data.index_select(self.axis, self.where).index_copy_(*self.within, values)
        self.data.index_copy_(self.axis, self.where, values)


def others(gone: Sequence[int], size: int) -> Tensor:
    """The indices that are not among these."""
    keep = torch.ones(size, dtype=torch.bool)
    keep[list(gone)] = False
    return keep.nonzero().flatten()


def _ranges(indices: Iterable[int]) -> list[list[int]]:
    """Ascending indices as [first, one after the last]."""
    found: list[list[int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1][1] = index + 1
        else:
            found.append([index, index + 1])
    return found


def read_ranges(value: dict[str, Any]) -> list[list[int]]:
    """The ranges of indices that a cut removes, ascending and within its size."""
    if value.keys() != {"gone", "of", "at"}:
        raise Wrong("a cut has other entries than `gone`, `of` and `at`")
    size = whole(value["of"], "`of`", LARGEST_AXIS)
    ranges = [sequence(pair, "`gone`", 2) for pair in sequence(value["gone"], "`gone`", size)]
    ends = [end for pair in ranges for end in pair]
    if not ends or len(ends) != 2 * len(ranges) or not all(type(end) is int for end in ends):
        raise Wrong(f"`gone` is {shown(value['gone'])}, not ranges of indices")
    if ends[0] < 0 or ends[-1] > size or not all(b > a if k % 2 == 0 else b >= a for k, (a, b) in _pairs(ends)):
        raise Wrong(f"`gone` is {shown(value['gone'])}, not ascending ranges within {size}")
    if sum(end - first for first, end in ranges) == size:
        raise Wrong("a cut leaves nothing")
    return ranges


def read_cut(value: dict[str, Any], ranges: list[list[int]]) -> Cut:
    """A cut of these ranges."""
    places = read_places(value["at"], "`at`")
    if not places:
        raise Wrong("`at` is empty")
    return Cut(tuple(index for first, end in ranges for index in range(first, end)), value["of"], places)


def read_places(value: Any, what: str) -> tuple[tuple[str, int], ...]:
    """Tensors with axes; `what` they are, for the message."""
    places = [sequence(place, what, 2) for place in sequence(value, what, MOST_TENSORS)]
    if not all(len(place) == 2 and type(place[1]) is int and 0 <= place[1] < MOST_AXES for place in places):
        raise Wrong(f"{what} is {shown(value)}, not names with axes")
    return tuple((text(name, what), axis) for name, axis in places)


def read_numbers(value: Any) -> tuple[tuple[str, str, int, int], ...]:
    """(module, call, number of it, new value), sorted."""
    found = []
    for path, table in mapping(value, "`calls`").items():
        for each in sequence(table, "`calls`", MOST_CALLS):
            call, *numbers = sequence(each, "`calls`", 3) or [None]
            if len(numbers) != 2 or not all(type(n) is int and 0 <= n <= LARGEST_AXIS for n in numbers):
                raise Wrong(f"`calls` holds {shown(each)}, not a call and two whole numbers")
            found.append((text(path, "a path"), text(call, "a call"), numbers[0], numbers[1]))
    if len({place[:3] for place in found}) != len(found):
        raise Wrong("`calls` names a number twice")
    return tuple(sorted(found))


def _pairs(ends: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    return enumerate(pairwise(ends))


def read_size(value: Any) -> Size:
    """A whole number, or several."""
    if isinstance(value, list):
        return tuple(whole(item, "`set`", LARGEST_AXIS) for item in sequence(value, "`set`", MOST_SIZES))
    return whole(value, "`set`", LARGEST_AXIS)


def attribute_name(name: str) -> str:
    """The name of a public attribute."""
    if not name.isidentifier() or name.startswith("_"):
        raise Wrong(f"`set` names {shown(name)}, which is not an attribute")
    return name


def joined(cut: Mapping[tuple[str, int], tuple[Sequence[int], int]]) -> tuple[Cut, ...]:
    """Cuts by (tensor, axis), each (indices, size), put together where they remove the same indices of as many."""
    alike: dict[tuple[tuple[int, ...], int], list[tuple[str, int]]] = {}
    for place, (gone, size) in cut.items():
        alike.setdefault((tuple(sorted(gone)), size), []).append(place)
    return tuple(Cut(gone, size, tuple(places)) for (gone, size), places in alike.items())

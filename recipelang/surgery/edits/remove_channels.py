"""Removing channels: slices of every parameter and buffer that holds them, and the numbers that count them.

The law: a removed channel is one whose parameters are all zero, those that make it, scale or shift it *and* those that
read it. Since its readers are zero, it does not matter what a norm or an activation makes of an empty channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.calls import replace_numbers
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
class RemoveChannels:
    """Remove channels from every tensor that holds them; no module changes its class or path.

    Attributes:
        cuts: what is removed; an axis of a tensor appears once.
        sizes: (module, attribute, new value) of the attributes that count channels, `out_channels`, `groups`; sorted.
        normalised: (parameter, axis) where each index is divided by its norm, as v of weight norm. There zeros would be
            0/0; it is their gain g that is zero in the neutralised network.
        numbers: (module, call of its code, number of it, new value) of the sizes that its code computes or states;
            sorted (`recipelang.surgery.calls`).
    """

    kind: ClassVar[str] = "remove_channels"
    resizes: ClassVar[bool] = True

    cuts: tuple[Cut, ...]
    sizes: tuple[tuple[str, str, Size], ...] = ()
    normalised: tuple[tuple[str, int], ...] = ()
    numbers: tuple[tuple[str, int, int, int], ...] = ()

    def __str__(self) -> str:
        weights = sorted({name for cut in self.cuts for name, _ in cut.places})
        return f"removing channels of {len(weights)} tensors"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> RemoveChannels:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if entry.keys() - {"normalised", "calls"} != {"edit", "cut", "set"}:
            raise Wrong("it has other entries than `edit`, `cut`, `set`, `normalised` and `calls`")
        told = [mapping(cut, "a cut") for cut in sequence(entry["cut"], "`cut`", MOST_TENSORS)]
        ranges = [_read_ranges(cut) for cut in told]
        if sum(end - first for each in ranges for first, end in each) > MOST_GONE:
            raise Wrong(f"its cuts remove more than {MOST_GONE:,} channels")
        cuts = tuple(map(_read_cut, told, ranges))
        places = [place for cut in cuts for place in cut.places]
        if not cuts or len(set(places)) != len(places):
            raise Wrong("`cut` is empty, or names an axis twice")
        sizes = sorted(
            (text(path, "a path"), _attribute(name), _read_size(value))
            for path, values in mapping(entry["set"], "`set`").items()
            for name, value in mapping(values, "`set`").items()
        )
        normalised = _read_places(entry.get("normalised", []), "`normalised`")
        return cls(cuts, tuple(sizes), normalised, _read_numbers(entry.get("calls", {})))

    def json(self) -> dict[str, Any]:
        """The cuts under `cut`; module → attribute → value under `set`; `normalised` where there are any, and under
        `calls` module → numbers in its calls, where these change."""
        setting: dict[str, dict[str, Any]] = {}
        for path, name, value in self.sizes:
            setting.setdefault(path, {})[name] = value if isinstance(value, int) else list(value)
        entry: dict[str, Any] = {"edit": self.kind, "cut": [cut.json() for cut in self.cuts], "set": setting}
        if self.normalised:
            entry["normalised"] = [list(place) for place in self.normalised]
        if self.numbers:
            entry["calls"] = {path: [list(each) for each in table] for path, table in self._tables().items()}
        return entry

    def removes(self, path: str) -> bool:
        """No module and no whole parameter is removed."""
        return False

    def left(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor without the channels that the parameter or buffer of this name loses."""
        for gone, size, axis in self._by_name.get(name, ()):
            keep = torch.ones(size, dtype=torch.bool)
            keep[list(gone)] = False
            tensor = tensor.index_select(axis, keep.nonzero().flatten().to(tensor.device))
        return tensor

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: a tensor or attribute is missing, or does not have the size that the edit was made for.
        """
        self._require_fit(module)
        held = {name: _holder(module, name) for name in self.names()}
        # All are looked up before one is changed: a module that appears under two names holds one tensor.
        old: dict[str, Tensor] = {name: getattr(parent, leaf) for name, (parent, leaf) in held.items()}
        new: dict[int, Tensor] = {}  # a tied tensor stays one tensor
        with torch.no_grad():
            for name, (parent, leaf) in held.items():
                tensor = old[name]
                if id(tensor) not in new:
                    cut = self.left(name, tensor.detach())
                    new[id(tensor)] = (
                        nn.Parameter(cut, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else cut
                    )
                setattr(parent, leaf, new[id(tensor)])
        for path, name, value in self.sizes:
            part = module.get_submodule(path)
            setattr(part, name, value if isinstance(value, int) else type(getattr(part, name))(value))
        for path, table in self._tables().items():
            replace_numbers(module.get_submodule(path), {(call, place): value for call, place, value in table})

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module with all parameters of the removed channels at zero."""
        self._require_fit(module)
        with self.neutralised(module):
            return module(example)

    @contextmanager
    def neutralised(self, module: nn.Module) -> Iterator[None]:
        """Inside the block all parameters of the removed channels are zero; buffers are as they were."""
        parameters = dict(module.named_parameters(remove_duplicate=False))
        kept = []
        try:
            for name in self.names():
                if name in parameters:
                    data = parameters[name].data
                    for gone, _, axis in self._by_name[name]:
                        if (name, axis) in self.normalised:
                            continue
                        where = torch.tensor(gone, device=data.device)
                        kept.append((data, axis, where, data.index_select(axis, where)))
                        data.index_fill_(axis, where, 0)
            yield
        finally:
            for data, axis, where, values in reversed(kept):
                data.index_copy_(axis, where, values)

    def names(self) -> tuple[str, ...]:
        """The parameters and buffers that lose something."""
        return tuple(self._by_name)

    def recounted(self) -> tuple[str, ...]:
        """The modules whose code gets other numbers."""
        return tuple(self._tables())

    def _tables(self) -> dict[str, list[tuple[int, int, int]]]:
        """Module → (call, number of it, new value)."""
        found: dict[str, list[tuple[int, int, int]]] = {}
        for path, *rest in self.numbers:
            found.setdefault(path, []).append((rest[0], rest[1], rest[2]))
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[tuple[int, ...], int, int]]]:
        """Tensor → (indices, size, axis) of its cuts."""
        found: dict[str, list[tuple[tuple[int, ...], int, int]]] = {}
        for cut in self.cuts:
            for name, axis in cut.places:
                found.setdefault(name, []).append((cut.gone, cut.size, axis))
        return found

    def _require_fit(self, module: nn.Module) -> None:
        for name, cuts in self._by_name.items():
            parent, leaf = _holder(module, name)
            tensor = getattr(parent, leaf, None)
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
            for _, size, axis in cuts:
                if axis >= len(shape) or shape[axis] != size:
                    raise _misfit(f"no `{name}` with {size} channels along axis {axis}")
        for path, name, value in self.sizes:
            try:
                old = getattr(module.get_submodule(path), name, None)
            except AttributeError:
                old = None
            olds, news = (_numbers(v) for v in (old, value))
            if len(olds) != len(news) or not all(1 <= new <= size for new, size in zip(news, olds, strict=True)):
                raise _misfit(f"no `{path}.{name}` that may become {value}")
        for path in self.recounted():
            _holder(module, f"{path}.")


def _numbers(value: object) -> Sequence[int]:
    """The whole numbers that an attribute is or holds; none where it holds anything else."""
    items = [value] if type(value) is int else value if type(value) in (list, tuple) else ()
    return items if all(type(item) is int for item in items) else ()  # type: ignore[return-value,attr-defined]


def _holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds a parameter or buffer, and its name there."""
    path, _, leaf = name.rpartition(".")
    try:
        return module.get_submodule(path), leaf
    except AttributeError as error:
        raise _misfit(f"no `{path}`") from error


def _misfit(what: str) -> Refusal:
    return Refusal(
        "RCP0701",
        f"channels cannot be removed as the edit log says: the network has {what}",
        "use the folder as it was written, with the code that the network was built from",
    )


def _ranges(indices: Iterable[int]) -> list[list[int]]:
    """Ascending indices as [first, one after the last]."""
    found: list[list[int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1][1] = index + 1
        else:
            found.append([index, index + 1])
    return found


def _read_ranges(value: dict[str, Any]) -> list[list[int]]:
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


def _read_cut(value: dict[str, Any], ranges: list[list[int]]) -> Cut:
    places = _read_places(value["at"], "`at`")
    if not places:
        raise Wrong("`at` is empty")
    return Cut(tuple(index for first, end in ranges for index in range(first, end)), value["of"], places)


def _read_places(value: Any, what: str) -> tuple[tuple[str, int], ...]:
    places = [sequence(place, what, 2) for place in sequence(value, what, MOST_TENSORS)]
    if not all(len(place) == 2 and type(place[1]) is int and 0 <= place[1] < MOST_AXES for place in places):
        raise Wrong(f"{what} is {shown(value)}, not names with axes")
    return tuple((text(name, what), axis) for name, axis in places)


def _read_numbers(value: Any) -> tuple[tuple[str, int, int, int], ...]:
    found = []
    for path, table in mapping(value, "`calls`").items():
        for each in sequence(table, "`calls`", MOST_CALLS):
            numbers = sequence(each, "`calls`", 3)
            if len(numbers) != 3 or not all(type(n) is int and 0 <= n <= LARGEST_AXIS for n in numbers):
                raise Wrong(f"`calls` holds {shown(each)}, not three whole numbers")
            found.append((text(path, "a path"), numbers[0], numbers[1], numbers[2]))
    return tuple(sorted(found))


def _pairs(ends: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    return enumerate(pairwise(ends))


def _read_size(value: Any) -> Size:
    if isinstance(value, list):
        return tuple(whole(item, "`set`", LARGEST_AXIS) for item in sequence(value, "`set`", MOST_SIZES))
    return whole(value, "`set`", LARGEST_AXIS)


def _attribute(name: str) -> str:
    if not name.isidentifier() or name.startswith("_"):
        raise Wrong(f"`set` names {shown(name)}, which is not an attribute")
    return name


def joined(cut: Mapping[tuple[str, int], tuple[Sequence[int], int]]) -> tuple[Cut, ...]:
    """Cuts by (tensor, axis), each (indices, size), put together where they remove the same indices of as many."""
    alike: dict[tuple[tuple[int, ...], int], list[tuple[str, int]]] = {}
    for place, (gone, size) in cut.items():
        alike.setdefault((tuple(sorted(gone)), size), []).append(place)
    return tuple(Cut(gone, size, tuple(places)) for (gone, size), places in alike.items())

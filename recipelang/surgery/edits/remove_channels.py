"""Removing channels: slices of every parameter and buffer that holds them, and the numbers that count them.

The law: a removed channel is one whose parameters are all zero, those that make it, scale or shift it *and* those that
read it. Since its readers are zero, it does not matter what a norm or an activation makes of an empty channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.calls import replace_numbers
from recipelang.surgery.cuts import (
    MOST_GONE,
    Cut,
    Size,
    Zeroed,
    attribute_name,
    others,
    read_cut,
    read_numbers,
    read_places,
    read_ranges,
    read_size,
)
from recipelang.surgery.entries import MOST_TENSORS, Wrong, mapping, sequence, text


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
    numbers: tuple[tuple[str, str, int, int], ...] = ()

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
        ranges = [read_ranges(cut) for cut in told]
        if sum(end - first for each in ranges for first, end in each) > MOST_GONE:
            raise Wrong(f"its cuts remove more than {MOST_GONE:,} channels")
        cuts = tuple(map(read_cut, told, ranges))
        places = [place for cut in cuts for place in cut.places]
        if not cuts or len(set(places)) != len(places):
            raise Wrong("`cut` is empty, or names an axis twice")
        sizes = sorted(
            (text(path, "a path"), attribute_name(name), read_size(value))
            for path, values in mapping(entry["set"], "`set`").items()
            for name, value in mapping(values, "`set`").items()
        )
        normalised = read_places(entry.get("normalised", []), "`normalised`")
        return cls(cuts, tuple(sizes), normalised, read_numbers(entry.get("calls", {})))

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
            tensor = tensor.index_select(axis, others(gone, size).to(tensor.device))
        return tensor

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: a tensor or attribute is missing, or does not have the size that the edit was made for.
        """
        self._require_fit(module)
        held = {name: _holder(module, name) for name in self.names()}
        # A tied tensor stays one tensor, and one of a module that appears under two names is cut once.
        tied: dict[int, list[str]] = {}
        for name, (parent, leaf) in held.items():
            tied.setdefault(id(getattr(parent, leaf)), []).append(name)
        with torch.no_grad():
            for names in tied.values():
                new = self._cut(names[0], getattr(*held[names[0]]))
                for parent, leaf in map(held.__getitem__, names):
                    setattr(parent, leaf, new)
        for path, name, value in self.sizes:
            part = module.get_submodule(path)
            setattr(part, name, value if isinstance(value, int) else type(getattr(part, name))(value))
        for path, table in self._tables().items():
            replace_numbers(module.get_submodule(path), {(call, place): value for call, place, value in table})

    def _cut(self, name: str, tensor: Tensor) -> Tensor:
        """A parameter or buffer without its channels."""
        cut = self.left(name, tensor.detach())
        return nn.Parameter(cut, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else cut

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module with all parameters of the removed channels at zero."""
        self._require_fit(module)
        with self.neutralised(module):
            return module(example)

    @contextmanager
    def neutralised(self, module: nn.Module) -> Iterator[None]:
        """Inside the block all parameters of the removed channels are zero; buffers are as they were."""
        parameters = dict(module.named_parameters(remove_duplicate=False))
        kept: list[Zeroed] = []
        try:
            for name in self.names():
                if name in parameters:
                    kept += self._zeroed(name, parameters[name].data)
            yield
        finally:
            for zeroed in reversed(kept):
                zeroed.restore()

    def _zeroed(self, name: str, data: Tensor) -> Iterator[Zeroed]:
        """Set the parameters of the removed channels to zero, axis after axis, and tell what was there."""
        first: tuple[int, Tensor] | None = None  # what the first axis leaves: of the others only that has to be kept
        for gone, size, axis in self._by_name[name]:
            if (name, axis) in self.normalised:
                continue
            where = torch.tensor(gone, device=data.device)
            values = data.index_select(axis, where)
            yield Zeroed(data, axis, where, values.index_select(*first) if first else values, first)
            data.index_fill_(axis, where, 0)
            first = first or (axis, others(gone, size).to(data.device))

    def names(self) -> tuple[str, ...]:
        """The parameters and buffers that lose something."""
        return tuple(self._by_name)

    def recounted(self) -> tuple[str, ...]:
        """The modules whose code gets other numbers."""
        return tuple(self._tables())

    def _tables(self) -> dict[str, list[tuple[str, int, int]]]:
        """Module → (call, number of it, new value)."""
        found: dict[str, list[tuple[str, int, int]]] = {}
        for path, call, place, value in self.numbers:
            found.setdefault(path, []).append((call, place, value))
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

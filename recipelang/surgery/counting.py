"""Which number in a call of a network's code counts which channels.

A run tells the calls and their numbers, the graph the channels of every axis; both list the operations of each module
in the same order. What a number becomes in an edit is how many of its channels remain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recipelang.surgery.calls import CUTS, MADE, RESHAPES, SIZED, SPLITS, numbered, numbers_in, renumbered, running
from recipelang.surgery.coupled import ChannelOperation, Place

#: what a call does to sizes, comparable with an operation of the graph: what it is, and shapes
Key = tuple[Any, ...]
SHAPED = RESHAPES | MADE | {"_unsafe_view", "_reshape_alias"}


@dataclass(frozen=True)
class Sizing:
    """One thing that a call does to sizes: a call may cut several axes.

    Attributes:
        path: of the module whose code makes the call. `call`: the function of its code, and its number there.
        key: what it does, and to which shape.
        places: which of its numbers are the sizes or bounds; None for one that is not given.
        given: these numbers.
    """

    path: str
    call: str
    key: Key
    places: tuple[int | None, ...]
    given: tuple[int, ...] = field(default=())


class Calls(TorchFunctionMode):
    """Lists what the calls of a network's code do to sizes.

    Args:
        module: the network.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.paths = {part: path for path, part in module.named_modules()}
        self.seen: list[Sizing] = []
        self._runs: dict[str, tuple[Any, Counter[str]]] = {}  # the frame of a forward, and its calls so far

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in SIZED or (where := self._where()) is None:
            return func(*args, **kwargs)
        args, kwargs = self.given(*where, args, kwargs)
        out = func(*args, **kwargs)
        numbers = numbers_in(args, kwargs)
        self.seen += (
            Sizing(*where, key, places, tuple(numbers[k] for k in places if k is not None))
            for key, places in _doing(name, args, kwargs, numbers, out)
        )
        return out

    def given(self, path: str, call: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with which the function is called."""
        return args, kwargs

    def _where(self) -> tuple[str, str] | None:
        """Path of the module that is running, and this call in this run of its `forward`."""
        part, frame, caller = running()
        path = self.paths.get(part) if part is not None else None
        if path is None:
            return None
        if self._runs.get(path, (None,))[0] is not frame:
            self._runs[path] = frame, Counter()
        return path, numbered(caller, self._runs[path][1])


class Correcting(Calls):
    """Gives every call the numbers that it should have, and notes which the code had wrong.

    Args:
        module: the network without some channels.
        counted: the channels that each number counts.
        left: how many of such remain.
    """

    def __init__(self, module: nn.Module, counted: Mapping[Place, numpy.ndarray], left: Callable[..., int]) -> None:
        super().__init__(module)
        self.wrong: set[Place] = set()
        self._right: dict[tuple[str, str], dict[int, int]] = {}
        for (path, call, position), channels in counted.items():
            self._right.setdefault((path, call), {})[position] = left(channels)

    def given(self, path: str, call: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with the numbers that they should have."""
        right = self._right.get((path, call))
        if not right:
            return args, kwargs
        numbers = numbers_in(args, kwargs)
        wrong = {k for k, number in right.items() if k < len(numbers) and 0 <= numbers[k] != number}
        self.wrong |= {(path, call, k) for k in wrong}
        return renumbered(args, kwargs, {k: right[k] for k in wrong})


def counted_by(calls: Sequence[Sizing], operations: Iterable[ChannelOperation]) -> dict[Place, numpy.ndarray]:
    """(module, call, number) → the channels that the number counts.

    Args:
        calls: of a run of the network.
        operations: of its graph, which has more operations than the code makes calls.
    """
    in_graph: dict[str, list[tuple[Key, tuple[numpy.ndarray, ...]]]] = {}
    for operation in operations:
        in_graph.setdefault(operation.path, []).extend(_sizes(operation))
    in_code: dict[str, list[Sizing]] = {}
    for each in calls:
        in_code.setdefault(each.path, []).append(each)
    found: dict[Place, numpy.ndarray] = {}
    for path, mine in in_code.items():
        theirs = in_graph.get(path, [])
        matcher = SequenceMatcher(None, [each.key for each in mine], [key for key, _ in theirs], autojunk=False)
        for a, b, length in matcher.get_matching_blocks():
            for each, (_, channels) in zip(mine[a : a + length], theirs[b : b + length], strict=True):
                _note(found, each, channels)
    return {place: channels for place, channels in found.items() if len(channels)}


def _note(found: dict[Place, numpy.ndarray], each: Sizing, channels: tuple[numpy.ndarray, ...]) -> None:
    """Note the numbers of a call; where they differ between two runs of a module's code, nothing is known."""
    given = iter(each.given)
    for position, row in zip(each.places, channels, strict=False):
        if position is None or next(given) != len(row):
            continue
        place = (each.path, each.call, position)
        same = place not in found or numpy.array_equal(found[place], row)
        found[place] = row if same else numpy.empty(0, int)


def _doing(
    name: str, args: Any, kwargs: Any, numbers: Sequence[int], out: Any
) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """What a call does: its key, and which of its numbers are sizes or bounds."""
    if name == "unflatten":
        dim, count = numbers[0] % (args[0].ndim if args else 1), len(numbers) - 1
        yield ("shape", *out.shape), (*[None] * dim, *range(1, 1 + count))
    elif name in RESHAPES | MADE and isinstance(out, Tensor):
        if len(numbers) >= out.ndim:
            yield ("shape", *out.shape), tuple(range(out.ndim))
    elif name in SPLITS:
        pieces = [tuple(piece.shape) for piece in out]
        listed = isinstance((*args[1:2], *kwargs.values())[0], list | tuple)
        yield ("split", *pieces), tuple(range(len(pieces) if listed and name != "tensor_split" else 1))
    elif name == "narrow":
        if len(numbers) == 3:
            yield ("cut", args[0].shape[numbers[0]], out.shape[numbers[0]]), (1, None, 2)
    elif name in CUTS and isinstance(args[0], Tensor):
        yield from _cutting(args[0], args[1])


def _cutting(x: Tensor, index: Any) -> Iterator[tuple[Key, tuple[int | None, int | None]]]:
    """The axes that indexing cuts, and which of its numbers are the bounds."""
    items = index if isinstance(index, tuple) else (index,)
    taken = sum(item is not None and item is not Ellipsis for item in items)
    axis = position = 0
    for item in items:
        if isinstance(item, slice) and axis < x.ndim:
            bounds = []
            for bound in (item.start, item.stop, item.step):
                bounds.append(position if isinstance(bound, int) else None)
                position += bound is not None
            size = x.shape[axis]
            length = len(range(*item.indices(size)))
            if length < size:
                yield ("cut", size, length), (bounds[0], bounds[1])
        elif isinstance(item, int) and not isinstance(item, bool):
            position += 1
        elif isinstance(item, Tensor | list):
            return  # looked up by number: what follows is another operation
        axis += x.ndim - taken if item is Ellipsis else item is not None


def _sizes(operation: ChannelOperation) -> Iterator[tuple[Key, tuple[numpy.ndarray, ...]]]:
    """What an operation of the graph does: its key, and the channels that each size or bound counts."""
    name, given, outs = operation.name, operation.given, operation.outs
    if name in SHAPED and len(outs) == 1:
        yield ("shape", *map(len, outs[0])), outs[0]
    elif name in SPLITS:
        pieces = [tuple(map(len, piece)) for piece in outs]
        yield ("split", *pieces), tuple(piece[given["dim"]] for piece in outs)
    elif name in ("slice", "narrow"):
        dim = given["dim"]
        axis, out = given["self"][dim], outs[0][dim]
        start = given["start"] or 0
        if len(out) < len(axis) and start >= 0:
            yield ("cut", len(axis), len(out)), (axis[:start], axis[: start + len(out)], out)


@contextmanager
def corrected(
    module: nn.Module, counted: Mapping[Place, numpy.ndarray], left: Callable[..., int]
) -> Iterator[set[Place]]:
    """Inside the block the code of a network without some channels gets the numbers that it should have.

    Yields:
        the places of those that it had wrong.
    """
    with Correcting(module, counted, left) as mode:
        yield mode.wrong

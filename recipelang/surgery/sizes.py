"""The attributes of modules that count channels, and what they become.

Those of torch's layers are known by what the layer computes. Any other whole number (`num_heads`, a tuple of sizes) is
found by what it does: for one run every such attribute is a `TracedNumber`, and those that arrive as sizes of a view or
a new tensor are told apart by it. A number's value alone is ambiguous: 8 heads of 8 channels. Sizes that no
attribute gives are numbers in the code's calls (`calls`); `counting` knows which channels each counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy
from torch import nn

from recipelang.surgery.axes_removal import CELLS
from recipelang.surgery.counting import Calls, Sizing
from recipelang.surgery.coupled import ChannelOperation, Followed, Place
from recipelang.surgery.headed import Headed

#: how many indices of an axis remain
Left = Callable[[numpy.ndarray], int]
Source = tuple[str, str, int]
Size = int | tuple[int, ...]
Used = frozenset[Place]
LAYERS: tuple[type[nn.Module], ...] = (
    nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.PReLU,
    nn.RNNBase, nn.RNNCellBase,
)  # fmt: skip
PRODUCTS = ("linear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", *CELLS)
NORMS = ("batch_norm", "instance_norm", "group_norm", "prelu")
RESHAPES = ("view", "reshape", "unflatten", "expand", "split")


def sizes_after(module: nn.Module, followed: Followed, left: Left) -> tuple[tuple[str, str, Size], ...]:
    """(module, attribute, new value) of every attribute that changes.

    Args:
        module: the network as it is.
        followed: its graph.
        left: the channels of an axis → how many of its indices remain.
    """
    new: dict[tuple[str, str], Size] = {}
    for operation in followed.operations:
        part = module.get_submodule(operation.path)
        if isinstance(part, LAYERS):
            sizes = _of_layer(operation, left)
            new |= {(operation.path, key): size for key, size in sizes.items() if hasattr(part, key)}
    numbers = _numbers(followed.operations, left)
    for path, part in module.named_modules():
        for key, value in attributes(part) if path not in followed.computing else ():
            items = [value] if type(value) is int else list(value)
            renumbered = tuple(
                _renumbered(n, path, followed.sources.get((path, key, k), frozenset()), followed, left, numbers)
                for k, n in enumerate(items)
            )
            if renumbered != tuple(items):
                new.setdefault((path, key), renumbered[0] if type(value) is int else renumbered)
    changed = [(path, key, value) for (path, key), value in new.items() if _differs(module, path, key, value)]
    return tuple(sorted(changed, key=lambda size: size[:2]))


def numbers_after(followed: Followed, left: Left) -> tuple[tuple[str, str, int, int], ...]:
    """(module, call of its code, number of it, new value) of every number that the code does not find by itself.

    In a module that is touched at all, all such numbers are stated: what the code computes may follow any change.
    """
    touched = {path for (path, *_), channels in followed.counted.items() if left(channels) != len(channels)}
    return tuple((*place, left(followed.counted[place])) for place in sorted(followed.fixed) if place[0] in touched)


def _differs(module: nn.Module, path: str, key: str, value: Size) -> bool:
    old = getattr(module.get_submodule(path), key)
    return bool((tuple(old) if isinstance(old, list) else old) != value)


def _of_layer(operation: ChannelOperation, left: Left) -> dict[str, int]:
    """The attributes of a layer of torch after one of its operations."""
    name, given, outs = operation.name, operation.given, operation.outs
    x, weight = given.get("input"), given.get("weight")
    if name.startswith("conv") or name in PRODUCTS:
        axis = 1 if name.startswith("conv") else -1
        into, out = left(x[axis]) if x else 0, left(outs[0][axis])
        sizes = {"in_channels": into, "in_features": into, "input_size": into}
        sizes |= {"out_channels": out, "out_features": out, "embedding_dim": out}
        if name.startswith("conv") and given["groups"] > 1 and weight:
            sizes["groups"] = into // max(1, left(weight[1]))
        return sizes
    if name in NORMS:
        channels = (x or given["self"])[1]
        sizes = dict.fromkeys(("num_features", "num_channels"), left(channels))
        sizes["num_groups"] = given.get("num_groups", 1) * left(channels) // len(channels)
        if isinstance(weight, tuple) and len(weight[0]) > 1:
            sizes["num_parameters"] = left(weight[0])
        return sizes
    return {}


def _numbers(operations: Iterable[ChannelOperation], left: Left) -> dict[tuple[str, int], set[int]]:
    """(module, size of an axis there) → what it becomes, everywhere in the module."""
    found: dict[tuple[str, int], set[int]] = {}
    for operation in operations:
        given, name = operation.given, operation.name
        if name.startswith("conv") and given["groups"] > 1:
            groups = _of_layer(operation, left).get("groups", given["groups"])
            found.setdefault((operation.path, given["groups"]), set()).add(groups)
        for dims in operation.outs if name in (*RESHAPES, "linear", "batch_norm") else ():
            for row in dims:
                found.setdefault((operation.path, len(row)), set()).add(left(row))
    return found


def _renumbered(
    value: int, path: str, used: Used, followed: Followed, left: Left, numbers: Mapping[Any, set[int]]
) -> int:
    """What a number becomes: by what it counts in calls, else by its value where that is unambiguous."""
    for known in (
        {left(followed.counted[place]) for place in used if place in followed.counted},
        numbers.get((path, value), set()),
    ):
        if len(known) == 1:
            return next(iter(known))
    return value


# -- numbers by what they do -------------------------------------------------------------------------


class TracedNumber(int):
    """An attribute on its way into an operation."""

    source: Source


def observed(module: nn.Module, run: Callable[[], Any]) -> tuple[dict[Source, Used], list[Sizing]]:
    """(module, attribute, number in it) → the numbers in calls that it gave in a run; and what the calls of the
    network's code do to sizes.

    Args:
        module: as it was afterwards.
        run: runs it. Where it raises because of a named number, no attribute is found.
    """
    for named in (_named(module), nullcontext()):
        with named, Calls(module) as calls:
            try:
                run()
            except Exception:  # the module is the user's, and what is found here is only a hint
                continue
        return _sources(calls.seen), calls.seen
    return {}, []


def _sources(calls: Iterable[Sizing]) -> dict[Source, Used]:
    """The numbers in calls that attributes gave."""
    used: dict[Source, set[Place]] = {}
    for call in calls:
        places = (place for place in call.places if place is not None)
        for place, number in zip(places, call.given, strict=True):
            if isinstance(number, TracedNumber):
                used.setdefault(number.source, set()).add((call.path, call.call, place))
    return {source: frozenset(places) for source, places in used.items()}


@contextmanager
def _named(module: nn.Module) -> Iterator[None]:
    old = [(part, path, key, value) for path, part in module.named_modules() for key, value in attributes(part)]
    try:
        for part, path, key, value in old:
            named = [TracedNumber(number) for number in ([value] if isinstance(value, int) else value)]
            for k, number in enumerate(named):
                number.source = (path, key, k)
            vars(part)[key] = named[0] if isinstance(value, int) else type(value)(named)
        yield
    finally:
        for part, _, key, value in old:
            vars(part)[key] = value


def attributes(part: nn.Module) -> list[tuple[str, Any]]:
    """The public attributes of a module of the user's that are whole numbers, or lists or tuples of them; of a class
    of ours those that it names."""
    if type(part).__module__.startswith("torch.nn.modules"):
        return []
    named = part.counts if isinstance(part, Headed) else None
    return [
        (key, value)
        for key, value in vars(part).items()
        if not key.startswith("_") and _whole(value) and (named is None or key in named)
    ]


def _whole(value: object) -> bool:
    items: Sequence[object] = [value] if type(value) is int else value if type(value) in (list, tuple) else ()  # type: ignore[assignment]
    return bool(items) and all(type(item) is int for item in items)

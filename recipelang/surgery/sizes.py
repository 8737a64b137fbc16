"""The attributes of modules that count channels, and what they become.

Those of torch's layers are known by what the layer computes. Any other whole number (`num_heads`, a tuple of sizes) is
found by what it does: for one run every such attribute is a `TracedNumber`, and those that arrive as sizes of a `view`,
`reshape` or `expand` are told apart by it. A number's value alone is ambiguous: 8 heads of 8 channels. Sizes that no
attribute gives are numbers in the code's calls (`calls`); `counting` knows which channels each counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from recipelang.surgery.axes_removal import CELLS
from recipelang.surgery.counting import Calls, Sizing
from recipelang.surgery.coupled import ChannelOperation, Followed

#: how many indices of an axis remain
Left = Callable[[numpy.ndarray], int]
Source = tuple[str, str, int]
Size = int | tuple[int, ...]
Used = frozenset[tuple[tuple[int, ...], int]]
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
    numbers, shapes = _numbers(followed.operations, left), _shapes(followed.operations, left)
    for path, part in module.named_modules():
        for key, value in attributes(part) if path not in followed.computing else ():
            items = [value] if type(value) is int else list(value)
            renumbered = tuple(
                _renumbered(n, path, followed.sources.get((path, key, k), frozenset()), numbers, shapes)
                for k, n in enumerate(items)
            )
            if renumbered != tuple(items):
                new.setdefault((path, key), renumbered[0] if type(value) is int else renumbered)
    changed = [(path, key, value) for (path, key), value in new.items() if _differs(module, path, key, value)]
    return tuple(sorted(changed, key=lambda size: size[:2]))


def numbers_after(followed: Followed, left: Left) -> tuple[tuple[str, int, int, int], ...]:
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


Shapes = Mapping[tuple[str | None, tuple[int, ...]], set[tuple[int, ...]]]


def _shapes(operations: Iterable[ChannelOperation], left: Left) -> Shapes:
    """(module, or None for anywhere; shape of an output) → what the shape becomes."""
    found: dict[tuple[str | None, tuple[int, ...]], set[tuple[int, ...]]] = {}
    for operation in operations:
        for dims in operation.outs:
            old, new = tuple(map(len, dims)), tuple(map(left, dims))
            for path in (operation.path, None):
                found.setdefault((path, old), set()).add(new)
    return found


def _renumbered(value: int, path: str, used: Used, numbers: Mapping[Any, set[int]], shapes: Shapes) -> int:
    """What a number becomes: by the sizes that it gave, else by its value where that is unambiguous."""
    for where in (path, None):
        new = {shape[axis] for old, axis in used for shape in shapes.get((where, old), ())}
        if len(new) == 1:
            return new.pop()
    known = numbers.get((path, value), set())
    return next(iter(known)) if len(known) == 1 else value


# -- numbers by what they do -------------------------------------------------------------------------


class TracedNumber(int):
    """An attribute on its way into an operation."""

    source: Source


class _Watch(TorchFunctionMode):
    """Notes which sizes of a result were attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.used: dict[Source, set[tuple[tuple[int, ...], int]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in ("view", "reshape", "expand") and isinstance(out, torch.Tensor):
            sizes = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
            for axis, size in enumerate(sizes if len(sizes) == out.ndim else ()):
                if isinstance(size, TracedNumber):
                    self.used.setdefault(size.source, set()).add((tuple(out.shape), axis))
        return out


def observed(module: nn.Module, run: Callable[[], Any]) -> tuple[dict[Source, Used], list[Sizing]]:
    """(module, attribute, number in it) → (shape, axis) of the sizes that it gave in a run; and what the calls of the
    network's code do to sizes.

    Args:
        module: as it was afterwards.
        run: runs it. Where it raises because of a named number, no attribute is found.
    """
    for named in (_named(module), nullcontext()):
        with named, _Watch() as watch, Calls(module) as calls:
            try:
                run()
            except Exception:  # the module is the user's, and what is found here is only a hint
                continue
        return {source: frozenset(sizes) for source, sizes in watch.used.items()}, calls.seen
    return {}, []


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
    """The public attributes of a module of the user's that are whole numbers, or lists or tuples of them."""
    if type(part).__module__.startswith("torch.nn.modules"):
        return []
    return [(key, value) for key, value in vars(part).items() if not key.startswith("_") and _whole(value)]


def _whole(value: object) -> bool:
    items: Sequence[object] = [value] if type(value) is int else value if type(value) in (list, tuple) else ()  # type: ignore[assignment]
    return bool(items) and all(type(item) is int for item in items)

"""Numbers in the code of a `forward` that count channels, and a module whose code gets others.

A `forward` may compute a size, `x.reshape(batch, length, C // heads)`, or state it: `x[:, :16]`. Such a size cannot be
changed by an attribute. Calls of functions that take sizes are counted while a module runs: the third call in the
`forward` of `layer.attention`, its second number. In a network that lost channels the module has a class that replaces
these numbers on the way into the function.

Calls are counted for each function of the module's code, `forward:2`: one that only sometimes calls another, to fill a
cache, does not number its own calls differently.

A call belongs to the module whose `forward` is running, not to those that it calls, whose calls are counted separately.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

#: functions and methods that take sizes or bounds of axes
RESHAPES = {"view", "reshape", "unflatten", "expand", "broadcast_to"}
MADE = {"zeros", "ones", "empty", "full", "new_zeros", "new_ones", "new_empty", "new_full"}
SPLITS = {"split", "split_with_sizes", "tensor_split"}
CUTS = {"__getitem__", "__setitem__", "narrow"}
SIZED = RESHAPES | MADE | SPLITS | CUTS
#: what calls a module's hooks and its `forward`
_CALL = nn.Module._call_impl.__code__
#: the attribute of a module with other numbers
TABLE = "_numbers_in_calls"
#: a call, number among its arguments → what it is instead
Table = Mapping[tuple[str, int], int]


def numbers_in(args: Any, kwargs: Mapping[str, Any]) -> list[int]:
    """The whole numbers among arguments, in their order, also inside of tuples, lists and slices."""
    found: list[int] = []
    _mapped((args, dict(kwargs)), found.append)
    return found


def renumbered(args: Any, kwargs: Mapping[str, Any], new: Mapping[int, int]) -> tuple[Any, dict[str, Any]]:
    """The arguments with other numbers.

    Args:
        new: position among `numbers_in` → the number that is there instead. Negative ones stay: -1 is what is left.
    """
    positions = iter(range(sys.maxsize))

    def changed(number: Any) -> Any:
        position = next(positions)
        return new[position] if position in new and not number < 0 else number

    mapped: tuple[Any, dict[str, Any]] = _mapped((args, dict(kwargs)), changed)
    return mapped


def _mapped(value: Any, change: Any) -> Any:
    """The value with `change` applied to each of its numbers; those of a traced program may be symbols."""
    if isinstance(value, int | torch.SymInt) and not isinstance(value, bool):
        return change(value)
    if isinstance(value, slice):
        return slice(*(_mapped(bound, change) for bound in (value.start, value.stop, value.step)))
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_mapped(item, change) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def running() -> tuple[nn.Module | None, Any, str]:
    """The module whose `forward` is running, its frame, and the function of its code that makes a call; None for what a
    hook does before or after it. Comprehensions, which have frames in some versions of Python, are none."""
    frame: Any = sys._getframe(1)
    caller = ""
    while frame is not None and frame.f_code is not _CALL:
        name = frame.f_code.co_name
        caller = caller or ("" if name.startswith("<") or _between(frame) else name)
        if name == "forward":
            part = frame.f_locals.get("self")
            if isinstance(part, nn.Module):
                return part, frame, caller or name
        frame = frame.f_back
    return None, None, ""


def _between(frame: Any) -> bool:
    """Whether a frame is one of torch or of a mode, which is between the code of a module and the function it calls."""
    module = frame.f_globals.get("__name__", "")
    return module.startswith("torch.") or isinstance(frame.f_locals.get("self"), TorchFunctionMode)


def numbered(caller: str, counts: Counter[str]) -> str:
    """A call by the function that makes it and its number there: `forward:2`; counts it."""
    counts[caller] += 1
    return f"{caller}:{counts[caller] - 1}"


class _Replacing(TorchFunctionMode):
    """Replaces numbers in the calls of one `forward` of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.counts = module, Counter[str]()
        self.new: dict[str, dict[int, int]] = {}
        for (call, position), number in getattr(module, TABLE).items():
            self.new.setdefault(call, {})[position] = number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in SIZED:
            part, _, caller = running()
            if part is self.module:
                new = self.new.get(numbered(caller, self.counts))
                if new:
                    args, kwargs = renumbered(args, kwargs, new)
        return func(*args, **kwargs)


class Renumbered(nn.Module):
    """A module in whose calls some numbers are others: a base class of the one that `replace_numbers` makes."""


def replace_numbers(module: nn.Module, table: Table) -> None:
    """Have a module's code use these numbers from now on, beside those that it already uses; in place.

    Its class becomes one of the same name that inherits from its own, so that it keeps its path, its parameters and
    what `isinstance` says of it.
    """
    if not isinstance(module, Renumbered):
        kind: Any = type(module)
        module.__class__ = _renumbered_class(kind)
    setattr(module, TABLE, {**getattr(module, TABLE, {}), **table})


def leave_to_python(module: nn.Module) -> None:
    """Keep `torch.compile` out of modules with other numbers, in place: it cannot look at which code is running."""
    for part in module.modules():
        if isinstance(part, Renumbered):
            part.forward = torch.compiler.disable(part.forward)


@functools.cache
def _renumbered_class(cls: type[nn.Module]) -> type[nn.Module]:
    @functools.wraps(cls.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with _Replacing(self):
            return cls.forward(self, *args, **kwargs)

    body = {"forward": forward, "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (Renumbered, cls), body)

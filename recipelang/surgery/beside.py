"""What a module holds besides its state: attributes that are neither parameters nor saved buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy
import torch
from torch import Tensor, nn

#: attributes of every module, which torch manages
TORCHS_OWN = frozenset(vars(nn.Module()))
#: how deep containers and objects inside attributes are searched
DEPTH = 5


def held_beside_state(module: nn.Module, other: nn.Module) -> list[str]:
    """Names of the attributes that differ between two builds of a network: `blocks.0.order`.

    Compared are the attributes of all modules that are not state: numbers, strings, arrays, tensors, layers in plain
    lists, objects of these, and buffers that are not saved.
    """
    return list(_different(module, other, DEPTH))


def holders(module: nn.Module, tensors: Sequence[Tensor]) -> list[str]:
    """Names of the attributes in which these tensors are held."""
    wanted = {id(tensor) for tensor in tensors}
    return [name for name, value in _attributes(module) if any(id(t) in wanted for t in _tensors(value, DEPTH))]


def held_tensors(module: nn.Module) -> list[Tensor]:
    """Tensors in attributes that are not state, such as activations that a network keeps."""
    return [tensor for _, value in _attributes(module) for tensor in _tensors(value, DEPTH)]


def _different(module: nn.Module, other: nn.Module, depth: int) -> Iterator[str]:
    theirs = dict(_attributes(other))
    for name, value in _attributes(module):
        if name in theirs and not _same(value, theirs[name], depth):
            yield name


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        for name, value in vars(part).items():
            if name not in TORCHS_OWN:
                yield prefix + name, value
        for name in part._non_persistent_buffers_set:
            yield prefix + name, part._buffers[name]


def _same(one: Any, two: Any, depth: int) -> bool:
    """Whether two values are equal as far as they can be compared; what cannot be compared counts as equal."""
    if one is two or depth == 0:
        return True
    if type(one).__name__ != type(two).__name__:
        return False
    if isinstance(one, Tensor):
        return one.shape == two.shape and torch.equal(one.detach().nan_to_num(), two.detach().nan_to_num())
    if isinstance(one, numpy.ndarray | numpy.generic):
        return bool(numpy.array_equal(one, two))
    if isinstance(one, bool | int | float | complex | str | bytes):
        return bool(one == two) or one != one
    if isinstance(one, nn.Module):
        # No deeper: what a module holds may hold the module, as the graph of a traced one does.
        state = _same(dict(one.state_dict()), dict(two.state_dict()), depth - 1)
        return state and next(_different(one, two, depth - 1), None) is None
    if isinstance(one, Mapping):
        return list(map(str, one)) == list(map(str, two)) and _same(list(one.values()), list(two.values()), depth - 1)
    if isinstance(one, Set):
        return bool(one == two)
    if isinstance(one, Sequence):
        return len(one) == len(two) and all(_same(a, b, depth - 1) for a, b in zip(one, two, strict=True))
    return _same(getattr(one, "__dict__", None), getattr(two, "__dict__", None), depth - 1)


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif depth and isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner, depth - 1)
    elif depth and isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _tensors(inner, depth - 1)

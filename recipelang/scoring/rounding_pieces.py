"""Dividing the weights of a network into the pieces that are rounded together, in order of execution."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from recipelang.kinds import BLOCK, NETWORK
from recipelang.surgery.network import Network
from recipelang.surgery.points import find_points
from recipelang.surgery.tracing import ModuleCall, example_input, record_calls


@dataclass(frozen=True)
class Division:
    """One piece.

    Attributes:
        path: of the module that computes it; of a layer's, the smallest that runs.
        names: of its weights.
        calls: how often the module runs in one pass.
    """

    path: str
    names: tuple[str, ...]
    calls: int


def divided(network: Network, names: Collection[str], unit: str) -> tuple[Division, ...]:
    """The pieces of some weights, in the order in which their modules begin.

    A block is a smallest module that holds others, through whose output everything passes, and inside which nothing
    else does that holds a weight: a residual block, a block of a transformer. Weights in none are pieces of their own.

    Args:
        network: is not changed.
        names: of parameters.
        unit: `layer`, `block` or `network`.
    """
    if unit == NETWORK:
        return (Division("", tuple(names), 1),)
    calls = record_calls(network.module, example_input(network))
    blocks = _blocks(network, names) if unit == BLOCK else ()
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        block = next((path for path in blocks if name.startswith(f"{path}.")), "")
        path = block or _running(calls, name.rpartition(".")[0])
        found.setdefault((path, "" if block else name), []).append(name)
    order = sorted(found, key=lambda key: calls[key[0]].order if key[0] in calls else -1)
    return tuple(Division(path, tuple(found[path, alone]), _count(calls, path)) for path, alone in order)


def _running(calls: Mapping[str, ModuleCall], path: str) -> str:
    """The smallest module at or around a path that runs."""
    while path and path not in calls:
        path = path.rpartition(".")[0]
    return path


def _count(calls: Mapping[str, ModuleCall], path: str) -> int:
    return calls[path].count if path in calls else 1


def _blocks(network: Network, names: Collection[str]) -> tuple[str, ...]:
    """Paths of the blocks."""
    points = find_points(network.module, example_input(network), "the network").every
    through = {point.path: point.block for point in points if point.through}
    holding = {path for path in through if any(name.startswith(f"{path}.") for name in names)}
    found = []
    for path in sorted(holding, key=len, reverse=True):
        inside = [other for other in holding if other.startswith(f"{path}.")]
        several = sum(name.startswith(f"{path}.") for name in names) > 1
        if through[path] and not inside and several:
            found.append(path)
    return tuple(found)

"""What products alone read, and which of them are the first and the last of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from recipelang.surgery.places import PRODUCTS, READ, SUMS, FunctionCall, readers_of


def inputs_of_products(calls: Mapping[str, FunctionCall]) -> dict[str, tuple[str, ...]]:
    """What a product reads → the paths of the modules that hold its weights, for every product with weights."""
    return {
        place + READ: tuple(sorted(call.layers))
        for place, call in calls.items()
        if call.function in PRODUCTS and call.reads
    }


def outermost(calls: Mapping[str, FunctionCall]) -> tuple[set[str], set[str]]:
    """The paths of the modules that multiply first, before any other product, and last, after all others."""
    products = {place: call for place, call in calls.items() if call.computes and call.function not in SUMS}
    readers = readers_of(calls)
    after, before = _reached(products, readers), _reached(products, {p: call.reads for p, call in calls.items()})
    first = {path for place, call in products.items() if place not in after for path in call.layers}
    return first, {path for place, call in products.items() if place not in before for path in call.layers}


def _reached(starts: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Everything that can be reached from these places, themselves only where another one reaches them."""
    found: set[str] = set()
    waiting = [place for start in starts for place in edges[start]]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += edges[place]
    return found

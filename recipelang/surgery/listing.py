"""What can be selected in a network: the rows of `recipe layers`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from recipelang.catalogue import find
from recipelang.kinds import Pattern
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.products import idle_weights, products_of
from recipelang.surgery.tracing import example_input
from recipelang.surgery.trial import survey

#: names under which a module holds its principal weight
_OWN = ("weight", "in_proj_weight")


def describe_layers(network: Network, pattern: Pattern | None = None) -> list[dict[str, Any]]:
    """Every module that a selector can name, in the order of the network, and every weight that is not its module's
    one `weight`.

    Args:
        network: the network.
        pattern: the pattern to test; default 2:4.

    Returns:
        rows `{"layer", "type", "shape", "parameters", "removable", "stays", "pattern", "eligible", "why"}`: the path;
        the class; the shape of its weight ([] for none); number of parameters inside; `residual`, `plain` or "" for
        layers that `prune layers` can remove (for a plain one at its convolution); why a block that looks like one
        cannot be removed; the pattern's name; whether its weight can take the pattern, None where it has no weight; the
        reason where not. A weight that shares its module with others, or has an unusual name, has a row after the
        module's: its parameter's name, of type `Parameter`.

    Raises:
        Refusal: RCP0731: the network's products cannot be observed.
    """
    chosen: Any = pattern or find("pattern", "nm")(2, 4)  # type: ignore[misc]
    found = survey(network.module, example_input(network))
    removable = {layer.name: layer.kind for layer in found.layers}
    able, dense = eligible(network, chosen)
    weights = _weights(network)

    def row(layer: str, kind: str, weight: str, shape: tuple[int, ...], parameters: int) -> dict[str, Any]:
        return {
            "layer": layer,
            "type": kind,
            "shape": list(shape),
            "parameters": parameters,
            "removable": removable.get(layer, ""),
            "stays": found.stay.get(layer, ""),
            "pattern": str(chosen),
            "eligible": weight in able if weight else None,
            "why": dense.get(weight, ""),
        }

    rows = []
    for path, part in network.module.named_modules():
        mine = dict(weights.get(path, {}))
        if path:
            own = next(iter(mine)) if len(mine) == 1 and next(iter(mine)).endswith(_OWN) else ""
            shape = mine.pop(own, ())
            rows.append(row(path, type(part).__name__, own, shape, sum(p.numel() for p in part.parameters())))
        rows += [row(name, "Parameter", name, shape, prod(shape)) for name, shape in mine.items()]
    return rows


def _weights(network: Network) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """Module path → its weights: name → shape."""
    products = products_of(network)
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for product in products:
        found.setdefault(product.path, {})[product.name] = product.shape
    for name, (path, weight) in idle_weights(network.module, products).items():
        found.setdefault(path, {})[name] = tuple(weight.shape)
    return found

"""What can be selected in a network: the rows of `recipe layers`."""

from __future__ import annotations

from typing import Any

from recipelang.catalogue import find
from recipelang.kinds import Pattern
from recipelang.surgery.masks import eligible, matrices
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input
from recipelang.surgery.trial import survey


def describe_layers(network: Network, pattern: Pattern | None = None) -> list[dict[str, Any]]:
    """Every module that a selector can name, in the order of the network.

    Args:
        network: the network.
        pattern: which pattern to ask about; default 2:4.

    Returns:
        rows `{"layer", "type", "shape", "parameters", "removable", "stays", "pattern", "eligible", "why"}`: the path;
        the class; the shape of its weight ([] for none); number of parameters inside; `residual`, `plain` or "" for
        layers that `prune layers` can remove (for a plain one at its convolution); why a block that looks like one
        stays; the pattern's name; whether its weight can take the pattern, None where it has none; the reason where
        not.
    """
    chosen: Any = pattern or find("pattern", "nm")(2, 4)  # type: ignore[misc]
    found = survey(network.module, example_input(network))
    removable = {layer.name: layer.kind for layer in found.layers}
    able, dense = eligible(network, chosen)
    weights = {path: (name, weight) for name, (path, _, weight) in reversed(matrices(network.module).items())}
    rows = []
    for path, part in network.module.named_modules():
        if not path:
            continue
        name, weight = weights.get(path, ("", None))
        rows.append(
            {
                "layer": path,
                "type": type(part).__name__,
                "shape": list(weight.shape) if weight is not None else [],
                "parameters": sum(p.numel() for p in part.parameters()),
                "removable": removable.get(path, ""),
                "stays": found.stay.get(path, ""),
                "pattern": str(chosen),
                "eligible": name in able if name else None,
                "why": dense.get(name, ""),
            }
        )
    return rows

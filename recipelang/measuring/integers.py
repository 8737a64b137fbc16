"""How much of a network a runtime multiplies in integers, by the rows of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.kinds import LayerExecution
from recipelang.measuring.flops import count
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of
from recipelang.surgery.provenance import memory_of
from recipelang.surgery.tracing import example_input
from recipelang.units import listed

#: the name of what no weight multiplies: scores of attention
SCORES = "products of two activations"
#: of more parts with one reason the others are counted
MOST_NAMED = 4


@dataclass(frozen=True)
class Multiplied:
    """What takes part in the products of a network, in integers and not.

    Attributes:
        share: of all that is counted, in integers; 0 where nothing is.
        whole: what is counted: multiply-adds of one input, or layers.
        floating: (name, share, why) of each part in floating point, the largest first.
    """

    share: float
    whole: float
    floating: tuple[tuple[str, float, str], ...]


def by_work(network: Network, rows: Sequence[LayerExecution]) -> Multiplied:
    """The share of the multiply-adds; every product counts, those of two activations too.

    Args:
        network: its training form is run once.
        rows: how a runtime executes its layers.

    Raises:
        Refusal: RCP0730, RCP0731: the network's operations cannot be observed.
    """
    counts = _of_layers(network)
    total = counts.pop("")
    working = [(row, counts.get(row.layer, 0.0)) for row in rows if row.multiplies]
    integers = sum(flops for row, flops in working if row.in_integers)
    floating = [(row.layer, flops, _why(row)) for row, flops in working if not row.in_integers]
    if (rest := total - sum(counts.values())) > 0:
        floating.append((SCORES, rest, ""))
    return _multiplied(integers, total, floating, total / 2)


def by_layer(rows: Sequence[LayerExecution]) -> Multiplied:
    """The share of the layers with weights, each counted as one."""
    working = [row for row in rows if row.multiplies]
    floating = [(row.layer, 1.0, _why(row)) for row in working if not row.in_integers]
    return _multiplied(len(working) - len(floating), len(working), floating, len(working))


def _why(row: LayerExecution) -> str:
    return "its weight has no grid" if row.executes == "dense" else row.why


def _multiplied(integers: float, total: float, floating: Sequence[tuple[str, float, str]], whole: float) -> Multiplied:
    parts = sorted(((name, part / total, why) for name, part, why in floating if total), key=lambda one: -one[1])
    # where nothing is left over, rounding of sums must not leave a share below 1
    share = (integers / total if parts else 1.0) if total else 0.0
    return Multiplied(share, whole, tuple(parts))


def _of_layers(network: Network) -> dict[str, float]:
    """Layer → FLOPs of its products for one input; "" → those of the whole network."""
    memories: Mapping[str, int] = {
        product.name.removesuffix(".weight"): memory_of(network.module.get_parameter(product.name))
        for product in products_of(network)
        if product.parameter
    }
    found = count(network.module, example_input(network, batch=1), weights=memories.values())
    return {"": found.flops, **{layer: found.of[memory] for layer, memory in memories.items()}}


def named(found: Multiplied) -> str:
    """What is in floating point, in words, the largest first; parts with one reason together; "" where nothing is."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for name, part, why in found.floating:
        groups.setdefault(why, []).append((name if name == SCORES else f"`{name}`", part))
    return ", ".join(
        f"{listed([name for name, _ in parts], MOST_NAMED)} "
        f"({100 * sum(part for _, part in parts):.2g} %{f': {why}' if why else ''})"
        for why, parts in groups.items()
    )

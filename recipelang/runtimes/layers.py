"""How each layer of a network executes, whatever the runtime: the rows of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from recipelang.kernels.nm.reference import nm_holds
from recipelang.kinds import LayerExecution
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product, idle_weights, products_of

#: Minimum number of images on which answers are compared: with few classes one alone shows little.
VERIFIED_IMAGES = 8

#: What layers do everywhere; anything else is a runtime's own.
USUAL = frozenset({"removed", "dense", "masked only", "never"})


class ExecutedAs(NamedTuple):
    """What a runtime does with a layer: `dense`, `int8`, or a kernel's name and pattern; and why."""

    executes: str
    why: str


def plain(network: Network) -> bool:
    """Whether every runtime executes the network's layers alike: dense, zeros included."""
    rounds = any(one.computes for each in network.restrictions.values() for one in each)
    return network.accelerated is None and not rounds


def not_asked(network: Network, product: Product) -> str:
    """Why the zeros of a masked layer are multiplied where no kernel was asked for."""
    if not nm_holds(network.module.get_parameter(product.name), 2, 4):
        return f"hardware executes 2:4, and the layer is {network.masks[product.name].pattern}"
    return "the recipe does not say `accelerate`"


def executed(
    network: Network, ways: Mapping[str, ExecutedAs] | None = None, masked: Callable[[Product], str] | None = None
) -> tuple[LayerExecution, ...]:
    """How each layer executes, in the order of the network, removed layers first.

    Args:
        network: its masks and edits.
        ways: parameter name → what the runtime does with it; layers without one are dense.
        masked: why the zeros of a masked layer are multiplied for which the runtime found nothing; None: no kernel was
            asked for.

    Raises:
        Refusal: RCP0731: the network's products cannot be observed.
    """
    removed = [
        LayerExecution(getattr(edit, "name", str(edit)), (), "removed", str(edit))
        for edit in network.edits
        # a layer that lost channels, or is written in another form, has a row of its own
        if not (edit.resizes or getattr(edit, "rewrites", False))
    ]
    products = products_of(network)
    rows = []
    for product in products:
        name, executes, why = product.name, "dense", "no mask" if product.parameter else product.why
        way = (ways or {}).get(name)
        if name in network.masks:
            told = masked or partial(not_asked, network)
            executes, why = "masked only", way.why if way else told(product)
        if way and way.executes != "dense":
            executes, why = way
        rows.append(_row(name, product.shape, executes, why))
    idle = idle_weights(network.module, products)
    unused = [_row(name, weight.shape, "never", "used in training only") for name, (_, weight) in idle.items()]
    return (*removed, *rows, *unused)


def _row(name: str, shape: Sequence[int], executes: str, why: str) -> LayerExecution:
    return LayerExecution(name.removesuffix(".weight"), tuple(shape), executes, why)

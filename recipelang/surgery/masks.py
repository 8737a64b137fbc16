"""Which weights can take a pattern of zeros, and putting them into it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from recipelang.kinds import Pattern
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product, idle_weights, products_of
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.selectors import resolve

#: the kind of product whose weight has its inputs along the first axis
TRANSPOSED = "transposed convolution"


def eligible(
    network: Network, pattern: Pattern, selection: Selection | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which weights can take a pattern.

    Args:
        network: the network; weights are listed in its order.
        pattern: a method of kind `pattern`.
        selection: the modules that `in` and `except` select.

    Returns:
        The parameter names that can, and parameter name → reason for the selected ones that stay dense: weights that
        enter a product but cannot take the pattern, and weights of layers that enter no product.

    Raises:
        Refusal: RCP0703: a selector matches nothing. RCP0731: the network's products cannot be observed.
    """
    chosen = {"", *resolve(network.module, selection or Selection())}  # "": a network that is one layer
    products = products_of(network)
    able, dense = [], {}
    for product in products:
        if product.path in chosen:
            if reason := _why_dense(network, product, pattern):
                dense[product.name] = reason
            else:
                able.append(product.name)
    idle = idle_weights(network.module, products)
    dense |= {name: "no product uses it in evaluation" for name, (path, _) in idle.items() if path in chosen}
    return tuple(able), dense


def _why_dense(network: Network, product: Product, pattern: Pattern) -> str | None:
    """Why a weight cannot take the pattern; None where it can."""
    if not product.parameter:
        return product.why
    if product.kind not in ("linear", "convolution"):
        return f"the weight of a {product.kind} layer" if product.kind != TRANSPOSED else "a transposed convolution"
    if product.groups != 1 and not getattr(pattern, "grouped", False):
        return f"a convolution with {product.groups} groups"
    weight = network.module.get_parameter(product.name)
    if not weight.requires_grad:
        return "it is frozen: it has no gradients"
    return product.why or pattern.refuses(weight)


def unmasked(network: Network, names: Collection[str]) -> Network:
    """The same module without the masks of these weights."""
    left = {
        place: tuple(one for one in each if not (place in names and isinstance(one, Mask)))
        for place, each in network.restrictions.items()
    }
    return replace(network, restrictions={place: each for place, each in left.items() if each})


def sparsify(network: Network, pattern: Pattern, scores: Mapping[str, Tensor]) -> Network:
    """A copy of the network in which the scored weights are in the pattern, with their masks.

    Args:
        network: is not changed. An earlier mask on the same weight is replaced.
        pattern: its `str()` names it: `2:4`.
        scores: parameter name → importance, of the weight's shape.

    Raises:
        Refusal: RCP0704: a score is NaN; RCP0705: the pattern does not fit a weight.
    """
    return restrict(network, {name: Mask(str(pattern), pattern.mask(score)) for name, score in scores.items()})

"""Which weights can take a pattern of zeros, and putting them into it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Pattern
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product, idle_weights, products_of
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.selectors import resolve

#: the name of a pattern that hardware executes: n of m
HARDWARE = re.compile(r"\d+:\d+")
#: the share of zeros that may be there beyond a target: pieces of another pattern are rounded in another way
SLACK = 0.01
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


def require_room(network: Network, pattern: Pattern, names: Collection[str], target: float | None = None) -> None:
    """Refuse masks that do not go with those that weights have already.

    Args:
        network: with its masks.
        pattern: a method of kind `pattern`.
        names: of the weights that it is for.
        target: the share of zeros at the end of a schedule; None at once.

    Raises:
        Refusal: RCP0547: a weight is in a pattern for hardware and would leave it, or the other way round; RCP0432:
            more of these weights are zero than the schedule is to end with; RCP1454: a weight has levels without zero.
    """
    for name in names:
        for one in network.restrictions.get(name, ()):
            if not getattr(one, "holds_zero", True):
                raise Refusal(
                    "RCP1454",
                    f"`{name}` has {one.name} without zero: what a mask holds at zero would be a number",
                    "sparsify first, and quantize by `twn`, `ttq` or `gxnor`, which keep zeros",
                )
    there = {name: network.masks[name] for name in names if name in network.masks}
    for name, mask in there.items():
        hardware = mask.pattern if HARDWARE.fullmatch(mask.pattern) else ""
        if bool(hardware) != bool(pattern.restriction):
            raise Refusal(
                "RCP0547",
                f"`{name}` is {mask.pattern}, and a mask of {pattern} would replace that pattern",
                f'leave it out, `except "{name.rpartition(".")[0]}"`, or start from a network without it',
            )
    if target is None or not there:
        return
    weights = [network.module.get_parameter(name).detach() for name in names]
    total, zero = sum(weight.numel() for weight in weights), sum(int((~mask.keep).sum()) for mask in there.values())
    asked = sum(int((~pattern.at(target).mask(weight.abs())).sum()) for weight in weights)
    if zero > asked + SLACK * total:
        raise Refusal(
            "RCP0432",
            f"{100 * zero / total:.4g}% of these weights are zero already, and the target is {100 * target:.4g}%",
            f"write a share of {math.ceil(100 * zero / total)}% or more",
        )


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

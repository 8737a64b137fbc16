"""Masks: which weights may be nonzero. They are kept with the weights and persist through training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Pattern
from recipelang.plan import Selection
from recipelang.surgery.network import Mask, Network
from recipelang.surgery.products import Product, idle_weights, products_of
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
    if product.groups != 1:
        return f"a convolution with {product.groups} groups"
    weight = network.module.get_parameter(product.name)
    if not weight.requires_grad:
        return "it is frozen: it has no gradients"
    return product.why or pattern.refuses(weight)


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


@torch.no_grad()
def restrict(network: Network, masks: Mapping[str, Mask], values: Mapping[str, Tensor] | None = None) -> Network:
    """A copy of the network with these masks, and these weight values, if any.

    Args:
        network: is not changed. An earlier mask on the same weight is replaced.
        masks: parameter name → its mask.
        values: parameter name → new value, of the weight's shape.

    Raises:
        Refusal: RCP0705: a mask has no weight of its name and shape.
    """
    restricted = network.clone()
    for name, value in (values or {}).items():
        restricted.module.get_parameter(name).copy_(value)
    apply_masks(restricted.module, masks)
    return replace(restricted, masks=restricted.masks | dict(masks))


@torch.no_grad()
def apply_masks(module: nn.Module, masks: Mapping[str, Mask]) -> None:
    """Set the weights that a mask excludes to zero, in place, even where they are infinite or NaN.

    Raises:
        Refusal: RCP0705: a mask has no weight of its name and shape.
    """
    if masks:
        parameters = dict(module.named_parameters(remove_duplicate=False))
        for name, mask in masks.items():
            weight = _weight(parameters, name, mask)
            weight.masked_fill_(~mask.keep.to(weight.device), 0)


def masks_hold(network: Network) -> bool:
    """Whether every weight that a mask excludes is zero."""
    return not broken_masks(network)


def broken_masks(network: Network) -> tuple[str, ...]:
    """The names of the weights that are nonzero where their mask excludes them."""
    parameters = dict(network.module.named_parameters(remove_duplicate=False))
    return tuple(
        name
        for name, mask in network.masks.items()
        if _weight(parameters, name, mask).detach()[~mask.keep.to(parameters[name].device)].count_nonzero()
    )


@torch.no_grad()
def mask_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, masks: Mapping[str, Mask]) -> None:
    """After an optimizer step: set excluded weights and their momentum (every state of the weight's shape) to zero.

    Raises:
        Refusal: RCP0705: a mask has no weight of its name and shape.
    """
    if not masks:
        return
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, mask in masks.items():
        weight = _weight(parameters, name, mask)
        gone = ~mask.keep.to(weight.device)
        weight.masked_fill_(gone, 0)
        for state in optimizer.state.get(weight, {}).values():
            if isinstance(state, Tensor) and state.shape == weight.shape:
                state.masked_fill_(gone, 0)


def _weight(parameters: Mapping[str, Tensor], name: str, mask: Mask) -> Tensor:
    """The parameter that a mask is for."""
    weight = parameters.get(name)
    if weight is None or weight.shape != mask.keep.shape:
        found = "no such weight" if weight is None else f"a weight of shape {tuple(weight.shape)}"
        raise Refusal(
            "RCP0705",
            f"the mask of `{name}` has shape {tuple(mask.keep.shape)}, and the network has {found}",
            "create the mask again with `sparsify` after the last structural change",
        )
    return weight

"""Masks: which weights may be other than zero. They stand beside the weights and outlive training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Pattern
from recipelang.plan import Selection
from recipelang.surgery.network import Mask, Network
from recipelang.surgery.selectors import resolve

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def matrices(module: nn.Module) -> dict[str, tuple[str, nn.Module, Tensor]]:
    """Every weight matrix of a network: parameter name → (module path, module, weight).

    Weights of linear layers O×I, of convolutions O×I×k…, and of attention (`in_proj_weight`, 3E×E). A weight that
    stands under two names is listed once.
    """
    found: dict[str, tuple[str, nn.Module, Tensor]] = {}
    seen: set[int] = set()
    for path, part in module.named_modules():
        for leaf in _leaves(part):
            weight = getattr(part, leaf)
            if isinstance(weight, nn.Parameter) and id(weight) not in seen:
                seen.add(id(weight))
                found[f"{path}.{leaf}".lstrip(".")] = (path, part, weight)
    return found


def _leaves(part: nn.Module) -> tuple[str, ...]:
    if isinstance(part, (*CONVOLUTIONS, nn.Linear)):
        return ("weight",)
    if isinstance(part, nn.MultiheadAttention):
        return ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
    return ()


def eligible(
    network: Network, pattern: Pattern, selection: Selection | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which weights can take a pattern.

    Args:
        network: the network; weights come in its order.
        pattern: a method of kind `pattern`.
        selection: the modules that `in` and `except` leave.

    Returns:
        The parameter names that can, and parameter name → reason for those selected that stay dense.

    Raises:
        Refusal: RCP0703: a selector matches nothing.
    """
    chosen = set(resolve(network.module, selection or Selection()))
    able, dense = [], {}
    for name, (path, part, weight) in matrices(network.module).items():
        if path and path not in chosen:
            continue
        groups = getattr(part, "groups", 1)
        reason = f"a convolution in {groups} groups" if groups != 1 else pattern.refuses(weight)
        if reason:
            dense[name] = reason
        else:
            able.append(name)
    return tuple(able), dense


def sparsify(network: Network, pattern: Pattern, scores: Mapping[str, Tensor]) -> Network:
    """A copy of the network in which the weights that were scored are in the pattern, their masks beside them.

    Args:
        network: stands as it is. An earlier mask on the same weight ends.
        pattern: its `str()` names it: `2:4`.
        scores: parameter name → importance, of the weight's shape.

    Raises:
        Refusal: RCP0704: a score is NaN; RCP0705: the pattern does not fit a weight.
    """
    return restrict(network, {name: Mask(str(pattern), pattern.mask(score)) for name, score in scores.items()})


@torch.no_grad()
def restrict(network: Network, masks: Mapping[str, Mask], values: Mapping[str, Tensor] | None = None) -> Network:
    """A copy of the network with these masks, and these values of weights where there are any.

    Args:
        network: stands as it is. An earlier mask on the same weight ends.
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
    """Set the weights that a mask excludes to zero, in place; also where they are infinite or NaN.

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
    """The names of the weights that are other than zero where their mask excludes them."""
    parameters = dict(network.module.named_parameters(remove_duplicate=False))
    return tuple(
        name
        for name, mask in network.masks.items()
        if _weight(parameters, name, mask).detach()[~mask.keep.to(parameters[name].device)].count_nonzero()
    )


@torch.no_grad()
def mask_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, masks: Mapping[str, Mask]) -> None:
    """After an optimizer step: set excluded weights and their momentum (every state of a weight's shape) to zero.

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
            "make the mask anew with `sparsify` after the last change of structure",
        )
    return weight

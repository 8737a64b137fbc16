"""Learning rates and weight decay of some parameters: groups of the optimizer with factors of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.kinds import Companion
from recipelang.plan import Training
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve


def rates(network: Network, training: Training) -> Mapping[str, float]:
    """The parameters of a network that train with another learning rate: name → factor.

    Raises:
        Refusal: RCP0703: a companion names modules that are not there; RCP1540: nothing that it names trains.
    """
    found: dict[str, float] = {}
    trained = _trained(network.module, training)
    for companion in training.companions:
        mine = companion.rates(network)
        if type(companion).rates is not Companion.rates:
            _require_effect(companion, network, mine, trained, "trains", "name layers that have weights")
        found |= mine
    return found


def decays(network: Network, training: Training) -> Mapping[str, float]:
    """The parameters of a network with another weight decay: name → factor.

    Raises:
        Refusal: RCP0703: a companion names modules that are not there; RCP1540: nothing that it names trains and has a
            weight decay.
    """
    named = [one for one in training.companions if type(one).decays is not Companion.decays]
    if not named:
        return {}
    found: dict[str, float] = {}
    groups = training.optimizer.build(network.module).param_groups
    decaying = {id(parameter) for group in groups if group.get("weight_decay") for parameter in group["params"]}
    trained = decaying & _trained(network.module, training)
    for companion in named:
        mine = companion.decays(network)
        help = f"give `{training.optimizer.name}` a `weight_decay`, name layers with parameters that have it"
        _require_effect(companion, network, mine, trained, "trains with a weight decay", help)
        found |= mine
    return found


def _require_effect(
    companion: Companion, network: Network, named: Mapping[str, float], touched: set[int], does: str, help: str
) -> None:
    """Refuse a companion that names none of the parameters that it could change (RCP1540)."""
    if not any(id(network.module.get_parameter(name)) in touched for name in named):
        message = f"`{spell(companion)}` has no effect: none of the parameters that it names {does}"
        raise Refusal("RCP1540", message, f"{help}, and that `in` and `except` let train")


def in_groups(
    optimizer: torch.optim.Optimizer, module: nn.Module, rates: Mapping[str, float], decays: Mapping[str, float]
) -> torch.optim.Optimizer:
    """The optimizer, with parameters of other factors in groups of their own, which have a `rate`.

    Args:
        optimizer: as built, before its first step.
        module: that it trains.
        rates: name of a parameter → factor of its learning rate.
        decays: name of a parameter → factor of its weight decay.
    """
    named = {name: module.get_parameter(name) for name in {**rates, **decays}}
    by_id = {id(parameter): (rates.get(name, 1.0), decays.get(name, 1.0)) for name, parameter in named.items()}
    for group in list(optimizer.param_groups) if by_id else ():
        parts: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(by_id.get(id(parameter), (1.0, 1.0)), []).append(parameter)
        others = {name: value for name, value in group.items() if name != "params"}
        ((rate, decay), group["params"]), *rest = parts.items()
        group |= _factored(others, rate, decay)
        for (rate, decay), parameters in rest:
            optimizer.add_param_group({**_factored(others, rate, decay), "params": parameters})
    return optimizer


def _factored(group: Mapping[str, Any], rate: float, decay: float) -> dict[str, Any]:
    """The settings of a group with these factors."""
    own = {"weight_decay": group["weight_decay"] * decay} if "weight_decay" in group else {}
    return {**group, **own, "rate": rate}


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, in each group times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate", 1.0)


def _trained(module: nn.Module, training: Training) -> set[int]:
    """The parameters that train, by identity."""
    parts: dict[str, Any] = dict(module.named_modules())
    chosen = {*resolve(module, training.trains), *(() if training.trains.include else ("",))}
    inside = (parameter for path in chosen for parameter in parts[path].parameters(recurse=False))
    return {id(parameter) for parameter in inside if parameter.requires_grad}

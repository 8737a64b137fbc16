"""Learning rates of some parameters: groups of the optimizer with a factor of their own."""

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
        if type(companion).rates is not Companion.rates and not any(
            id(network.module.get_parameter(name)) in trained for name in mine
        ):
            raise Refusal(
                "RCP1540",
                f"`{spell(companion)}` has no effect: none of the parameters that it names trains",
                "name layers that have weights, and that `in` and `except` let train",
            )
        found |= mine
    return found


def rated(optimizer: torch.optim.Optimizer, module: nn.Module, factors: Mapping[str, float]) -> torch.optim.Optimizer:
    """The optimizer, with those parameters in groups of their own, which have a `rate`.

    Args:
        optimizer: as built, before its first step.
        module: that it trains.
        factors: name of a parameter → factor.
    """
    by_id = {id(module.get_parameter(name)): factor for name, factor in factors.items()}
    for group in list(optimizer.param_groups) if by_id else ():
        parts: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(by_id.get(id(parameter), 1.0), []).append(parameter)
        (first, group["params"]), *rest = parts.items()
        others = {name: value for name, value in group.items() if name != "params"}
        group["rate"] = first
        for factor, parameters in rest:
            optimizer.add_param_group({**others, "params": parameters, "rate": factor})
    return optimizer


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

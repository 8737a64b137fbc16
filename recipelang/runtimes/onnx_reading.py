"""A network whose weights in groups are multiplied as MatMulNBits does: with what is rounded to 8 bits before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from recipelang.runtimes.onnx_integers import MOST_BITS
from recipelang.runtimes.onnx_linear import in_groups
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import SMALLEST, Grid
from recipelang.surgery.simulated import INNER


class Reading(TorchFunctionMode):
    """Within the block, linear layers read what MatMulNBits reads: rounded to 8 bits for each group, symmetric.

    Args:
        groups: the weights whose layers do so → the number of inputs in a group.
    """

    def __init__(self, groups: Mapping[nn.Parameter, int]) -> None:
        super().__init__()
        self._groups = {id(weight): group for weight, group in groups.items()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.linear and (group := self._groups.get(id(args[1]))):
            args = (_rounded(args[0], group), *args[1:])
        return func(*args, **(kwargs or {}))


def _rounded(value: Tensor, group: int) -> Tensor:
    width = value.shape[-1]
    parts = functional.pad(value, (0, -width % group)).unflatten(-1, (-1, group))
    scale = parts.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) / 127
    return ((parts / scale).round() * scale).flatten(-2)[..., :width]


def reading(network: Network) -> Callable[[Tensor], Any] | None:
    """The deployed form where its weights in groups are multiplied by MatMulNBits; None where it has none."""
    groups, weights, others = {}, {}, dict(network.restrictions)
    for name, parameter in network.module.named_parameters():
        for one in network.restrictions.get(name, ()):
            if isinstance(one, Grid) and one.scheme.bits <= MOST_BITS and in_groups(one, parameter.shape):
                assert one.scheme.group is not None
                groups[name], weights[name] = one.scheme.group, one.apply(parameter.detach())
                others[name] = tuple(other for other in network.restrictions[name] if not other.computes)
    if not groups:
        return None
    snapped = network.clone()
    with torch.no_grad():
        for name, value in weights.items():
            snapped.module.get_parameter(name).copy_(value)
    module = deployed(replace(snapped, restrictions=others))
    known = {name.removeprefix(INNER): parameter for name, parameter in module.named_parameters()}
    mode = {known[name]: group for name, group in groups.items() if name in known}

    def call(inputs: Tensor) -> Any:
        with Reading(mode), torch.no_grad():
            return module(inputs)

    return call

"""The numbers of a network that belong to each part of a group, read and changed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recipelang.kinds import Queue

#: parameter, its axis, and the indices along it that belong to each part
Place = tuple[str, int, tuple[tuple[int, ...], ...]]


@dataclass(frozen=True)
class Blocks:
    """Where the parameters of a network hold the numbers of N parts.

    Attributes:
        size: N.
        places: parameters with their axis and indices.
    """

    size: int
    places: tuple[Place, ...]

    @torch.no_grad()
    def squares(self, module: nn.Module) -> Tensor:
        """N float64: the sum of the squares of each part's numbers."""
        found = torch.zeros(self.size, dtype=torch.float64)
        for name, axis, positions in self.places:
            parameter = module.get_parameter(name)
            others = [k for k in range(parameter.ndim) if k != axis]
            each = (parameter.double().square().sum(others) if others else parameter.double().square()).cpu()
            index = torch.tensor([position for part in positions for position in part], dtype=torch.long)
            part = torch.tensor([number for number, part in enumerate(positions) for _ in part], dtype=torch.long)
            found.index_add_(0, part, each[index])
        return found

    @torch.no_grad()
    def multiply(self, module: nn.Module, factors: Tensor) -> None:
        """Multiply the numbers of each part by its factor: N."""
        for name, axis, positions in self.places:
            parameter = module.get_parameter(name)
            along = torch.ones(parameter.shape[axis], dtype=torch.float64)
            for part, factor in zip(positions, factors.tolist(), strict=True):
                along[list(part)] = factor
            shape = [-1 if k == axis else 1 for k in range(parameter.ndim)]
            parameter.mul_(along.reshape(shape).to(parameter))


def blocks_of(module: nn.Module, queue: Queue, *choices: Sequence[str]) -> Blocks:
    """The numbers of a group in the first of these choices of roles for which there is a parameter.

    Args:
        choices: roles of places (`surgery.coupled.ROLES`), one set after another.
    """
    known: Mapping[str, nn.Parameter] = dict(module.named_parameters())
    for roles in choices:
        held = [p for p in getattr(queue.group.source, "places", ()) if p.role in roles and p.name in known]
        if held:
            return Blocks(queue.group.size, tuple((place.name, place.axis, place.positions) for place in held))
    return Blocks(queue.group.size, ())

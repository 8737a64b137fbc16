"""The numbers of a network that belong to each part of a group, read and changed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
        for name, axis, part, index in self._indices:
            parameter = module.get_parameter(name)
            others = [k for k in range(parameter.ndim) if k != axis]
            each = (parameter.double().square().sum(others) if others else parameter.double().square()).cpu()
            found.index_add_(0, part, each[index])
        return found

    @torch.no_grad()
    def multiply(self, module: nn.Module, factors: Tensor) -> None:
        """Multiply the numbers of each part by its factor: N."""
        for name, axis, part, index in self._indices:
            parameter = module.get_parameter(name)
            along = torch.ones(parameter.shape[axis], dtype=torch.float64)
            along[index] = factors.double().cpu()[part]
            shape = [-1 if k == axis else 1 for k in range(parameter.ndim)]
            parameter.mul_(along.reshape(shape).to(parameter))

    @cached_property
    def _indices(self) -> tuple[tuple[str, int, Tensor, Tensor], ...]:
        """Parameter, its axis, and in one row the parts, each as often as it has an index, and these indices."""
        found = []
        for name, axis, positions in self.places:
            part = [number for number, indices in enumerate(positions) for _ in indices]
            index = [each for indices in positions for each in indices]
            found.append((name, axis, torch.tensor(part, dtype=torch.long), torch.tensor(index, dtype=torch.long)))
        return tuple(found)


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

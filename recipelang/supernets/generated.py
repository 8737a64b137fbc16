"""A network with generated weights: its widths are drawn at every step of a training."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Taken
from recipelang.supernets.generator import PruningNet
from recipelang.supernets.shared import Shared, run
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import INPUT


class Generated(nn.Module):
    """Runs a network with the weights that a `PruningNet` generates for its widths.

    In training mode every number of steps of a queue is equally likely, for each queue by itself, in evaluation mode
    nothing is removed. Widths are drawn from torch's own random numbers, so that a training that is continued draws on.

    Args:
        inner: the network's module; a copy of it is trained where its parameters are not generated.
        weights: of the networks of all widths.
        hidden, direct, seed: of the `PruningNet`.
    """

    def __init__(self, inner: nn.Module, weights: Shared, *, hidden: int, direct: int, seed: int) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner)
        self._weights = weights
        chosen = {
            name: parameter
            for name, parameter in self.inner.named_parameters()
            if parameter.ndim > 1 and weights.touching(name)
        }
        touching = {name: weights.touching(name) for name in chosen}
        self.generator = PruningNet(chosen, touching, hidden=hidden, direct=direct, seed=seed)
        for parameter in chosen.values():
            parameter.requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Generated:
        other = Generated.__new__(Generated)
        nn.Module.__init__(other)
        other.inner, other.generator = copy.deepcopy(self.inner, memo), copy.deepcopy(self.generator, memo)
        other._weights, other.training = self._weights, self.training
        return other

    def forward(self, inputs: Any) -> Any:
        """As the network."""
        most = self._weights.most
        taken = [int(torch.randint(end + 1, ())) for end in most] if self.training else [0] * len(most)
        return run(self.inner, self.values(taken, masked=True), inputs)

    def values(self, taken: Taken, *, masked: bool = False) -> dict[str, Tensor]:
        """Name → generated weight for these widths; `masked`: and all parameters with what is removed at zero."""
        device = next(self.generator.parameters()).device
        generated = self.generator(self.signature(taken).to(device))
        if not masked:
            return generated
        parameters = {**dict(self.inner.named_parameters(remove_duplicate=False)), **generated}
        return {**generated, **self._weights.values(parameters, self._weights.gates(taken))}

    def as_network(self, network: Network) -> Network:
        """This module as a network that a training takes; `network` is that of the inner module."""
        moved = {_inside(place): each for place, each in network.restrictions.items()}
        return replace(network, module=self, restrictions=moved)

    def signature(self, taken: Taken) -> Tensor:
        """The share of its parts that each queue keeps."""
        return torch.stack([gates.mean() for gates in self._weights.gates(taken)])


def _inside(place: str) -> str:
    """A place of the inner module, as one of the outer module."""
    return place if place == INPUT else f"inner{place}" if place.startswith(":") else f"inner.{place}"

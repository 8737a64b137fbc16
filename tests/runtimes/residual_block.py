"""A small residual network, with grids or without, for tests of what executes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipelang.catalogue import find
from recipelang.kinds import Observed
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.places import at_places
from recipelang.surgery.quantizing import activation_grids, places_of, weight_grids
from recipelang.surgery.tracing import evaluating, example_input


class Block(nn.Module):
    """What a residual network has: a norm with negative factors, a padded shortcut, pooling, and two ends."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.one, self.bn1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.two, self.bn2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        y = self.bn2(self.two(functional.relu(self.bn1(self.one(x)))))
        x = functional.relu(y + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        return self.linear(functional.max_pool2d(x, 2).mean((2, 3)))


def plain() -> Network:
    torch.manual_seed(0)
    module = Block()
    for norm in (module.norm, module.bn1, module.bn2):
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 1.5)
    return Network(module.eval(), {}, (3, 16, 16))


def quantized(network: Network, bits: int = 8, parts: tuple[str, ...] = ("weights", "activations")) -> Network:
    """With grids over what seeded images show."""
    minmax = find("quantizer", "minmax")()  # type: ignore[misc]
    found = places_of(network, Selection(), parts)
    seen: dict[str, Observed] = {}

    def watch(place: str, value: Tensor) -> Tensor:
        if place in found.activations:
            seen[place] = Observed(value.detach().amin(), value.detach().amax(), value.detach().flatten())
        return value

    with evaluating(network.module), at_places(network.module, watch):
        network.module(example_input(network, 32))
    grids = weight_grids(network, found.weights, bits, minmax) | activation_grids(seen, bits, minmax)
    return network.restricted(grids)


def answers(call: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.as_tensor(call(images)).double().flatten()

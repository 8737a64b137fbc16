"""Networks nobody prepared, and queues of their channels in a drawn order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.kinds import Offer, Queue
from recipelang.plan import Selection
from recipelang.scoring.ranking import _steps
from recipelang.surgery.network import Network


class Residual(nn.Module):
    """Blocks whose inside and outside channels are filters, one of them depthwise, with a squeeze in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.wide, self.bn1 = nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.depth, self.bn2 = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12)
        self.squeeze, self.expand = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.narrow, self.bn3 = nn.Conv2d(12, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.plain, self.bn4 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.act, self.head = nn.PReLU(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(self.stem(x)).relu()
        inside = self.bn2(self.depth(self.bn1(self.wide(x)).relu())).relu()
        inside = inside * self.expand(self.squeeze(inside.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = x + self.bn3(self.narrow(inside))
        x = self.act(x + self.bn4(self.plain(x)))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """A small vision transformer: heads and neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(1, 16, 4, stride=4), nn.LayerNorm(16)
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).mT
        y = self.norm(x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        x = x + self.down(nn.functional.gelu(self.up(x)))
        return self.head(x.mean(1))


class Sequence(nn.Module):
    """A recurrent tail, a weight that is normalised, and a plain perceptron after it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 12))
        self.state = nn.LSTM(12, 6, batch_first=True)
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.state(self.mix(x.flatten(1, 2)).relu())[0]
        return self.second(self.first(x[:, -1]).relu())


class Upscale(nn.Module):
    """Superresolution by two: sums of filters, and a shuffle of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.up, self.last = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.last(nn.functional.pixel_shuffle(self.up(x + self.second(x)), 2))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "residual, depthwise, squeezed": (Residual, ("filters",)),
    "tokens": (Tokens, ("neurons", "heads")),
    "recurrent": (Sequence, ("neurons",)),
    "superresolution": (Upscale, ("filters",)),
}


@cache
def made(name: str) -> tuple[Network, list[Queue], dict[str, Offer]]:
    """A network, the queues of its units with channels in a drawn order, and what it offers."""
    torch.manual_seed(0)
    build, units = NETWORKS[name]
    module = build().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.normal_(part.weight, 1, 0.3)
            nn.init.normal_(part.bias)
    network = Network(module, {}, (1, 8, 8))
    queues: list[Queue] = []
    offers: dict[str, Offer] = {}
    for unit in units:
        found: Any = catalogue.find("unit", unit)
        one = found(round=1) if unit != "heads" else found()
        offers[unit] = one.find(network, Selection())
        for group in offers[unit].groups:
            scores = torch.rand(group.size).double()
            queues.append(Queue(group, tuple(scores.tolist()), tuple(_steps(group, scores, unit)), unit))
    return network, queues, offers


def copied(name: str) -> tuple[Network, list[Queue], dict[str, Offer]]:
    """A copy of the network, its queues and its offers."""
    network, queues, offers = made(name)
    return network.clone(), queues, offers

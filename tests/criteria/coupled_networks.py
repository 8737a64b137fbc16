"""Small networks whose channels meet in every way that removal knows, and what their readers make of each channel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.catalogue import find
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network


class Residual(nn.Module):
    """A sum couples `stem` and `last`; two weights read it, and `inner` is read by one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.inner, self.inner_norm = nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.last, self.last_norm = nn.Conv2d(6, 5, 1), nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.last_norm(self.last(self.inner_norm(self.inner(x)).relu()))
        return self.head(x.mean((2, 3)))


class BeforeNorm(nn.Module):
    """Pre-activation: the norm acts on a sum, so it folds into no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.block, self.final = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.block(self.norm(x).relu())
        return self.head(self.final(x).relu()).mean((2, 3))


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.ReLU6(),
        nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def grouped() -> nn.Module:
    """Four groups, of which whole ones leave, between convolutions without groups."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.ReLU(),
        nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def flattened() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 9, 6), nn.Linear(6, 4)
    )


class Concatenated(nn.Module):
    """One weight reads two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 5, 3, padding=1)
        self.both, self.head = nn.Conv2d(9, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.left(x).relu(), self.right(x).sigmoid()], 1)
        return self.head(self.both(x).relu().amax((2, 3)))


class Tokens(nn.Module):
    """The hidden features of an MLP on tokens, which a layer called twice reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 7), nn.Linear(7, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        for _ in range(2):
            x = x + self.second(F.gelu(self.first(x)))
        return self.head(x.mean(1))


class Attention(nn.Module):
    """Four heads of fused attention, which a projection reads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.projection, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 4)
        self.heads = 4

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[:, 0]
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, 2)).movedim(2, 0).transpose(2, 3)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=0.5)
        return self.head((tokens + self.projection(mixed.transpose(1, 2).flatten(2))).mean(1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "before_norm": BeforeNorm,
    "depthwise": depthwise,
    "grouped": grouped,
    "flattened": flattened,
    "concatenated": Concatenated,
    "tokens": Tokens,
    "attention": Attention,
}
#: what is removed where it is not filters
UNITS = {"tokens": "neurons", "attention": "heads"}


def network(name: str, seed: int = 0) -> Network:
    """One of `NETWORKS` with random weights, norms and statistics; inputs 1×8×8, 4 classes."""
    torch.manual_seed(seed)
    module = NETWORKS[name]().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(tensor, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 2)  # type: ignore[arg-type]
    return Network(module, {}, (1, 8, 8))


@cache
def _shared(name: str) -> Network:
    """One for all tests that change nothing in it: what can be removed is found once for each module."""
    return network(name)


def unit_of(name: str) -> Any:
    return {"tokens": Neurons(round=1), "attention": Heads()}.get(name) or Filters(round=1)


def seen(name: str, criterion: str, data: Any, net: Network | None = None, **settings: Any) -> Any:
    """(network, unit, offer, criterion, evidence)."""
    net, unit = net or _shared(name), unit_of(name)
    offer = unit.find(net, Selection())
    made: Any = find("criterion", criterion)(**settings)  # type: ignore[misc]
    return net, unit, offer, made, Gathered(net, data, Classification(), offer.groups, "filter", made.needs)


def halves(offer: Any) -> dict[str, list[int]]:
    """Every other part of each group."""
    return {group.name: list(range(0, group.size, 2))[: group.most] for group in offer.groups}


def entering(net: Network, path: str, images: Tensor) -> list[Tensor]:
    """What is given to a module, call by call."""
    calls: list[Tensor] = []
    with torch.no_grad():
        handle = net.module.get_submodule(path).register_forward_pre_hook(lambda _, args: calls.append(args[0].clone()))
        net.module(images)
        handle.remove()
    return calls


def without_bias(module: Any, weight: Tensor, inputs: Tensor) -> Tensor:
    """What a module makes of its inputs with another weight: one row for each output position and image."""
    if isinstance(module, nn.Linear):
        return F.linear(inputs, weight)
    made = F.conv2d(inputs, weight, None, module.stride, module.padding, module.dilation, module.groups)
    return made.movedim(1, -1)


def made_of_parts(net: Network, place: Any, images: Tensor) -> Tensor:
    """N×numbers: what a reader makes of each part alone, all others zero; by masking its weight, not by moments."""
    path = place.name.rpartition(".")[0]
    module: Any = net.module.get_submodule(path)
    parts = []
    for positions in place.positions:
        weight = torch.zeros_like(module.weight.detach())
        where = torch.tensor(positions)
        weight.index_copy_(place.axis, where, module.weight.detach().index_select(place.axis, where))
        calls = [without_bias(module, weight, inputs) for inputs in entering(net, path, images)]
        parts.append(torch.cat([call.flatten() for call in calls]))
    return torch.stack(parts).double()

"""Networks that nobody prepared, and what of them can be removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, **more: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **more), nn.BatchNorm2d(outputs), nn.ReLU())


class Net(nn.Module):
    """A network by its parts and a function of itself and its input; then a mean over positions and a linear layer."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.compute = forward
        with torch.no_grad():
            self.head = nn.Linear(self.compute(self.eval(), torch.zeros(2, 3, 8, 8)).shape[1], 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.compute(self, x)
        return self.head(y.mean((2, 3)) if y.ndim == 4 else y)


def unet(net: Net, x: Tensor) -> Tensor:
    one = net.down1(x)
    two = net.down2(F.max_pool2d(one, 2))
    return net.last(torch.cat([net.up(two), one], 1))


class Attention(nn.Module):
    """8 heads of 8 channels from 16, so that no number alone says what it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 8, 8
        self.q, self.k, self.v = nn.Linear(16, 64), nn.Linear(16, 64), nn.Linear(16, 64)
        self.out = nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        shape = (batch, length, self.num_heads, self.head_dim)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Pieces(nn.Module):
    """Pieces of 4, 4 and 6 channels; the first and the last are read apart from each other, by slices."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes, self.rest = (4, 10), 6
        self.make, self.first, self.second = nn.Conv2d(3, 14, 3), nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)
        self.third = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        one, two = torch.split(self.make(x), list(self.sizes), dim=1)
        three, two = two[:, : self.rest], two[:, self.rest :]
        y = self.first(one) * self.second(two)
        return y.mean((2, 3)) + self.third(three.mean((2, 3)))


class Halves(nn.Module):
    """Twice half as many channels as an attribute says."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.half = 16, 8
        self.make, self.one, self.last = nn.Conv2d(3, self.wide, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(self.wide, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.make(x).split(self.wide // 2, dim=1)
        x = torch.cat([F.relu(self.one(one) + two), two], 1).view(len(x), 2 * self.half, -1, 6)
        return self.head(F.relu(self.last(x)).mean((2, 3)))


class CBAM(nn.Module):
    """Channel attention, and a spatial attention from the mean and the largest of all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.squeeze, self.excite = nn.Conv2d(3, 16, 3), nn.Linear(16, 8), nn.Linear(8, 16)
        self.spatial, self.last, self.head = nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(16, 12, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))[:, :, None, None]
        both = torch.stack([x.mean(1), x.amax(1)], 1)
        return self.head(F.relu(self.last(x * torch.sigmoid(self.spatial(both)))).mean((2, 3)))


def swiglu(net: Net, x: Tensor) -> Tensor:
    a, b = net.both(net.first(x.flatten(2).transpose(1, 2))).chunk(2, -1)
    return net.out(F.silu(a) * b).mean(1)


def lstm(net: Net, x: Tensor) -> Tensor:
    states: Tensor = net.lstm(net.body(x).flatten(2).transpose(1, 2))[0]
    return states[:, -1]


def cells(net: Net, x: Tensor) -> Tensor:
    h, c, g, r = (x.new_zeros(len(x), size) for size in (10, 10, 8, 6))
    for step in net.body(x).flatten(2).unbind(2)[:5]:
        h, c = net.lstm(step, (h, c))
        g = net.gru(h, g)
        r = net.rnn(g, r)
    return r


def fixed_view(net: Net, x: Tensor) -> Tensor:
    return net.last(net.body(x).view(len(x), 8, 8, 8))


def insists(net: Net, x: Tensor) -> Tensor:
    x = net.body(x)
    if x.shape[1] != 8:
        raise ValueError("8 channels, please")
    return net.last(x)


def tied() -> nn.Module:
    net = Net(
        lambda net, x: net.c(F.relu(net.b(F.relu(net.a(x.flatten(1)))))),
        a=nn.Linear(192, 12),
        b=nn.Linear(12, 12),
        c=nn.Linear(12, 12),
    )
    net.c.weight = net.b.weight
    return net


#: name → (network, {group: units}, {what stays: part of its reason})
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Mapping[str, int], Mapping[str, str]]] = {
    "U-Net": (
        lambda: Net(
            unet, down1=conv(3, 8), down2=conv(8, 16), up=nn.ConvTranspose2d(16, 8, 2, stride=2), last=conv(16, 8)
        ),
        {"down1.0": 8, "down2.0": 16, "up": 8, "last.0": 8},
        {"head": "output"},
    ),
    "pixel shuffle": (
        lambda: Net(
            lambda net, x: net.last(F.pixel_unshuffle(F.pixel_shuffle(net.body(x), 2), 4)),
            body=conv(3, 32),
            last=conv(128, 8),
        ),
        {"body.0": 8, "last.0": 8},
        {},
    ),
    "group norm": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 12, 3), nn.GroupNorm(1, 12), nn.ReLU(),
            nn.Conv2d(12, 8, 1), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8), nn.Flatten(), nn.Linear(128, 5),
        ),
        {"0": 4, "6": 8},
        {"3": "`group_norm` normalises them together"},
    ),
    "weight norm": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(),
            nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 12, 3)), nn.ReLU(), nn.Flatten(),
            nn.utils.parametrizations.weight_norm(nn.Linear(192, 5)),
        ),
        {"0": 8, "2": 12},
        {"5": "output"},
    ),
    "spectral norm": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(192, 5),
        ),
        {"2": 12},
        {},
    ),
    "tied weights": (tied, {"a": 12}, {}),
    "a module twice": (
        lambda: Net(lambda net, x: net.c(net.b(net.b(net.a(x)))), a=conv(3, 8), b=conv(8, 8), c=conv(8, 6)),
        {"a.0": 8, "c.0": 6},
        {},
    ),
    "SwiGLU": (
        lambda: Net(swiglu, first=nn.Linear(3, 6), both=nn.Linear(6, 24), out=nn.Linear(12, 7)),
        {"first": 6, "both": 12, "out": 7},
        {},
    ),
    "LSTM": (
        lambda: Net(lstm, body=conv(3, 12), lstm=nn.LSTM(12, 10, batch_first=True)),
        {"body.0": 12},
        {},
    ),
    "a simple recurrent network": (
        lambda: Net(lstm, body=conv(3, 12), lstm=nn.RNN(12, 10, batch_first=True)),
        {"body.0": 12},
        {"lstm": "state of a recurrent cell"},
    ),
    "cells in a loop": (
        lambda: Net(cells, body=conv(3, 12), lstm=nn.LSTMCell(12, 10), gru=nn.GRUCell(10, 8), rnn=nn.RNNCell(8, 6)),
        {"body.0": 12},
        {"lstm": "state of a recurrent cell", "gru": "state of a recurrent cell"},
    ),
    "attention of its own": (
        lambda: Net(
            lambda net, x: net.mlp(net.attention(net.embed(x).flatten(2).transpose(1, 2)).mean(1)),
            embed=nn.Conv2d(3, 16, 4, stride=4),
            attention=Attention(),
            mlp=nn.Sequential(nn.Linear(16, 20), nn.GELU(), nn.Linear(20, 8)),
        ),
        {"embed": 16, "attention.q": 8, "attention.out": 16, "mlp.0": 20, "mlp.2": 8},
        {},
    ),
    "CBAM": (CBAM, {"squeeze": 8, "last": 12}, {"first": "is taken over them"}),
    "any activation": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 12, 3, padding=1), nn.Softplus(),
            nn.Conv2d(12, 8, 3, padding=1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        ),
        {"0": 8, "2": 12, "4": 8},
        {},
    ),
    "a sum over a sigmoid": (
        lambda: Net(
            lambda net, x: net.b(torch.sigmoid(net.a(x)) * torch.sigmoid(net.a(x)).sum(1, keepdim=True)),
            a=nn.Conv2d(3, 8, 3),
            b=nn.Conv2d(8, 6, 1),
        ),
        {"b": 6},
        {"a": "the network computes something else"},
    ),
    "a sum of what is zero": (
        lambda: Net(
            lambda net, x: net.b(x * net.a(x).sum(1, keepdim=True)),
            a=nn.Conv2d(3, 8, 3, padding=1),
            b=nn.Conv2d(3, 6, 1),
        ),
        {"a": 8, "b": 6},
        {},
    ),
    "a number in the code": (
        lambda: Net(fixed_view, body=conv(3, 8), last=conv(8, 6)),
        {"body.0": 8, "last.0": 6},
        {},
    ),
    "code that insists": (
        lambda: Net(insists, body=conv(3, 8), last=conv(8, 6)),
        {"last.0": 6},
        {"body.0": "the code of the network fixes their number: 8 channels, please"},
    ),
    "slices": (
        lambda: Net(lambda net, x: torch.cat([net.a(x)[:, 4:], net.a(x)[:, :4]], 1), a=conv(3, 12)),
        {"a.0": 4, "a.0 (2)": 8},
        {},
    ),
    "unequal pieces": (
        lambda: Net(lambda net, x: torch.cat(net.a(x).split((4, 8), 1)[::-1], 1), a=conv(3, 12)),
        {"a.0": 4, "a.0 (2)": 8},
        {},
    ),
    "pieces and slices of sizes that are attributes": (
        Pieces,
        {"make": 4, "make (2)": 6, "make (3)": 4},
        {},
    ),
    "pieces of half of an attribute": (
        Halves,
        {"make": 8, "last": 6},
        {},
    ),
    "pieces of unlike sizes": (
        lambda: Net(lambda net, x: torch.cat(net.a(x).split(5, 1)[::-1], 1), a=conv(3, 12)),
        {"a.0 (3)": 2},
        {"a.0": "the network computes something else"},
    ),
    "shuffled channels": (
        lambda: nn.Sequential(
            conv(3, 16), nn.ChannelShuffle(4), conv(16, 16, groups=4), nn.Flatten(), nn.Linear(1024, 5)
        ),
        {"0.0": 4},
        {},
    ),
    "embedded positions": (
        lambda: Net(
            lambda net, x: net.b(F.relu(net.a(x.flatten(2).transpose(1, 2)) + net.e(torch.arange(64)))).mean(1),
            a=nn.Linear(3, 12), e=nn.Embedding(64, 12), b=nn.Linear(12, 6),
        ),
        {"a": 12, "b": 6},
        {},
    ),
}  # fmt: skip

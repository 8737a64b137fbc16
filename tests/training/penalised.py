"""Networks of all sorts with parts of different size, and their training with one companion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recipelang.images.dataset import ImageDataset
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.training.loop import FitRecord, fit

TASK: Any = Classification()


class Block(nn.Module):
    """Two convolutions with BatchNorm beside a skip connection."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Depthwise(nn.Module):
    """1×1, depthwise, 1×1, with BatchNorm and ReLU6, beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv2d(width, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


class Token(nn.Module):
    """Attention and an MLP over positions, each beside a skip connection after LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 20), nn.Linear(20, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.proj(mixed)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Conv2d(3, 8, 2, stride=2), nn.Sequential(Token(8), Token(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def convolutional(*blocks: nn.Module) -> nn.Module:
    stem = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


MODULES = {
    "residual": lambda: convolutional(Block(8, 6), Block(8, 10)),
    "depthwise": lambda: convolutional(Depthwise(8), Depthwise(8)),
    "vit": Vit,
    "plain": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)
    ),
}


def made(name: str) -> Network:
    """A network whose parts are of different size, so that some become zero before others."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.1, 1.2)
            elif isinstance(part, nn.Linear):
                part.weight.mul_(torch.linspace(0.1, 1.5, len(part.weight))[:, None])
    return Network(module, {}, (3, 8, 8), classes=(*"abc",))


def trained(
    network: Network, data: ImageDataset, silent: Any, companion: Any, *, steps: int = 12, lr: float = 0.05, **more: Any
) -> tuple[Network, FitRecord]:
    optimizer = Sgd(lr, weight_decay=0.0)
    training = Training(Duration(steps, "steps"), optimizer, companions=(companion,) if companion else ())
    return fit(network, data, training, progress=silent(), task=TASK, seed=1, **more)


def answers(network: Network) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.module.eval()(torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3)))
        return found


def size(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.module.parameters())

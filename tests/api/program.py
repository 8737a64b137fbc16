"""The network and the data of a program."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))) + x


class Net(nn.Module):
    """Three blocks between a stem and a head, for images of one channel and two classes."""

    input_shape = (1, 8, 8)

    def __init__(self, width: int = 4, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(torch.relu(self.stem(x))).mean((2, 3)))  # type: ignore[no-any-return]


class Shades(Dataset[Any]):
    """Dark and bright images."""

    classes = ("dark", "bright")

    def __init__(self, count: int = 64, first: int = 0) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[Tensor, int]:
        if not 0 <= k < self.count:
            raise IndexError(k)
        drawn = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(self.first + k))
        return drawn / 2 + k % 2 / 2, k % 2

"""A residual block, its branch alone, and a network of tokens that calls its blocks as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

#: the width of tokens and of maps
D = 8


class Block(nn.Module):
    """x + f(x), with more arguments than it needs."""

    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 12), nn.Linear(12, width)

    def branch(self, x: Tensor) -> Tensor:
        return self.down(self.up(self.norm(x)).relu())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x + self.branch(x) * (1 if mask is None else mask)


class Branch(Block):
    """f(x) alone: the parent adds it."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.branch(x)


class Net(nn.Module):
    """Patches to tokens, blocks, mean, head; `step` says how a block is called."""

    def __init__(self, blocks: list[nn.Module], step: Callable[..., Any], norm: bool = False) -> None:
        super().__init__()
        self.patch, self.body, self.head = nn.Conv2d(3, D, 2, 2), nn.ModuleList(blocks), nn.Linear(D, 5)
        self.norm = nn.LayerNorm(D) if norm else nn.Identity()
        self.step = step

    def tokens(self, x: Tensor) -> Tensor:
        return self.patch(x).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        state = torch.zeros_like(x)
        for block in self.body:
            x, state = self.step(block, x, state)
        return self.head(self.norm(x).mean(1) + state.mean(1))

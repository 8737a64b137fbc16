"""A network that generates the weights of another one from its widths.

Liu et al., "MetaPruning: meta learning for automatic neural network channel pruning", ICCV 2019, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class PruningNet(nn.Module):
    """Two linear layers for each weight, from the widths around it to the weight.

    Args:
        weights: name → trained weight, of two axes or more.
        touching: name → numbers of the queues whose widths it sees.
        hidden: numbers between the two layers.
        direct: the largest number of elements that are generated one by one.
        seed: of the first layers.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        touching: Mapping[str, Sequence[int]],
        *,
        hidden: int = 32,
        direct: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.names = tuple(weights)
        draws = torch.Generator().manual_seed(seed)
        self.parts = nn.ModuleList(
            WeightNet(weight, touching[name], hidden, weight.numel() <= direct, draws)
            for name, weight in weights.items()
        )

    def forward(self, signature: Tensor) -> dict[str, Tensor]:
        """Share of its parts that each queue keeps, 0 … 1 → name → weight, with gradients to the generator."""
        return {name: part(signature) for name, part in zip(self.names, self.parts, strict=True)}


class WeightNet(nn.Module):
    """Generates one weight W.

    Element by element: W + σ(W) · A₂ relu(A₁ v), σ the standard deviation of its elements. Or W is modulated by row and
    column: W ⊙ (1 + a)(1 + b)ᵀ with (a, b) = A₂ relu(A₁ v), which takes hidden · (O + I) parameters for O×I×k×k. A₂
    starts at zero, so the first weight is the trained one.

    Args:
        weight: W.
        touching: numbers of the queues whose widths v it sees.
        hidden: numbers between the two layers.
        direct: whether it is generated element by element.
        draws: A₁.
    """

    weight: Tensor
    scale: Tensor

    def __init__(
        self, weight: Tensor, touching: Sequence[int], hidden: int, direct: bool, draws: torch.Generator
    ) -> None:
        super().__init__()
        self._touching = list(touching)
        size = weight.numel() if direct else weight.shape[0] + weight.shape[1]
        self._direct = direct
        self.first = nn.Parameter(torch.randn(hidden, len(self._touching), generator=draws))
        self.shift = nn.Parameter(torch.zeros(hidden))
        self.second = nn.Parameter(torch.zeros(size, hidden))
        self.start = nn.Parameter(torch.zeros(size))
        self.register_buffer("weight", weight.detach().clone(), persistent=False)
        self.register_buffer("scale", weight.detach().std(correction=0), persistent=False)

    def forward(self, signature: Tensor) -> Tensor:
        """Share of its parts that each queue keeps → the weight."""
        between = torch.relu(self.first @ signature[self._touching] + self.shift)
        numbers = self.second @ between + self.start
        if self._direct:
            return self.weight + self.scale * numbers.reshape(self.weight.shape)
        rows, columns = numbers.split([self.weight.shape[0], self.weight.shape[1]])
        around = [1] * (self.weight.ndim - 2)
        return self.weight * (1 + rows).reshape(-1, 1, *around) * (1 + columns).reshape(1, -1, *around)

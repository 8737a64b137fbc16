"""A small vision transformer, for studies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH, HEADS, LAYERS = 64, 4, 3


class Encoder(nn.Module):
    """Rows of numbers, positions that are learned, layers with their norms first, the mean over rows, a head."""

    def __init__(self, rows: int, classes: int, layers: int, width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(1, rows, width))
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """B×N×width → B×classes."""
        scores: Tensor = self.head(self.layers(rows + self.positions).mean(1))
        return scores


class Vision(nn.Module):
    """Digits of 8×8 pixels as 16 patches of 2×2: the shape of a vision transformer."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.patches, self.encoder = nn.Conv2d(1, width, 2, 2), Encoder(16, 10, layers, width)

    def forward(self, images: Tensor) -> Tensor:
        """B×1×8×8 → B×10."""
        scores: Tensor = self.encoder(self.patches(images).flatten(2).mT)
        return scores


def vision(layers: int = LAYERS, width: int = WIDTH) -> nn.Module:
    """The network for digits, of so many encoder layers and channels."""
    return Vision(layers, width)

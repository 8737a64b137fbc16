"""Inputs, raw weights, and any function as a network: what tests of products are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.surgery.products import Product, find_products

#: tokens of an image, and their width
T, D = 5, 8
ROWS = torch.randn(2, T, D, generator=torch.Generator().manual_seed(0))
MAPS = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1))


def weight(*shape: int) -> nn.Parameter:
    """A raw parameter of random numbers."""
    return nn.Parameter(torch.randn(*shape))


class Calls(nn.Module):
    """A function of itself and the input as a network, with what it holds under names."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def found(module: nn.Module, x: Tensor = ROWS) -> dict[str, Product]:
    """The products of a network, by their names."""
    return {product.name: product for product in find_products(module, x)}


class Standardised(nn.Conv2d):
    """A convolution that gives each filter zero mean before it uses it."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)

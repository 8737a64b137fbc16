"""The plainest piece that a rounder can be given: one matrix, and rows that enter it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Scheme
from recipelang.surgery.restrictions.grid import Grid


class Matrix:
    """A piece of one weight N×K and rows that enter it, as plain as can be."""

    name, seed, brief, batches = "w", 0, False, 1

    def __init__(self, weight: Tensor, rows: Tensor, bits: int = 3, keep: Tensor | None = None) -> None:
        self.rows, self.weights = rows, {"w": weight}
        scheme = Scheme(bits, signed=True, symmetric=True, axis=0)
        self.grids: dict[str, Any] = {"w": Grid.between(weight.amin(1), weight.amax(1), scheme)}
        self.keep = {} if keep is None else {"w": keep}

    def computed(self, values: dict[str, Tensor], batch: int) -> Tensor:
        return self.rows @ values["w"].mT

    def wanted(self, batch: int) -> Tensor:
        return self.rows @ self.weights["w"].mT

    def sensitivity(self, batch: int) -> Tensor:
        return torch.ones_like(self.wanted(batch))

    def moments(self, name: str) -> Tensor:
        return (2 / len(self.rows) * self.rows.mT @ self.rows)[None]

    def means(self, name: str) -> tuple[Tensor, Tensor]:
        mean = self.rows.double().mean(0, keepdim=True)
        return mean, mean

    def error(self, value: Tensor) -> float:
        return float((self.computed({"w": value}, 0) - self.wanted(0)).square().sum())


def matrix(seed: int, outputs: int = 4, inputs: int = 6, rows: int = 40, **others: Any) -> Matrix:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=generator)  # inputs depend on each other
    return Matrix(
        torch.randn(outputs, inputs, generator=generator),
        torch.randn(rows, inputs, generator=generator) @ mixing,
        **others,
    )

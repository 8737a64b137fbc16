"""The weights for the trial of a network: not its own, so that a layer initialised to zero hides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.entry import evaluated


@dataclass(frozen=True)
class TriedNetwork:
    """A network and its answer with the weights of the trial."""

    module: nn.Module
    example: Tensor
    expected: Tensor
    moved: bool  # whether the weights differ from its own

    def move(self, other: nn.Module) -> None:
        """Permanently give another module with the same weights those of the trial."""
        if self.moved:
            for tensor in _movable(other):
                tensor.data = _elsewhere(tensor)

    def again(self, images: Tensor | None = None) -> Any:
        """The answer of the network itself, again or to other images."""
        with _other_weights(self.module) if self.moved else nullcontext():
            return evaluated(self.module, self.example if images is None else images)


def tried(module: nn.Module, example: Tensor) -> TriedNetwork:
    """Try other weights; if the network cannot compute with them, it keeps its own."""
    try:
        with _other_weights(module):
            expected = evaluated(module, example)
        if expected.isfinite().all():
            return TriedNetwork(module, example, expected, True)
    except Refusal:
        pass
    return TriedNetwork(module, example, evaluated(module, example), False)


@contextmanager
def _other_weights(module: nn.Module) -> Iterator[None]:
    own = [(tensor, tensor.data) for tensor in _movable(module)]
    try:
        for tensor, _ in own:
            tensor.data = _elsewhere(tensor)
        yield
    finally:
        for tensor, data in own:
            tensor.data = data


def _movable(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers that are plain finite numbers."""
    return [
        t
        for t in (*module.parameters(), *module.buffers())
        if t.is_floating_point() and t.layout is torch.strided and bool(t.isfinite().all())
    ]


def _elsewhere(tensor: Tensor) -> Tensor:
    """Numbers of about the same size, each moved differently, so that no norm undoes it and no zero stays zero."""
    data = tensor.detach()
    ramp = torch.linspace(0.005, 0.015, data.numel(), dtype=data.dtype, device=data.device)
    return data.add(data.reshape(-1).flip(0).mul_(0.1).add_(ramp).view_as(data))

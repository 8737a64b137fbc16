"""The weights that a network is tried with: others than its own, so that a layer that starts at zero hides nothing."""

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
class Trial:
    """What a network answers with the weights that it is tried with."""

    module: nn.Module
    example: Tensor
    expected: Tensor
    moved: bool  # other weights than its own

    def move(self, other: nn.Module) -> None:
        """Give another module of the same weights those of the trial, for good."""
        if self.moved:
            for tensor in _movable(other):
                tensor.data = _elsewhere(tensor)

    def again(self, images: Tensor | None = None) -> Any:
        """The answer of the network itself, once more or to other images."""
        with _other_weights(self.module) if self.moved else nullcontext():
            return evaluated(self.module, self.example if images is None else images)


def tried(module: nn.Module, example: Tensor) -> Trial:
    """Weights that the network cannot compute with are no trial: it then keeps its own."""
    try:
        with _other_weights(module):
            expected = evaluated(module, example)
        if expected.isfinite().all():
            return Trial(module, example, expected, True)
    except Refusal:
        pass
    return Trial(module, example, evaluated(module, example), False)


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
    """Numbers of about the same size, no two moved alike, so that no norm takes it back and no zero stays one."""
    data = tensor.detach()
    ramp = torch.linspace(0.005, 0.015, data.numel(), dtype=data.dtype, device=data.device)
    return data.add(data.reshape(-1).flip(0).mul_(0.1).add_(ramp).view_as(data))

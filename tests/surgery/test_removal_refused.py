"""Networks whose graph cannot be captured: refused, with what stood in the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable


class Fickle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) if x.mean() > 5 else -self.a(x)
        return self.b(x.mean((2, 3)))


def test_a_network_that_cannot_be_traced_is_refused(wrap: Callable[..., Network]) -> None:
    with pytest.raises(Refusal, match="the network cannot be traced") as caught:
        find_removable(wrap(Fickle()))
    assert caught.value.code == "RCP0718" and "permute" not in caught.value.help


class Selecting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).flatten(2).transpose(1, 2)
        return self.b(torch.stack([one[one.sum(-1) >= one.sum(-1).median()].mean(0) for one in x]))


def test_a_network_whose_sizes_depend_on_values_is_refused(wrap: Callable[..., Network]) -> None:
    with pytest.raises(Refusal, match="how many numbers `index` gives depends on their values") as caught:
        find_removable(wrap(Selecting()))
    assert caught.value.code == "RCP0718"

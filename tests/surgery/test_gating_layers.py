"""Gates on blocks: which weights they multiply, and that they do what their definition says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.methods.units.layers import Layers
from recipelang.plan import Selection
from recipelang.surgery.gating_layers import gates_on_layers
from recipelang.surgery.network import Network


class Basic(nn.Module):
    """relu(x + F(x)), F ending in a norm."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.branch(x)).relu()


class Two(nn.Module):
    """Two branches in one block, as in a transformer: x + A(x), then x + B(x)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.a1, self.a2 = nn.Conv2d(width, 5, 1), nn.Conv2d(5, width, 1)
        self.b1, self.b2 = nn.Conv2d(width, 5, 1), nn.Conv2d(5, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.a2(self.a1(x).tanh())
        return x + self.b2(self.b1(x).tanh())


class Scaled(nn.Module):
    """A branch that a module adds, squeezed and excited, with a scale of its own at the end."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv, self.squeeze = nn.Conv2d(width, width, 3, padding=1), nn.Linear(width, width)
        self.gamma = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return x + self.gamma * (made * self.squeeze(made.mean((2, 3))).sigmoid()[:, :, None, None])


def network(*blocks: nn.Module) -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(4, 3))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return Network(module.eval(), {}, (3, 8, 8), classes=(*"abc",))


def gated(one: Network) -> Any:
    unit: Any = Layers()
    return gates_on_layers(one, unit, Selection(), "sss")


def test_the_last_weights_of_a_branch_are_found() -> None:
    found = gated(network(Basic(), Two(), Scaled()))
    owners: dict[int, list[str]] = {}
    for name, ((_, index),) in found.gates.places.items():
        owners.setdefault(int(index[0]), []).append(name)
    assert owners == {
        0: ["2.bn2.weight", "2.bn2.bias"],
        1: ["3.a2.weight", "3.a2.bias", "3.b2.weight", "3.b2.bias"],
        2: owners[2],
    }
    assert owners[2] in (["4.gamma"], ["4.conv.weight", "4.conv.bias"])


def test_a_gate_multiplies_the_branch_and_at_zero_the_block_is_gone() -> None:
    one = network(Basic())
    gates, block = gated(one).gates, one.module[2]  # type: ignore[index]
    x = torch.randn(2, 4, 8, 8)
    expected = (x + 0.3 * block.branch(x)).relu()
    with gates.open(one.module, torch.tensor([0.3])):
        torch.testing.assert_close(block(x), expected)
    with gates.open(one.module, torch.tensor([0.0])):
        assert torch.equal(block(x.relu()), x.relu())
    gates.fold(one.module, torch.tensor([0.3]))
    torch.testing.assert_close(block(x), expected)


def test_the_gradient_of_a_gate_is_that_of_its_branch() -> None:
    one = network(Basic())
    gates, x = gated(one).gates, torch.randn(2, 4, 8, 8)
    number, factor = torch.tensor([0.7], requires_grad=True), torch.tensor(0.7, requires_grad=True)
    block = one.module[2]  # type: ignore[index]
    with gates.open(one.module, number):
        block(x).square().sum().backward()
    (x + factor * block.branch(x)).relu().square().sum().backward()
    torch.testing.assert_close(number.grad, factor.grad.reshape(1))  # type: ignore[union-attr]


def test_blocks_that_cannot_be_gated_stay_with_the_reason() -> None:
    frozen, tied = Basic(), Two()
    frozen.bn2.bias.requires_grad_(False)
    tied.b2.weight = tied.a2.weight
    found = gated(network(Basic(), frozen, tied))  # after a block without a ReLU at its end none would be the identity
    assert list(found.gates.sizes) == ["2"]
    assert found.offer.stay["3"] == "`3.bn2.bias` is frozen"
    assert "not linear in `4.a2.weight` alone" in found.offer.stay["4"]
    with pytest.raises(Refusal, match="`2.bn2.bias` is frozen") as refusal:
        gated(network(frozen))
    assert refusal.value.code == "RCP0850"

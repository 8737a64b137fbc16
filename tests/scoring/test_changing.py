"""A network with changed inputs and outputs of its weights, against the same changes written into its code."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.plan import Selection
from recipelang.scoring.changing import captured, changed, counts
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.maps import ENTERING, LEAVING
from recipelang.surgery.network import Network


class Functions(nn.Module):
    """Weights that are used by functions of torch, in every form in which they multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.turned = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4, 3, 2, 2))
        self.matrix, self.left, self.added = (nn.Parameter(torch.randn(3, 3)) for _ in range(3))
        self.batched = nn.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor, change: Callable[[str, Tensor], Tensor] = lambda name, x: x) -> Tensor:
        x = functional.conv2d(change("conv", x), weight=self.conv, groups=1)
        x = functional.conv_transpose2d(input=change("turned", x), weight=self.turned)
        x = x.flatten(2)  # B×3×P
        x = self.left @ change("left", x)
        x = change("matrix", x.mT.movedim(-1, 1)).movedim(1, -1) @ self.matrix.T
        rows = torch.addmm(torch.zeros(3), change("added", x.flatten(0, 1)), self.added.t())
        x = rows.unflatten(0, (len(x), -1))
        return torch.bmm(x, self.batched.t().expand(len(x), 3, 3))


NAMES = ("conv", "turned", "matrix", "left", "added")


def factor(name: str, tensor: Tensor) -> Tensor:
    """Another number for every channel and weight."""
    numbers = 1 + NAMES.index(name) + torch.arange(tensor.shape[1]) / 10
    return tensor * numbers.reshape(-1, *[1] * (tensor.ndim - 2))


def test_what_enters_a_weight_is_changed_in_every_function_that_multiplies() -> None:
    torch.manual_seed(0)
    module, x = Functions(), torch.randn(5, 2, 6, 6)
    weights = {name: module.get_parameter(name) for name in NAMES}
    with changed(weights, ENTERING, factor):
        found = module(x)
    assert torch.allclose(found, module(x, factor), rtol=1e-4)
    assert counts(module, weights, x) == dict.fromkeys(NAMES, 1)
    assert torch.equal(module(x), module(x)), "outside the block nothing is changed"


def test_gradients_pass_into_what_changes() -> None:
    torch.manual_seed(0)
    module, x = Functions().requires_grad_(False), torch.randn(2, 2, 6, 6)
    gate = torch.ones(4, requires_grad=True)
    with changed({"turned": module.turned}, ENTERING, lambda _, x: x * gate[:, None, None]):
        found = torch.autograd.grad(module(x).square().sum(), gate)[0]
    step = torch.zeros(4)
    step[1] = 1e-2

    def loss(numbers: Tensor) -> float:
        return float(module(x, lambda n, x: x * numbers[:, None, None] if n == "turned" else x).square().sum())

    assert float(found[1]) == pytest.approx((loss(1 + step) - loss(1 - step)) / 2e-2, rel=1e-3)


def test_what_leaves_a_weight() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    x, weights = torch.randn(2, 2, 6, 6), {"0.weight": layer[0].weight, "3.weight": layer[3].weight}
    with changed(weights, LEAVING, lambda name, x: x * (2 if name == "0.weight" else -1)):
        found = layer(x)
    assert torch.allclose(found, -layer[3](layer[2](layer[1](2 * layer[0](x)))))


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_is_looked_into(batch_first: bool) -> None:
    """Its function hands itself over to modes whole; what enters its projections is changed all the same."""
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval(), torch.randn(3, 5, 8)
    weights = {"in": attention.in_proj_weight, "out": attention.out_proj.weight}
    seen: dict[str, list[tuple[int, ...]]] = {}

    def change(name: str, tensor: Tensor) -> Tensor:
        seen.setdefault(name, []).append(tuple(tensor.shape))
        return tensor * (2 if name == "out" else 1)

    with torch.no_grad(), changed(weights, ENTERING, change):
        found = attention(x, x, x, need_weights=False)[0]
    whole, bias = attention(x, x, x, need_weights=False)[0], attention.out_proj.bias
    assert torch.allclose(found, 2 * (whole - bias) + bias, atol=1e-5)
    assert set(seen) == {"in", "out"}
    assert (
        functional.multi_head_attention_forward.__globals__["has_torch_function"] is torch.overrides.has_torch_function
    )


def test_a_product_is_made_again_with_another_weight() -> None:
    torch.manual_seed(0)
    module, x = Functions(), torch.randn(2, 2, 6, 6)
    found: dict[str, Any] = {}
    weights = dict(module.named_parameters())
    with torch.no_grad(), captured(weights, found):
        module(x)
    assert set(found) == set(NAMES), "a weight that is expanded cannot be replaced by one of its shape"
    other = torch.randn(4, 2, 3, 3, requires_grad=True)
    again = found["conv"][0]
    assert torch.allclose(again(other), functional.conv2d(x, other))
    assert again.size == x.numel() * 4
    assert torch.autograd.grad(again(other).sum(), other)[0].shape == other.shape
    square = torch.randn(3, 3)
    given = {name: found[name][0] for name in ("matrix", "added", "left")}
    y = functional.conv_transpose2d(functional.conv2d(x, module.conv), module.turned).flatten(2)
    assert torch.allclose(given["left"](square), square @ y, atol=1e-5)
    z = (module.left @ y).mT
    assert torch.allclose(given["matrix"](square), (z @ square.T).mT, atol=1e-4)
    rows = (z @ module.matrix.T).flatten(0, 1)
    assert torch.allclose(given["added"](square), rows @ square.T, atol=1e-3)


class Parted(nn.Module):
    """One group is read by a layer that can be changed, another by a computed weight, the third by an LSTM too."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1)
        self.three = torch.nn.utils.parametrizations.weight_norm(self.three)
        self.cells, self.head = nn.LSTM(6, 3, batch_first=True), nn.Linear(3 + 6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.three(self.two(self.one(x).relu()).relu()).relu().flatten(2).mT
        cells = self.cells(x)[0][:, -1]
        return self.head(torch.cat([cells, x.mean(1)], 1))


def gathered(module: nn.Module, unit: Any = None, **more: Any) -> Gathered:
    torch.manual_seed(0)
    images = torch.randn(12, 1, 8, 8), torch.arange(12) % 4
    data: Any = SimpleNamespace(
        name="memory", labels=None, size=lambda split: 12 if split == "train" else 0, batches=lambda *_, **__: [images]
    )
    network = Network(module.eval(), {}, (1, 8, 8))
    unit = unit or Filters(round=1)
    groups = unit.find(network, Selection()).groups
    return Gathered(network, data, Classification(), groups, unit.ranks, ("network", "weights", "labels"), **more)


def test_groups_that_are_also_read_elsewhere_are_left_out() -> None:
    evidence = gathered(Parted())
    assert "one" in evidence.channels
    assert not evidence.hidden["one"]
    assert evidence.hidden["two"], "what weight norm computes is not a parameter"
    assert any(name.startswith("cells.") for name in evidence.hidden["three"])
    assert not {"two", "three"} & set(evidence.channels)


class Block(nn.Module):
    """x + conv(relu(x))."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.relu())


def test_layers_are_changed_where_they_make_their_outputs() -> None:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    evidence = gathered(nn.Sequential(nn.Conv2d(1, 4, 1), Block(), Block(), *head), Layers())
    assert set(evidence.channels) == {"1.conv.weight", "2.conv.weight"}
    assert not evidence.hidden
    module, x = evidence.module, torch.randn(3, 1, 8, 8)
    with evidence.changing(lambda name, x: x * 0 if name == "1.conv.weight" else x):
        found = module(x)
    assert torch.allclose(found, module[3:](module[2](module[0](x))))


def test_a_draw_of_samples_is_all_of_them_together_and_values_are_kept() -> None:
    evidence = gathered(Parted())
    assert evidence.drawn(100).inputs.shape == (12, 1, 8, 8)
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [evidence.kept("a", make), evidence.kept("a", make), evidence.kept("b", make)] == [1, 1, 2]

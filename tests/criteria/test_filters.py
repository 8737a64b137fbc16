"""Criteria on coupled channels: worked out by hand, and against sums over every weight that makes a channel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.catalogue import find
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import rank
from recipelang.surgery.network import Network


class Residual(nn.Module):
    """A stem and a block whose sum couples the channels of `stem` and `last`; `inner` is free."""

    def __init__(self, width: int = 4, inner: int = 6, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.inner = nn.Conv2d(width, inner, 3, padding=1)
        self.last = nn.Conv2d(inner, width, 1)
        self.norm_last = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.norm_last(self.last(self.inner(x).relu()))
        return self.head(x.mean((2, 3)))


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    module = Residual().eval()
    with torch.no_grad():
        for norm in (module.norm, module.norm_last):
            norm.weight.uniform_(-1, 1)
    return Network(module, {}, (1, 8, 8))


def scores(lab: Any, net: Network, name: str, data: Any = None, **settings: Any) -> dict[str, list[float]]:
    """Group → score of each channel."""
    unit: Any = Filters(round=1)
    criterion: Any = find("criterion", name)(**settings)  # type: ignore[misc]
    criterion = getattr(criterion, "coarse", criterion)
    offer = unit.find(net, Selection())
    evidence = Gathered(net, data or lab.images(), lab.CrossEntropy(), offer.groups, "filter", criterion.needs)
    found = unit.aggregate(criterion, criterion.score(evidence), evidence, offer.groups)
    assert {group.name: group.size for group in offer.groups} == {n: len(s) for n, s in found.items()}
    return {group: score.tolist() for group, score in found.items()}


def relative(values: list[float]) -> Any:
    return pytest.approx([value / (sum(values) / len(values)) for value in values], rel=1e-5)


def test_magnitude_by_hand(lab: Any) -> None:
    """Channel k of the sum is made by row k of `stem` (9 weights of k + 1) and row k of `last` (6 weights of 2)."""
    net = network()
    with torch.no_grad():
        net.module.stem.weight.copy_(torch.arange(1.0, 5).reshape(4, 1, 1, 1).expand(4, 1, 3, 3))
        net.module.last.weight.fill_(2)
    found = scores(lab, net, "magnitude")["stem"]
    assert found == pytest.approx([(9 * (k + 1) ** 2 + 6 * 4) ** 0.5 for k in range(4)])
    assert scores(lab, net, "magnitude", p=1)["stem"] == relative([9 * (k + 1) + 12.0 for k in range(4)])


@pytest.mark.parametrize("p", [1, 2])
def test_magnitude_is_the_norm_of_everything_that_makes_the_channel(lab: Any, p: int) -> None:
    net = network(1)
    found = scores(lab, net, "magnitude", p=p)
    made = {"stem": ("stem", "last"), "inner": ("inner",)}
    for group, layers in made.items():
        weights = [net.module.get_parameter(f"{layer}.weight").detach() for layer in layers]
        naive = [
            sum(abs(float(w)) ** p for weight in weights for w in weight[k].flatten()) ** (1 / p)
            for k in range(len(weights[0]))
        ]
        assert found[group] == (relative(naive) if p == 1 else pytest.approx(naive, rel=1e-5))


def test_taylor_sums_over_all_coupled_layers_and_is_compared_as_it_is(lab: Any) -> None:
    """√Σ (g·w)² with autograd's g, one batch: no division by the mean of a group."""
    net, data = network(2), lab.images()
    data.batch = 48
    found = scores(lab, net, "taylor", data)
    images, labels = data.splits["train"]
    nn.functional.cross_entropy(net.module(images), labels).backward()
    for group, layers in {"stem": ("stem", "last"), "inner": ("inner",)}.items():
        weights = [net.module.get_parameter(f"{layer}.weight") for layer in layers]
        naive = [
            float(sum(((w.grad[k] * w.detach()[k]) ** 2).sum() for w in weights)) ** 0.5 for k in range(len(weights[0]))
        ]
        assert found[group] == pytest.approx(naive, rel=1e-4)


def test_fpgm_measures_whole_channels(lab: Any) -> None:
    net = network(3)
    found = scores(lab, net, "fpgm")["stem"]
    rows = [
        torch.cat([net.module.stem.weight[k].flatten(), net.module.last.weight[k].flatten()]).detach() for k in range(4)
    ]
    assert found == relative([sum(float((x - y).norm()) for y in rows) for x in rows])


def test_bn_is_the_mean_of_the_scales_and_leaves_what_none_scales(lab: Any) -> None:
    net = network(4)
    unit: Any = Filters(round=1)
    offer = unit.find(net, Selection())
    evidence = Gathered(net, lab.images(), lab.CrossEntropy(), offer.groups, "filter")
    ranking = rank(find("criterion", "bn")(), unit, evidence, offer.groups)  # type: ignore[misc]
    assert ranking.unscored == ("inner",)
    scales = (net.module.norm.weight.abs() + net.module.norm_last.weight.abs()).detach() / 2
    order = [part for step in ranking.steps for part in step.parts]
    assert order == scales.argsort()[:3].tolist(), "and the last channel stays"


def test_what_goes_first_changes_the_network_least_where_that_can_be_computed(lab: Any) -> None:
    """Brute force: one filter of `inner` is nearly zero, and leaving each out shows that it matters least."""
    net = network(5)
    with torch.no_grad():
        net.module.inner.weight[2] *= 1e-3
        net.module.inner.bias.zero_()
    images = lab.images().splits["val"][0]
    with torch.no_grad():
        before, changes = net.module(images), []
        for k in range(6):
            column = net.module.last.weight[:, k].clone()
            net.module.last.weight[:, k] = 0
            changes.append(float((net.module(images) - before).norm()))
            net.module.last.weight[:, k] = column
    assert min(range(6), key=changes.__getitem__) == 2
    for name in ("magnitude", "taylor", "wanda"):
        found = scores(lab, net, name)["inner"]
        assert min(range(6), key=found.__getitem__) == 2, name

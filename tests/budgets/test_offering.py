"""What `prune filters` may remove where only some groups have what the criterion scores."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.budgets.offering import offered, wanted
from recipelang.errors import Refusal
from recipelang.methods.criteria.bn import BatchNormScale
from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection
from recipelang.surgery.network import Network


class Net(nn.Module):
    """Two convolutions, either of them with a BatchNorm."""

    def __init__(self, *normed: bool) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 6, 3), nn.Linear(6, 4)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(n) if norm else nn.Identity() for n, norm in zip((16, 6), normed, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.first(x)).relu()
        return self.head(self.norms[1](self.second(x)).relu().mean((2, 3)))


def network(*normed: bool) -> Network:
    torch.manual_seed(0)
    return Network(Net(*normed).eval(), {}, (1, 8, 8))


def asking(criterion: Any, **more: Any) -> Any:
    asked = {"count": None, "share": None, "selection": Selection(), "unit": Filters()} | more
    return SimpleNamespace(criterion=criterion, **asked)


def test_groups_without_batchnorm_stay_for_a_criterion_that_scores_batchnorm() -> None:
    offer = offered(asking(BatchNormScale()), network(True, False))
    assert [group.name for group in offer.groups] == ["first"]
    assert offer.stay["second"] == "no BatchNorm scales it"
    assert [group.name for group in offered(asking(Magnitude()), network(True, False)).groups] == ["first", "second"]


def test_a_network_without_batchnorm_is_refused_before_anything_is_ranked() -> None:
    with pytest.raises(Refusal, match="`bn` needs BatchNorm") as refusal:
        offered(asking(BatchNormScale()), network(False, False))
    assert refusal.value.code == "RCP0916"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"count": 5}, 5),
        ({"share": 0.5}, 11),
        ({"count": 19}, 19),
        ({"count": 20}, "20 filters are to be removed, and 19 of 22 can be"),
        ({"count": 1, "unit": Filters(round=8)}, "1 filter is to be removed, and rounded widths let 8 or more go"),
    ],
)
def test_how_many_are_asked_for(asked: dict[str, Any], found: Any) -> None:
    """Of 16 filters a multiple of 2 stays, of 6 any number: 14 and 5 can go."""
    operation = asking(Magnitude(), **asked)
    offer = offered(operation, network(True, True))
    if isinstance(found, int):
        assert wanted(operation, offer) == found
        return
    with pytest.raises(Refusal) as refusal:
        wanted(operation, offer)
    assert refusal.value.code == "RCP0911" and refusal.value.message == found

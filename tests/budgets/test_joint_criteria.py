"""Every criterion ranks layers and filters together, or says why it cannot, before a run."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.kinds import Batch, why_no_sum
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.shared import Member, held_inside, rank_together, single_scores
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse

CRITERIA = catalogue.names("criterion")
ADDING = [name for name in CRITERIA if not why_no_sum(catalogue.find("criterion", name)())]  # type: ignore[misc]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Images:
    """A few random images of three classes."""

    name, labels, batch = "random", None, 8

    def size(self, split: str) -> int:
        return 16

    def batches(self, split: str, *arguments: Any, **settings: Any) -> Any:
        draws = torch.Generator().manual_seed(1)
        for _ in range(2):
            yield Batch(torch.randn(8, 1, 8, 8, generator=draws), torch.randint(0, 3, (8,), generator=draws))


def network() -> Network:
    torch.manual_seed(0)
    stem = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    module = nn.Sequential(*stem, Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return Network(module.eval(), {}, (1, 8, 8))


@pytest.mark.parametrize("name", ADDING)
def test_sums_of_a_layer_are_those_of_the_filters_inside_it_and_more(name: str) -> None:
    criterion: Any = catalogue.find("criterion", name)()  # type: ignore[misc]
    net, units = network(), (Layers(), Filters(round=1))
    offers = [unit.find(net, Selection()) for unit in units]
    members = [
        Member(unit, offer.groups, Gathered(
            net, Images(), Classification(), offer.groups, unit.ranks, criterion.needs,  # type: ignore[arg-type]
            edits=partial(unit.edits, net, offer),
        ))
        for unit, offer in zip(units, offers, strict=True)
    ]  # fmt: skip
    scores = single_scores(criterion, members)
    layers, filters = rank_together(criterion, members, scores)
    inside = held_inside(criterion, members, scores)
    assert {queue.group.name for queue in layers.queues} == {"3", "4"} and filters.queues
    for layer in layers.queues:
        held = {group: parts for (owner, group), parts in inside.items() if owner == (layer.unit, layer.group.name)}
        assert ("filters", f"{layer.group.name}.conv1") in held and all(len(parts) == 8 for parts in held.values())
        if criterion.unit in ("element", "filter"):  # its own channels, and its part of those of the sums
            assert sum(map(sum, held.values())) == pytest.approx(layer.scores[0], rel=1e-4)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name not in ADDING])
def test_the_others_are_refused_by_check_with_the_reason(name: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(f"prune layers, filters by {name} until params < 0.5", "a.rcp"))
    assert "RCP0413" in {problem.code for problem in refused.value.diagnostics}
    check(parse(f"prune layers by {ADDING[0]} until params < 0.5", "a.rcp"))

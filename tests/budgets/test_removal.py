"""How ranked parts leave a network, and what a criterion says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import nn

from recipelang.budgets.removal import Removal, fitting, parts_of
from recipelang.kinds import Evidence, RemovalStep
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Telling:
    """A criterion that says what was removed, and from how many weights."""

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights",)

    def remark(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> str:
        return f"{len(evidence.weights)} weights, {dict(gone)} removed"


def network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    return Network(module.eval(), {}, (1, 8, 8))


def removal(criterion: Any) -> Removal:
    whole = network()
    offer = Filters(round=1).find(whole, Selection())
    weights = dict(whole.module.named_parameters())
    return Removal(whole, Filters(round=1), offer, criterion, SimpleNamespace(weights=weights))  # type: ignore[arg-type]


STEPS = (RemovalStep("0", (3,), 0.1), RemovalStep("2", (0,), 0.2), RemovalStep("0", (1,), 0.3))


def test_steps_are_joined_by_group_in_order_of_removal() -> None:
    assert parts_of(STEPS) == {"0": [3, 1], "2": [0]}


def test_what_is_tried_is_what_is_made() -> None:
    found = removal(Telling())
    made, stays = found.made(STEPS)
    tried = found.tried(STEPS)
    assert not stays and [tuple(p.shape) for p in made.module.parameters()][0] == (2, 1, 3, 3)
    assert all(torch.equal(a, b) for a, b in zip(tried.tensors().values(), made.tensors().values(), strict=True))


def test_a_criterion_may_say_something_of_what_was_removed() -> None:
    assert removal(Telling()).remark(STEPS) == "6 weights, {'0': [3, 1], '2': [0]} removed"
    assert removal(Telling()).remark(()) == ""
    assert removal(SimpleNamespace(unit="element", needs=())).remark(STEPS) == ""


def test_steps_that_are_too_large_for_what_is_left_give_way_to_smaller_ones_of_other_groups() -> None:
    wide = [RemovalStep("wide", tuple(range(k, k + 4)), score, "filters") for k, score in ((0, 0.1), (4, 0.4))]
    narrow = [RemovalStep("narrow", (k, k + 1), score, "filters") for k, score in ((0, 0.2), (2, 0.3))]
    order = [wide[0], *narrow, wide[1]]
    assert fitting(order, 2) == [narrow[0]], "and not nothing, because the first of all takes four"
    assert fitting(order, 6) == [wide[0], narrow[0]]
    assert fitting(order, 11) == [wide[0], *narrow] and fitting(order, 12) == order
    assert fitting(order, 1) == fitting(order, -3) == []
    later = [wide[0], RemovalStep("wide", (4,), 0.5, "filters")]
    assert fitting(later, 3) == [], "parts of a group leave in their order"

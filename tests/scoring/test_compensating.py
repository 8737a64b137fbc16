"""Corrected values are in the network before anything is cut, so that parity is that of the corrected network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from recipelang.budgets.removal import Removal
from recipelang.errors import Refusal
from recipelang.kinds import Compensator, Evidence, RemovalStep
from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection
from recipelang.scoring.compensating import corrected
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask

STEPS = (RemovalStep("0", (3,), 0.1), RemovalStep("0", (1,), 0.2))
GONE = {"0": [3, 1]}


@dataclass(frozen=True)
class Doubling:
    """Multiplies the second convolution by a factor for every filter removed."""

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights",)

    factor: float = 2.0
    name: str = "2.weight"

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        return Magnitude().score(evidence)

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        return {self.name: evidence.weights["2.weight"].detach() * self.factor ** len(gone["0"])}


def network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    return Network(module.eval(), {}, (1, 8, 8))


def removal(criterion: Any, whole: Network, judged: bool = True) -> Removal:
    offer = Filters(round=1).find(whole, Selection())
    evidence: Any = SimpleNamespace(weights=dict(whole.module.named_parameters()))
    return Removal(whole, Filters(round=1), offer, criterion, evidence, judged)


def rest(weight: Tensor) -> Tensor:
    return weight.detach()[:, [0, 2]]


def test_what_stays_is_corrected_and_the_network_before_is_not() -> None:
    whole = network()
    before = whole.module[2].weight.detach().clone()  # type: ignore[index]
    made, stays = removal(Doubling(), whole).made(STEPS)
    assert not stays
    assert torch.equal(made.module[2].weight, 4 * rest(before))  # type: ignore[index]
    assert torch.equal(whole.module[2].weight, before)  # type: ignore[index]


def test_a_tried_network_is_corrected_where_its_quality_is_judged() -> None:
    whole = network()
    weight = whole.module[2].weight  # type: ignore[index]
    for judged, factor in ((True, 4), (False, 1)):
        tried = removal(Doubling(), whole, judged).tried(STEPS)
        assert torch.equal(tried.module[2].weight, factor * rest(weight))  # type: ignore[index]


def test_the_record_says_what_was_corrected() -> None:
    found = removal(Doubling(), network())
    assert found.remark(STEPS) == "corrected 1 weight for what is removed: `2.weight`"
    assert found.remark(()) == "" and removal(Magnitude(), network()).remark(STEPS) == ""


def test_a_masked_weight_keeps_its_values() -> None:
    whole = network()
    keep = torch.arange(2 * 4 * 9).reshape(2, 4, 3, 3) % 2 == 0
    masked = restrict(whole, {"2.weight": Mask("weights", keep)})
    found = corrected(Doubling(), removal(Doubling(), masked).evidence, masked, GONE)
    assert not found.names and found.kept == {"2.weight": "held by a mask"}
    assert str(found) == "1 weight keeps its values (held by a mask)"
    assert torch.equal(found.network.module[2].weight, masked.module[2].weight)  # type: ignore[index]


def test_a_criterion_that_corrects_nothing_changes_nothing() -> None:
    whole = network()
    for criterion, gone in ((Magnitude(), GONE), (Doubling(), {"0": []})):
        assert corrected(criterion, removal(criterion, whole).evidence, whole, gone).network is whole
    assert isinstance(Doubling(), Compensator) and not isinstance(Magnitude(), Compensator)


@pytest.mark.parametrize(
    ("criterion", "code", "message"),
    [
        (Doubling(factor=float("inf")), "RCP1006", "the correction of `2.weight` is NaN or infinite"),
        (Doubling(name="0.weight"), "RCP0255", r"`compensate` gives `0.weight` the shape \(2, 4, 3, 3\)"),
        (Doubling(name="none"), "RCP0255", "it has no parameter"),
    ],
)
def test_values_that_do_not_fit_are_refused(criterion: Any, code: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        corrected(criterion, removal(criterion, network()).evidence, network(), GONE)
    assert refusal.value.code == code


def test_corrections_use_the_settings_with_which_filters_are_ranked() -> None:
    @dataclass(frozen=True)
    class Coarse(Doubling):
        @property
        def coarse(self) -> Doubling:
            return replace(Doubling(), factor=3.0)

    whole = network()
    found = corrected(Coarse(), removal(Coarse(), whole).evidence, whole, GONE)
    assert torch.equal(found.network.module[2].weight, 9 * whole.module[2].weight)  # type: ignore[index]

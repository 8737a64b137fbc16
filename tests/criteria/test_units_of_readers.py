"""Criteria that look at what reads a channel, on every way in which channels meet, from ranking to smaller network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from coupled_networks import NETWORKS, UNITS, seen

from recipelang import catalogue
from recipelang.budgets.removal import Removal
from recipelang.kinds import Compensator, why_unfit
from recipelang.scoring.ranking import rank

CRITERIA = ("thinet", "lasso", "similarity", "hrank", "obd")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_half_of_every_unit_leaves_with_parity_or_check_refuses_it(lab: Any, name: str, criterion: str) -> None:
    net, unit, offer, method, evidence = seen(name, criterion, lab.images(train=16))
    if why := why_unfit(method, UNITS.get(name, "filters"), unit.scores):
        assert (criterion, name in UNITS) == ("hrank", True) and "maps" in why
        return
    ranking = rank(method, unit, evidence, offer.groups)
    assert not ranking.unscored or (criterion, name, ranking.unscored) == ("hrank", "concatenated", ("both",)), (
        "what is read after pooling has no maps"
    )
    steps = ranking.steps[: len(ranking.steps) // 2]
    removal = Removal(net, unit, offer, method, evidence)
    made, stays = removal.made(steps)
    assert not stays and sum(map(torch.numel, made.module.parameters())) < sum(
        map(torch.numel, net.module.parameters())
    )
    assert bool(removal.remark(steps)) == isinstance(method, Compensator)


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name not in ("hrank", "obd")])
def test_layers_are_refused_by_what_needs_a_layer_that_reads(criterion: str) -> None:
    layers: Any = catalogue.find("unit", "layers")
    assert why_unfit(catalogue.find("criterion", criterion), "layers", layers.scores)

"""Criteria that look at what reads a channel, on every way in which channels meet, from ranking to smaller network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from coupled_networks import NETWORKS, UNITS, seen

from recipelang.budgets.removal import Removal
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.kinds import Compensator, why_unfit
from recipelang.scoring.ranking import rank
from recipelang.syntax.parse import parse

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


READING = ("thinet", "lasso", "similarity", "pfp", "dcp")


@pytest.mark.parametrize("criterion", READING)
@pytest.mark.parametrize("statement", ["prune layers by {} until flops < 0.9", "sparsify filters to 50% by {}"])
def test_what_has_no_layer_that_reads_is_refused_by_check(criterion: str, statement: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(statement.format(criterion)))
    assert [diagnostic.code for diagnostic in refused.value.diagnostics] == ["RCP0413"]

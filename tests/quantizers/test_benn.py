"""An ensemble of binary networks is one network: copies in its log, bagging in the loop, one answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.methods.quantizers.benn import Benn
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.plan import Selection, Selector
from recipelang.surgery import artifact
from recipelang.surgery.averaged import Averaged
from recipelang.surgery.edits.ensemble import Ensemble
from recipelang.surgery.ensembles import ensemble
from recipelang.surgery.entries import Wrong
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import places_of, weight_grids
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.selectors import resolve
from recipelang.surgery.simulated import require_places, running
from recipelang.surgery.tracing import example_input

EIGHT = Scheme(8)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    names = tuple(map(str, range(10)))
    source = {"model": "digits_resnet", "settings": {"classes": 10}, "classes": list(names), "input_shape": [1, 8, 8]}
    return Network(digits_resnet().eval(), source, (1, 8, 8), classes=names)


def answer(network: Network) -> Tensor:
    with torch.no_grad():
        made: Tensor = running(network).eval()(example_input(network, 4))
    return made


def test_restrictions_are_those_of_every_member(network: Network) -> None:
    one = torch.tensor(1.0)
    grids: dict[str, Any] = {
        "input": Grid.between(-one, one, EIGHT),
        ":mean": Grid.between(0 * one, one, EIGHT),
        "linear.weight": Grid.between(-one, one, replace(EIGHT, signed=True, symmetric=True)),
    }
    before = network.restricted(grids)
    made = ensemble(before, 2)
    assert set(made.restrictions) == {
        "input", "members.0:mean", "members.1:mean", "members.0.linear.weight", "members.1.linear.weight",
    }  # fmt: skip
    require_places(made)
    torch.testing.assert_close(answer(made), answer(before))


def test_the_artifact_loads_and_members_answer_in_training_one_at_a_time(network: Network, tmp_path: Path) -> None:
    made = ensemble(network, 3)
    with torch.no_grad():
        for number, member in enumerate(made.module.members):
            member.linear.bias.fill_(float(number))
            member.linear.weight.zero_()
    assert torch.equal(answer(made), torch.ones(4, 10)), "the mean of 0, 1 and 2"
    artifact.save(made, tmp_path)
    again = artifact.load(tmp_path)
    assert torch.equal(answer(again), answer(made)) and again.edits == (Ensemble(3),)
    again.module.train()
    drawn = {float(again.module(torch.zeros(2, 1, 8, 8)).detach()[0, 0]) for _ in range(40)}
    assert drawn == {0.0, 1.0, 2.0}


def test_a_selection_is_meant_for_every_member_and_the_ends_stay(network: Network) -> None:
    method = Benn(networks=2)
    whole, selection = method.prepared(network, Selection())
    found = places_of(whole, selection, ("weights", "activations"), method)
    assert {name.partition(".")[2].partition(".")[0] for name in found.weights} == {"0", "1"}
    assert set(found.floating) >= {f"members.{n}.{end}.weight" for n in range(2) for end in ("conv1", "linear")}
    some, selection = method.prepared(network, Selection((Selector("glob", "layer1.0"), Selector("first"))))
    assert set(places_of(some, selection, ("weights",), method).weights) == {
        f"members.{n}.{path}.weight" for n in range(2) for path in ("conv1", "layer1.0.conv1", "layer1.0.conv2")
    }
    most, selection = method.prepared(network, Selection(exclude=(Selector("glob", "layer2"),)))
    assert not any("layer2" in path for path in resolve(most.module, selection))
    assert method.prepared(whole, selection) == (whole, selection), "an ensemble stays as it is"
    grids = weight_grids(whole, found.weights, 1, method)
    assert {getattr(one, "trained", "") for one in grids.values()} == {"benn(2)"}


def test_what_is_no_ensemble_is_refused() -> None:
    for entry in ({"edit": "ensemble"}, {"edit": "ensemble", "members": True}, {"edit": "ensemble", "members": 10**9}):
        with pytest.raises(Wrong):
            Ensemble.read(entry)
    with pytest.raises(Refusal) as refused:
        Ensemble(2).apply(nn.Linear(2, 2))
    assert refused.value.code == "RCP0701"
    module = nn.Sequential(nn.Linear(2, 2))
    Ensemble(2).apply(module)
    assert isinstance(module, Averaged)
    with pytest.raises(Refusal):
        Ensemble(2).apply(module)

"""An ensemble: sums of ranks by scipy, one pass over the data, and members that do not score what is removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from checked import step
from scipy.stats import rankdata

from recipelang import catalogue
from recipelang.catalogue import spell
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.methods.units.layers import Layers
from recipelang.plan import Selection, canonical
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import part_scores, rank, score_elements
from recipelang.surgery.network import Network
from recipelang.syntax.format import format
from recipelang.syntax.parse import parse


def criterion(text: str, unit: str = "layers") -> Any:
    return step(f"prune 1 {unit} by {text}").operation.criterion


def evidence_of(lab: Any, method: Any, unit: str, data: Any = None, module: Any = None) -> tuple[Any, Gathered]:
    unit_method: Any = catalogue.find("unit", unit)
    of = unit_method() if unit == "layers" else unit_method(round=1)
    network = Network((module or lab.small(4)).eval(), {}, (1, 8, 8))
    offer = of.find(network, Selection())

    def edits(gone: Any) -> Any:
        return of.edits(network, offer, gone)

    more = {"groups": offer.groups, "unit": of.ranks, "needs": method.needs, "edits": edits}
    return of, Gathered(network, data or lab.images(), lab.CrossEntropy(), **more)


@pytest.mark.parametrize("unit", ["layers", "filters"])
def test_ranks_of_all_parts_are_added_after_aggregation(lab: Any, unit: str) -> None:
    members = ["taylor", "magnitude(p=1)", "random", "bn"]
    method = criterion(f"ensemble({', '.join(members)})", unit)
    of, evidence = evidence_of(lab, method, unit)
    found = part_scores(method, of, evidence, evidence.groups)
    each = [part_scores(criterion(member, unit), of, evidence, evidence.groups) for member in members]
    names = list(found)
    assert names and all(set(scores) >= set(names) for scores in each)
    expected = sum(rankdata(torch.cat([scores[name].double() for name in names])) for scores in each)
    assert torch.cat([found[name] for name in names]).tolist() == pytest.approx(expected.tolist())


def test_equal_scores_share_the_mean_of_their_ranks() -> None:
    ensemble: Any = catalogue.find("criterion", "ensemble")
    scores = [{"a": torch.tensor([3.0, 1, 3]), "b": torch.tensor([[1.0], [0]])}]
    found = ensemble().combine(scores)
    assert found["a"].tolist() == [4.5, 2.5, 4.5] and found["b"].tolist() == [[2.5], [1.0]]


def test_single_weights_and_ensembles_of_ensembles(lab: Any) -> None:
    method = criterion("ensemble(magnitude, ensemble(taylor, random))")
    evidence = lab.gathered(lab.small(2), lab.images(), unit="element", needs=method.needs)
    found = score_elements(method, evidence)
    names = list(evidence.weights)

    def flat(scores: Any) -> Any:
        return torch.cat([scores[name].double().flatten() for name in names])

    plain = {name: flat(score_elements(criterion(name), evidence)) for name in ("magnitude", "taylor", "random")}
    inner = rankdata(plain["taylor"]) + rankdata(plain["random"])
    assert flat(found).tolist() == (rankdata(plain["magnitude"]) + rankdata(inner)).tolist()


class Counting:
    """Data that counts the batches read of each split."""

    def __init__(self, data: Any) -> None:
        self._data, self.read = data, {"train": 0, "val": 0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def batches(self, split: str, **more: Any) -> Iterator[Any]:
        for batch in self._data.batches(split, **more):
            self.read[split] += 1
            yield batch


@pytest.mark.parametrize(
    ("text", "unit", "train", "val"),
    [
        ("taylor", "layers", 3, 0),
        ("ensemble(taylor, features, bn_taylor, wanda, magnitude, bn, fpgm)", "filters", 3, 0),
        ("ensemble(taylor, features, imprint, probe)", "layers", 3, 2),
        ("ensemble(taylor, sparsegpt, ensemble(wanda, features))", "filters", 3, 0),
        ("ensemble(taylor, taylor(), snip)", "layers", 4, 0),  # one batch more, drawn
        ("ensemble(magnitude, fpgm)", "filters", 0, 0),
    ],
)
def test_any_number_of_criteria_cost_one_pass(lab: Any, text: str, unit: str, train: int, val: int) -> None:
    if "taylor()" in text:
        method = catalogue.find("criterion", "ensemble")((criterion("taylor"), criterion("snip")))  # type: ignore[misc]
    else:
        method = criterion(text, unit)
    data = Counting(lab.images())
    of, evidence = evidence_of(lab, method, unit, data)
    scores = part_scores(method, of, evidence, evidence.groups)
    assert data.read == {"train": train, "val": val}
    for member in getattr(method, "members", ()):  # and scores are those of each alone
        _, fresh = evidence_of(lab, member, unit)
        alone = part_scores(member, of, fresh, fresh.groups)
        assert set(alone) >= set(scores)
    again = part_scores(method, of, evidence_of(lab, method, unit)[1], evidence.groups)
    assert all(torch.equal(scores[name], again[name]) for name in scores)


def test_together_and_alone_criteria_give_the_same_scores(lab: Any) -> None:
    names = ["taylor", "features", "bn_taylor", "wanda", "sparsegpt"]
    seen: list[Any] = []
    ensemble: Any = catalogue.find("criterion", "ensemble")

    class Keeping(ensemble):  # type: ignore[misc]
        def combine(self, scores: Any) -> Any:
            seen.extend(scores)
            return super().combine(scores)

    method = Keeping(tuple(criterion(name, "filters") for name in names))
    of, evidence = evidence_of(lab, method, "filters")
    part_scores(method, of, evidence, evidence.groups)
    for name, together in zip(names, seen, strict=True):
        _, fresh = evidence_of(lab, criterion(name, "filters"), "filters")
        alone = part_scores(criterion(name, "filters"), of, fresh, fresh.groups)
        for group, scores in alone.items():
            torch.testing.assert_close(together[group], scores, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("prune 10% filters by ensemble(taylor, imprint)", "RCP0413", "its member imprint: it scores layers"),
        ("sparsify nm 2:4 by ensemble(bn, magnitude)", "RCP0413", "its member bn: it scores filters"),
        ("sparsify weights to 50% by ensemble(ablate, magnitude)", "RCP0413", "its member ablate: it scores parts"),
        ("prune 1 layers by ensemble(taylor, ensemble(fpgm, adam))", "RCP0203", "`adam` is an optimizer"),
        ("prune 1 layers by ensemble(taylor)", "RCP0307", "an ensemble of one criterion is that criterion"),
        ("prune 1 layers by ensemble(taylor, taylor)", "RCP0307", "a criterion appears twice"),
        ("prune 1 layers by ensemble(taylor, magnitude(p=3))", "RCP0303", "`p` of `magnitude` is 3"),
        ("prune 1 layers by ensemble(3, taylor)", "RCP0302", "`members` of `ensemble` must be a criterion"),
        ("task superresolution\nprune 1 layers by ensemble(taylor, imprint)", "RCP0437", "`imprint` is"),
    ],
)
def test_check_names_the_member_that_is_wrong(text: str, code: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(parse(text))
    found = {d.code: d.message for d in caught.value.diagnostics}
    assert code in found and said in found[code]


def test_it_is_written_formatted_and_keyed_with_its_members() -> None:
    text = "ensemble(taylor, magnitude(2), ensemble(bn, random))"
    method = criterion(text)
    assert spell(method) == text and method.unit == "filter"
    assert set(method.needs) == {"weights", "gradients", "labels", "batchnorm"}
    recipe = f"prune 1 layers by {text}\n"
    assert format(recipe) == recipe
    assert canonical(method) != canonical(criterion("ensemble(taylor, magnitude(p=1), ensemble(bn, random))"))
    assert canonical(method) == canonical(criterion("ensemble( taylor,magnitude(p=2), ensemble(bn, random) )"))


def test_what_a_member_cannot_score_is_not_ranked(lab: Any) -> None:
    method = criterion("ensemble(bn, magnitude)")
    module = lab.small(2)
    module[1].norm = torch.nn.Identity()
    of, evidence = evidence_of(lab, method, "layers", module=module)
    with pytest.raises(Refusal) as refusal:
        rank(method, Layers(), evidence, evidence.groups)
    assert refusal.value.code == "RCP1007"

"""Every criterion keeps the contract; weight criteria and rankings against naive sums and autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Group
from recipelang.kinds.evidence import NEEDED
from recipelang.methods.units._scores import filter_scores
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.listed import listed
from recipelang.scoring.ranking import score_elements
from recipelang.surgery.network import Network

CRITERIA = catalogue.names("criterion")
#: those that can rank layers
OF_LAYERS = [name for name in CRITERIA if "layers" not in getattr(catalogue.find("criterion", name), "unfit", {})]
#: those that draw random numbers batch by batch, or look at one batch, or train in batches
DRAWING = {"gaussian", "obd", "scop", "snip"}
NEEDS = {need for needs in NEEDED.values() for need in needs}


def criterion(name: str, **values: Any) -> Any:
    return catalogue.find("criterion", name)(**values)


def values(scores: Any) -> dict[str, Any]:
    return {name: score.tolist() for name, score in scores.items()}


@pytest.mark.parametrize("name", CRITERIA)
def test_cards_are_complete(name: str) -> None:
    found = catalogue.find("criterion", name)
    for heading in ("Formula:", "Shapes:", "Needs:", "When it misleads:", "Source:"):
        assert heading in catalogue.card(found), heading
    assert found.unit in ("element", "filter", "layer", "part", "any") and set(found.needs) <= NEEDS


FINE = [name for name in CRITERIA if catalogue.find("criterion", name).unit in ("element", "any")]


@pytest.mark.parametrize(("name", "unit"), [(n, "layer") for n in OF_LAYERS] + [(n, "element") for n in FINE])
def test_scores_are_finite_complete_and_repeatable(lab: Any, name: str, unit: str) -> None:
    method = criterion(name)

    def evidence() -> Gathered:
        return lab.gathered(lab.small(), lab.images(), unit=unit, seed=5, needs=method.needs)

    scores = method.score(listed(evidence(), method))
    shapes = {n: tuple(s.shape) for n, s in scores.items()}
    if method.unit in ("layer", "part") or (method.unit == "any" and unit == "layer"):
        assert shapes == dict.fromkeys(evidence().layers, ())
    elif method.unit == "filter":
        found = evidence().scales if "batchnorm" in method.needs else evidence().filters
        assert shapes and shapes.items() <= {n: (len(rows),) for n, rows in found.items()}.items()
    else:
        assert shapes == {n: tuple(w.shape) for n, w in evidence().weights.items()}
    assert all(bool(torch.isfinite(score).all()) for score in scores.values())
    assert values(scores) == values(method.score(evidence()))


@pytest.mark.parametrize("name", [name for name in CRITERIA if name not in DRAWING])
def test_the_order_of_batches_does_not_matter(lab: Any, name: str) -> None:
    data, turned = lab.images(), lab.images()
    for split, (images, labels) in turned.splits.items():
        turned.splits[split] = tuple(torch.cat(part.split(turned.batch)[::-1]) for part in (images, labels))
    method = criterion(name)
    there, back = (method.score(lab.gathered(lab.small(), d, needs=method.needs)) for d in (data, turned))
    for key, score in there.items():
        torch.testing.assert_close(back[key], score, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", OF_LAYERS)
def test_every_layer_is_ranked_once_the_least_important_first(lab: Any, name: str) -> None:
    method = criterion(name)
    evidence = lab.gathered(lab.small(4), lab.images(), needs=method.needs)
    ranking = lab.ranking(method, evidence)
    assert sorted(ranking) == sorted(evidence.layers)
    assert list(ranking.values()) == sorted(ranking.values())


@pytest.mark.parametrize("p", [1, 2, None])
def test_magnitude_of_a_layer_is_the_mean_norm_of_its_filters(lab: Any, p: int) -> None:
    module = lab.small(2)
    evidence = lab.gathered(module, lab.images())
    scores = lab.ranking(criterion("magnitude", **({"p": p} if p else {})), evidence)
    for block in "12":
        weight = module.get_parameter(f"{block}.conv.weight").detach()
        norms = [float(filter.norm(p or 2)) for filter in weight]  # Eq 5.1 of the thesis takes L2 norms
        assert scores[block] == pytest.approx(sum(norms) / len(norms), rel=1e-5)


def test_single_weights_are_ranked_by_their_absolute_values_unless_squares_are_asked_for(lab: Any) -> None:
    evidence = lab.gathered(lab.small(2), lab.images())
    plain, squares = (score_elements(criterion("magnitude", **p), evidence) for p in ({}, {"p": 2}))
    for name, weight in evidence.weights.items():
        torch.testing.assert_close(plain[name], weight.detach().abs())
        torch.testing.assert_close(squares[name], weight.detach() ** 2)


def test_taylor_of_a_layer_is_the_equation_of_the_thesis(lab: Any) -> None:
    """Eq 5.2, one batch: the mean over filters of ‖G ⊙ W‖₂, with autograd's G."""
    module, data = lab.small(2).eval(), lab.images()
    data.batch = 48
    scores = lab.ranking(criterion("taylor"), lab.gathered(module, data))
    images, labels = data.splits["train"]
    nn.functional.cross_entropy(module(images), labels).backward()
    for block in "12":
        weight = module.get_parameter(f"{block}.conv.weight")
        norms = [float((g * w).norm()) for g, w in zip(weight.grad, weight.detach(), strict=True)]
        assert scores[block] == pytest.approx(sum(norms) / len(norms), rel=1e-4)


def test_elements_are_summed_to_filters() -> None:
    scores = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert filter_scores(scores).tolist() == [66.0, 210.0]
    assert filter_scores(scores, 2).tolist() == pytest.approx([66**0.5, 210**0.5])


def test_filters_of_all_weights_of_a_layer_count_alike(lab: Any) -> None:
    class Two:
        unit, needs = "element", ()

        def score(self, evidence: Any) -> Any:
            return {"narrow": torch.ones(1, 5), "wide": torch.ones(3, 1)}

    class Evidence:
        groups = (Group("block", layers=("block",)),)
        layers = {"block": ("narrow", "wide")}
        outputs = {"narrow": 0, "wide": 0}
        weights = {"narrow": torch.ones(1, 5), "wide": torch.ones(3, 1)}

    assert lab.ranking(Two(), Evidence())["block"] == (5 + 1 + 1 + 1) / 4


def test_ties_go_by_position(lab: Any) -> None:
    class Same:
        unit, needs = "layer", ()

        def score(self, evidence: Any) -> Any:
            return {name: torch.tensor(0.5) for name in reversed(evidence.layers)}

    class Evidence:
        layers = dict.fromkeys(["z", "a", "m"], ())
        groups = tuple(map(Group, layers))

    assert list(lab.ranking(Same(), Evidence())) == ["z", "a", "m"]


def test_random_is_a_matter_of_seed_and_name_alone(lab: Any) -> None:
    def ranked(blocks: int, seed: int) -> dict[str, float]:
        evidence = lab.gathered(lab.small(blocks), lab.images(), seed=seed)
        return lab.ranking(criterion("random"), evidence)

    assert ranked(4, 0) != ranked(4, 1)
    assert ranked(3, 0).items() <= ranked(4, 0).items()
    evidence, state = lab.gathered(lab.small(3), lab.images()), torch.get_rng_state()
    lab.ranking(criterion("random"), evidence)
    assert torch.equal(state, torch.get_rng_state())


def test_random_elements_are_uniform(lab: Any) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 400))
    data = lab.images(classes=400, train=400)
    scores = score_elements(criterion("random"), lab.gathered(module, data, unit="element"))["1.weight"].flatten()
    assert float(scores.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(scores.var()) == pytest.approx(1 / 12, abs=0.003)


def test_importance_that_is_no_number_is_refused(lab: Any) -> None:
    module = lab.small(2)
    with torch.no_grad():
        module[2].conv.weight[0, 0, 0, 0] = float("nan")
    evidence = lab.gathered(lab.small(2), lab.images())
    broken = Gathered(Network(module, {}, (1, 8, 8)), lab.images(), lab.CrossEntropy(), evidence.groups)
    for rank in (lab.ranking, score_elements):
        with pytest.raises(Refusal, match="`2") as refusal:
            rank(criterion("magnitude"), broken)
        assert refusal.value.code == "RCP1006"


def test_layers_without_weights_and_criteria_without_elements_are_refused(lab: Any) -> None:
    class Evidence:
        layers = {"norm_only": ()}
        groups = (Group("norm_only"),)
        weights: dict[str, torch.Tensor] = {}

    for call in (
        lambda: lab.ranking(criterion("magnitude"), Evidence()),
        lambda: score_elements(criterion("imprint"), lab.gathered(lab.small(2), lab.images())),
    ):
        with pytest.raises(Refusal) as refusal:
            call()
        assert refusal.value.code == "RCP1007"

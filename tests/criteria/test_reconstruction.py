"""`thinet` and `lasso`: contributions against what readers make of each channel alone, and least squares.

The references mask weights and run the layers; nothing of them knows second moments.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from coupled_networks import NETWORKS, halves, made_of_parts, network, seen, without_bias
from coupled_networks import entering as calls_of
from torch import Tensor
from torch.nn import functional as F

from recipelang.budgets.removal import Removal
from recipelang.measuring import reconstructing
from recipelang.measuring.reconstructing import contributions, reconstructed
from recipelang.methods.criteria.lasso import _entries
from recipelang.methods.criteria.thinet import _errors
from recipelang.scoring.ranking import RemovalStep

REBUILDING = ("thinet", "lasso")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reader counts as one with too many inputs; all of its rows and outputs are drawn."""
    monkeypatch.setattr(reconstructing, "LARGEST", 0)
    monkeypatch.setattr(reconstructing, "ROWS", 100_000)


def naive(net: Any, group: Any, images: Tensor) -> Tensor:
    """N×N: the products of what each reader makes of every part, relative to the energy of its outputs; the mean."""
    found = []
    for place in group.source.at("reads"):
        made = made_of_parts(net, place, images)
        found.append(made @ made.T / energy(net, place, images))
    return torch.stack(found).mean(0)


def energy(net: Any, place: Any, images: Tensor) -> Tensor:
    """The sum of the squares of all that a reader makes, without its bias."""
    path = place.name.rpartition(".")[0]
    module: Any = net.module.get_submodule(path)
    calls = [without_bias(module, module.weight.detach(), x).flatten() for x in calls_of(net, path, images)]
    return torch.cat(calls).double().square().sum()


@pytest.mark.parametrize("name", NETWORKS)
def test_contributions_are_what_readers_make_of_each_channel_alone(lab: Any, name: str) -> None:
    data = lab.images()
    net, _, offer, _, evidence = seen(name, "thinet", data)
    found = contributions(evidence)
    assert set(found) == {group.name for group in offer.groups}
    for group in offer.groups:
        torch.testing.assert_close(
            found[group.name].products, naive(net, group, data.splits["train"][0]), rtol=1e-4, atol=1e-6
        )


@pytest.mark.usefixtures("small_limit")
def test_a_sample_of_rows_stands_for_moments_of_many_inputs(lab: Any) -> None:
    data = lab.images()
    net, _, offer, _, evidence = seen("flattened", "thinet", data)
    for group in offer.groups:
        expected = naive(net, group, data.splits["train"][0])
        torch.testing.assert_close(contributions(evidence)[group.name].products, expected, rtol=1e-4, atol=1e-6)


def greedy(made: Tensor) -> list[tuple[int, float]]:
    """The paper's algorithm 1 on N×numbers: (channel, squared error with it removed too), in order of removal."""
    gone: list[int] = []
    found = []
    while len(gone) < len(made):
        errors = {j: float(made[[*gone, j]].sum(0).square().sum()) for j in range(len(made)) if j not in gone}
        best = min(errors, key=errors.__getitem__)
        gone.append(best)
        found.append((best, errors[best]))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_thinet_is_the_papers_greedy_search(lab: Any, name: str) -> None:
    """For groups with one reader: the order, and errors relative to the energy of the outputs."""
    data = lab.images()
    net, _, offer, criterion, evidence = seen(name, "thinet", data)
    scores = criterion.score(evidence)
    for group in (group for group in offer.groups if len(group.source.at("reads")) == 1):
        made = made_of_parts(net, group.source.at("reads")[0], data.splits["train"][0])
        steps = greedy(made)
        order = scores[group.name].argsort().tolist()
        assert order == [part for part, _ in steps]
        worst = torch.tensor([error for _, error in steps]).cummax(0).values
        worst = worst / energy(net, group.source.at("reads")[0], data.splits["train"][0])
        torch.testing.assert_close(scores[group.name][order].float(), worst.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_search_against_all_subsets(seed: int) -> None:
    """The first channel is the best of all; a set is never better than the best of its size, and mostly it is that."""
    made = torch.randn(6, 40, generator=torch.Generator().manual_seed(seed)).double()
    made = made + made[:1]
    order = _errors(made @ made.T).argsort().tolist()
    found = 0
    for size in range(1, 6):
        best = min(float(made[list(parts)].sum(0).square().sum()) for parts in combinations(range(6), size))
        mine = float(made[order[:size]].sum(0).square().sum())
        assert mine >= best - 1e-9 and (size > 1 or mine == pytest.approx(best))
        found += mine == pytest.approx(best)
    assert found >= 2


def test_thinet_of_channels_that_cancel() -> None:
    """z = (1, −1, 3): without the first the error is 1, with the second as well 0, which stays at 1; then 9."""
    made = torch.tensor([[1.0], [-1.0], [3.0]]).double()
    assert _errors(made @ made.T).tolist() == pytest.approx([1, 1, 9])
    assert _errors(made @ made.T).argsort().tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "residual"])
def test_lasso_keeps_the_channels_of_coordinate_descent(lab: Any, name: str) -> None:
    """scikit-learn's `Lasso` on all rows, at some λ between two changes of the path."""
    from sklearn.linear_model import Lasso

    data = lab.images(train=16)
    net, _, offer, criterion, evidence = seen(name, "lasso", data)
    scores = criterion.score(evidence)
    for group in (group for group in offer.groups if len(group.source.at("reads")) == 1):
        place = group.source.at("reads")[0]
        made = made_of_parts(net, place, data.splits["train"][0])
        whole = made.sum(0)
        weight = net.module.get_parameter(place.name).detach()
        sizes = [float(weight.index_select(place.axis, torch.tensor(each)).norm()) for each in place.positions]
        design = (made / torch.tensor(sizes)[:, None]).T.numpy()
        target = (whole / energy(net, place, data.splits["train"][0]).sqrt()).numpy()
        entries = scores[group.name].sort(descending=True).values
        for count in range(1, int((entries > 0).sum())):  # what is always silent never enters
            between = float((entries[count - 1] * entries[count]).sqrt())
            scale = between * _raw(evidence, place.name) / len(target)
            fitted = Lasso(alpha=scale, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(design, target)
            kept = {k for k, beta in enumerate(fitted.coef_) if abs(beta) > 1e-7}
            assert kept == {k for k, score in enumerate(scores[group.name]) if score > between}, count


def _raw(evidence: Any, name: str) -> float:
    """√(rows/2) of a reader: its moments are 2/rows · XᵀX."""
    ((rows, _),) = evidence.reconstructions([name], 10**6).values()
    return float((rows.shape[1] / 2) ** 0.5)


def test_lasso_of_equal_channels_keeps_one() -> None:
    """z = (1, 1, 0): one of the first two enters, the other and what adds nothing never do."""
    made = torch.tensor([[1.0], [1.0], [0.0]]).double()
    scores = _entries(made @ made.T / 4, torch.tensor([1.0, 1.0, 1.0]).double())
    assert sorted(scores.tolist()) == pytest.approx([0, 0, 0.5])
    assert scores[2] == 0


def test_lasso_of_many_channels_lets_all_of_them_enter() -> None:
    made = torch.randn(700, 1500, generator=torch.Generator().manual_seed(0)).double().relu()
    assert bool((_entries(made @ made.T / 1e6, torch.ones(700).double()) > 0).all())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("criterion", REBUILDING)
def test_a_correction_never_makes_the_next_layer_worse(lab: Any, name: str, criterion: str) -> None:
    """‖y − y′‖ of every reader with and without the correction, on the images that it was made from."""
    data = lab.images()
    net, _, offer, method, evidence = seen(name, criterion, data)
    gone, images = halves(offer), data.splits["train"][0]
    values = method.compensate(evidence, gone)
    places = [(group, place) for group in offer.groups for place in group.source.at("reads")]
    assert set(values) == {place.name for _, place in places}
    better = 0
    for weight_name in values:
        path = weight_name.rpartition(".")[0]
        module: Any = net.module.get_submodule(path)
        old, new = module.weight.detach(), values[weight_name].clone()
        plain = old.clone()
        for group, place in places:
            if place.name == weight_name:
                where = torch.tensor([k for part in gone[group.name] for k in place.positions[part]])
                for weight in (plain, new):
                    weight.index_fill_(place.axis, where, 0)
        calls = calls_of(net, path, images)
        errors = [
            sum(
                float((without_bias(module, old, x) - without_bias(module, w, x)).double().square().sum())
                for x in calls
            )
            for w in (plain, new)
        ]
        assert errors[1] <= errors[0] * (1 + 1e-5)
        better += errors[1] < 0.98 * errors[0]
    assert better or criterion == "thinet", "and for some it helps"


def test_lasso_is_least_squares_on_all_rows(lab: Any) -> None:
    """Almost no damping: what torch's solver finds on the unfolded inputs of a convolution."""
    data = lab.images()
    net, _, _, _, evidence = seen("residual", "lasso", data)
    found = reconstructed(evidence, {"inner": [0, 3]}, damp=1e-12)
    assert set(found) == {"last.weight"}
    x = calls_of(net, "last", data.splits["train"][0])[0]
    rows = F.unfold(x, 1).movedim(1, -1).flatten(0, 1).double()
    old = net.module.get_parameter("last.weight").detach().flatten(1).double()
    stays = [1, 2, 4, 5]
    best = torch.linalg.lstsq(rows[:, stays], rows @ old.T).solution
    mine = found["last.weight"].flatten(1)[:, stays].double()
    torch.testing.assert_close(rows[:, stays] @ mine.T, rows[:, stays] @ best, rtol=1e-3, atol=1e-4)


def test_thinet_factors_are_least_squares_on_contributions(lab: Any) -> None:
    """Eq 7 for a weight that reads two groups: one factor for each channel that stays, of both."""
    data = lab.images()
    net, _, offer, method, evidence = seen("concatenated", "thinet", data, damp=1e-9)
    gone = {"left": [1], "right": [0, 2]}
    found = method.compensate(evidence, gone)["both.weight"]
    (left,), (right,) = (group.source.at("reads") for group in offer.groups if group.name in gone)
    made = torch.cat([made_of_parts(net, place, data.splits["train"][0]) for place in (left, right)])
    stays = [0, 2, 3, 5, 7, 8]
    factors = torch.linalg.lstsq(made[stays].T, made.sum(0)[:, None]).solution[:, 0]
    old = net.module.get_parameter("both.weight").detach()
    expected = old[:, stays] * factors[:, None, None].float()
    torch.testing.assert_close(found[:, stays], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("small_limit")
def test_corrections_from_rows_are_those_from_moments(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lab.images()
    for name in ("flattened", "residual"):
        _, _, offer, method, evidence = seen(name, "lasso", data)
        sampled = method.compensate(evidence, halves(offer))
        with monkeypatch.context() as patch:
            patch.setattr(reconstructing, "LARGEST", 8192)
            exact = method.compensate(evidence, halves(offer))
        for weight, value in exact.items():
            torch.testing.assert_close(sampled[weight], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("criterion", (*REBUILDING, "similarity"))
def test_the_removal_is_exact_in_the_corrected_network(lab: Any, name: str, criterion: str) -> None:
    """Parity is that of zeros in the corrected network; and it differs from the network without corrections."""
    net, unit, offer, method, evidence = seen(name, criterion, lab.images())
    steps = [RemovalStep(group, tuple(parts), 0.0) for group, parts in halves(offer).items()]
    made, stays = Removal(net, unit, offer, method, evidence).made(steps)
    plain = Removal(net, unit, offer, object(), evidence).made(steps)[0]  # type: ignore[arg-type]
    assert not stays
    images = lab.images().splits["val"][0]
    with torch.no_grad():
        assert not torch.allclose(made.module(images), plain.module(images))


def test_readers_that_are_always_silent_say_nothing(lab: Any) -> None:
    net = network("residual")
    with torch.no_grad():
        net.module.get_parameter("last.weight").zero_()
    _, _, offer, method, evidence = seen("residual", "thinet", lab.images(), net)
    assert set(method.score(evidence)) == {"stem"}
    assert all(bool(value.isfinite().all()) for value in method.compensate(evidence, halves(offer)).values())

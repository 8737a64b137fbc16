"""`pfp`: sensitivities of a network by brute force, draws, corrected weights, and the bound in the record."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.methods.criteria.pfp import PFP
from recipelang.surgery.network import Network


def reading(module: nn.Module, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Group → what its reader is given as n×K×…, and its weight O×I×kernel."""
    with torch.no_grad():
        one = module.first(images).relu()
        two = module.second(one).relu().mean((2, 3))
    return {"first": (one, module.second.weight.detach()), "second": (two, module.head.weight.detach())}


def shares(maps: Tensor, weight: Tensor) -> list[float]:
    """Definition 1 with a convolution for each channel and sign: all rows, whatever was drawn."""
    conv = weight.ndim > 2
    found = []
    for sign in (1, -1):
        positive = (sign * weight).clamp_min(0)
        whole = nn.functional.conv2d(maps, positive, padding=1) if conv else maps @ positive.T
        for part in range(maps.shape[1]):
            alone = torch.zeros_like(maps)
            alone[:, part] = maps[:, part]
            own = nn.functional.conv2d(alone, positive, padding=1) if conv else alone @ positive.T
            found.append(float(torch.where(whole > 0, own / whole, 0).max()))
    parts = maps.shape[1]
    return [max(found[k], found[k + parts]) for k in range(parts)]


def test_sensitivities_of_a_network_by_brute_force(learned: Any) -> None:
    """With as many rows as there are; activations after a ReLU are not negative, as in the paper."""
    net, data = learned.plain(), learned.images()
    criterion = PFP(draw="top", rows=48 * 64)
    found = criterion.score(learned.evidence(net, data, criterion))
    for group, (maps, weight) in reading(net.module, data.splits["train"][0]).items():
        assert found[group].tolist() == pytest.approx(shares(maps, weight), rel=1e-4), group


def test_parts_are_drawn_by_their_sensitivity(learned: Any) -> None:
    """The channel that is kept first is channel j with probability s_j / Σ s."""
    net, data = learned.plain(), learned.images()
    top = PFP(draw="top").score(learned.evidence(net, data, PFP()))["second"]
    chance = (top / top.sum()).tolist()
    evidence = learned.evidence(net, data, PFP())
    random = torch.Generator().manual_seed(0)
    first = [int((top / torch.empty(6).exponential_(generator=random)).argmax()) for _ in range(4000)]
    assert [first.count(k) / 4000 for k in range(6)] == pytest.approx(chance, abs=0.03)
    drawn = PFP().score(evidence)["second"]
    assert torch.equal(drawn, PFP().score(evidence)["second"]), "a step that starts again draws the same"
    other = PFP().score(learned.evidence(net, data, PFP(), seed=1))["second"]
    assert not torch.equal(drawn, other)


def test_a_channel_that_nothing_reads_goes_first(learned: Any) -> None:
    net, data = learned.plain(), learned.images()
    with torch.no_grad():
        net.module.second.weight[:, 2] = 0
    for draw in ("random", "top"):
        scores = PFP(draw=draw).score(learned.evidence(net, data, PFP()))["first"]
        assert int(scores.argmin()) == 2
        assert scores[2] == 0


def test_weights_that_stay_are_divided_by_the_chance_of_being_drawn(learned: Any) -> None:
    net, data = learned.plain(), learned.images()
    evidence = learned.evidence(net, data, PFP())
    scores, top = PFP().score(evidence)["first"], PFP(draw="top").score(evidence)["first"]
    gone = scores.argsort()[:3].tolist()
    values = PFP().compensate(evidence, {"first": gone})
    assert set(values) == {"second.weight"}
    chance = 1 - torch.exp(-top / scores[gone].max())
    for part in set(range(8)) - set(gone):
        assert torch.allclose(values["second.weight"][:, part], net.module.second.weight[:, part] / chance[part])
    assert PFP(draw="top").compensate(evidence, {"first": gone}) == {}


def test_the_bound_of_what_is_removed_holds_on_the_rows_seen(learned: Any) -> None:
    """Without drawing: no sum changes by more than the bound times its absolute terms, and the record says it."""
    net, data = learned.plain(), learned.images()
    criterion = PFP(draw="top", rows=48 * 64)
    evidence = learned.evidence(net, data, criterion)
    scores = criterion.score(evidence)
    for group, (maps, weight) in reading(net.module, data.splits["train"][0]).items():
        gone = scores[group].argsort()[:2].tolist()
        bound = criterion.bounds(evidence, {group: gone}, unseen=1)[group]
        assert bound == pytest.approx(float(scores[group][gone].sum()))
        cut = weight.clone()
        cut[:, gone] = 0

        def product(w: Tensor, maps: Tensor = maps) -> Tensor:
            return nn.functional.conv2d(maps, w, padding=1) if w.ndim > 2 else maps @ w.T

        assert bool(((product(weight) - product(cut)).abs() <= bound * product(weight.abs()) + 1e-5).all())
    gone = {group: scores[group].argsort()[:2].tolist() for group in scores}
    said = criterion.remark(evidence, gone)
    worst = max(criterion.bounds(evidence, gone).values())
    assert said.startswith(f"error bound {worst:.2g} at ")
    assert criterion.remark(evidence, {}) == ""


class Wide(nn.Module):
    """Enough channels that drawing half of them has a bound below 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 1024), nn.Linear(1024, 4)
        nn.init.uniform_(self.head.weight, 0.9, 1.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x.flatten(1)).sigmoid())


def test_the_bound_of_what_is_drawn_holds_with_corrected_weights(learned: Any) -> None:
    """Over many seeds, the sums of a network that reads half of its channels are outside the bound at most δ of the
    time; on the rows seen (C = 1)."""
    from recipelang.methods.units.neurons import Neurons

    torch.manual_seed(0)
    net, data = Network(Wide().eval(), {}, (1, 8, 8)), learned.images()
    failed = 0
    with torch.no_grad():
        maps = net.module.first(data.splits["train"][0].flatten(1)).sigmoid()
    whole = maps @ net.module.head.weight.detach().T
    for seed in range(30):
        criterion = PFP(delta=0.1)
        evidence = learned.evidence(net, data, criterion, Neurons(round=1), seed=seed)
        gone = {"first": criterion.score(evidence)["first"].argsort()[:512].tolist()}
        bound = criterion.bounds(evidence, gone, unseen=1)["first"]
        assert bound < 1
        weight = criterion.compensate(evidence, gone)["head.weight"].clone()
        weight[:, gone["first"]] = 0
        failed += bool(((maps @ weight.T - whole).abs() > bound * whole).any())
    assert failed <= 3

"""`similarity`: the paper's algorithm written naively; and where channels are equal nothing changes at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from coupled_networks import NETWORKS, network, seen
from torch import Tensor, nn

from recipelang.budgets.removal import Removal
from recipelang.methods.criteria.similarity import _heirs, _saliencies
from recipelang.scoring.ranking import RemovalStep
from recipelang.surgery.network import Network


def papers(weights: Tensor, reading: Tensor) -> list[tuple[int, int, float]]:
    """Srinivas and Babu, section 3.3, pair by pair: (j removed, its heir i, s_ij), in the order of removal."""
    a, left, found = reading.clone().double(), list(range(len(weights))), []
    while len(left) > 1:
        pairs = {
            (i, j): float(a[j].square().mean() * (weights[i] - weights[j]).double().square().sum())
            for i in left
            for j in left
            if i != j
        }
        heir, gone = min(pairs, key=pairs.__getitem__)
        a[heir] += a[gone]
        left.remove(gone)
        found.append((gone, heir, pairs[heir, gone]))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_against_the_papers_algorithm(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights, reading = torch.randn(7, 3, generator=generator), torch.randn(7, 4, generator=generator)
    steps = papers(weights, reading)
    distances = torch.cdist(weights.double(), weights.double()).square().fill_diagonal_(torch.inf)
    scores = _saliencies(distances, reading.double() @ reading.double().T / 4)
    order = scores.sort(stable=True).indices.tolist()
    assert order[:-1] == [gone for gone, _, _ in steps][: len(order) - 1]
    worst = torch.tensor([saliency for _, _, saliency in steps]).double().cummax(0).values
    torch.testing.assert_close(scores[order[:-1]], worst, rtol=1e-6, atol=1e-12)
    assert _heirs(distances, order[:-1]) == [(gone, heir) for gone, heir, _ in steps]


def test_by_hand() -> None:
    """On a line at 0, 1 and 4, read with 2, 1 and 1: s of (0, 1) is 1·1 for removing 1, 4·1 for removing 0."""
    weights, reading = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[2.0], [1.0], [1.0]])
    assert papers(weights, reading) == [(1, 0, 1.0), (2, 0, 16.0)]
    distances = (weights - weights.T).double().square().fill_diagonal_(torch.inf)
    scores = _saliencies(distances, (reading @ reading.T).double())
    assert scores.tolist() == pytest.approx([16, 1, 16]) and scores.argmin() == 1


def duplicated(net: Network, group: Any, source: int, copy: int) -> None:
    """Makes one channel equal to another in everything that makes, scales, shifts or holds it."""
    tensors = {**dict(net.module.named_parameters()), **dict(net.module.named_buffers())}
    with torch.no_grad():
        for place in group.source.places:
            if place.role != "reads" and place.name in tensors:
                rows = tensors[place.name].movedim(place.axis, 0)
                rows[list(place.positions[copy])] = rows[list(place.positions[source])].clone()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_channel_that_exists_twice_goes_first_and_nothing_changes(lab: Any, name: str) -> None:
    """In every group one channel equals another; both weights that read them differ, and are added."""
    net = network(name)
    _, _, offer, _, _ = seen(name, "similarity", lab.images(), net)
    for group in offer.groups:
        duplicated(net, group, 1, 3)
    net, unit, offer, method, evidence = seen(name, "similarity", lab.images(), net)
    scores = method.score(evidence)
    steps = []
    for group in offer.groups:
        first = int(scores[group.name].argmin())
        assert first in (1, 3), group.name
        steps.append(RemovalStep(group.name, (first,), 0.0))
    made, stays = Removal(net, unit, offer, method, evidence).made(steps)
    images = lab.images().splits["val"][0]
    with torch.no_grad():
        assert not stays
        torch.testing.assert_close(made.module(images), net.module(images), rtol=1e-4, atol=1e-5)


def test_batchnorm_is_a_part_of_the_weight(lab: Any) -> None:
    """Rows in proportion 1 : 2 with γ that undoes it are one channel, although their weights differ."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()
    )
    net = Network(nn.Sequential(*module, nn.Linear(32, 4)).eval(), {}, (1, 8, 8))
    conv, norm = net.module[0], net.module[1]  # type: ignore[index]
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        conv.weight[2] = 2 * conv.weight[0]
        norm.running_var[2] = norm.running_var[0]
        norm.weight[2] = norm.weight[0] / 2
        norm.running_mean[2] = 2 * norm.running_mean[0]
        norm.bias[2] = norm.bias[0]
    *_, offer, method, evidence = seen("residual", "similarity", lab.images(), net)
    rows = evidence.effective["0"]
    torch.testing.assert_close(rows[0], rows[2])
    assert int(method.score(evidence)["0"].argmin()) in (0, 2)


@pytest.mark.parametrize("name", ["before_norm", "residual"])
def test_what_reads_through_several_norms_sees_a_channel_through_each(lab: Any, name: str) -> None:
    """A γ of one norm on a sum that differs makes two channels different, though all else is equal."""
    net = network(name)
    *_, offer, _, _ = seen(name, "similarity", lab.images(), net)
    group = next(group for group in offer.groups if group.name == "stem")
    duplicated(net, group, 1, 3)
    same = seen(name, "similarity", lab.images(), net)[4].effective["stem"]
    torch.testing.assert_close(same[1], same[3])
    norm = net.module.get_submodule("final" if name == "before_norm" else "last_norm")
    with torch.no_grad():
        norm.weight[3] += 1  # type: ignore[index,operator]
    other = seen(name, "similarity", lab.images(), net)[4].effective["stem"]
    assert float((other[1] - other[3]).norm()) > 0.1

"""`hrank`: ranks of maps by numpy's singular values, image by image, where layers read them."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from coupled_networks import NETWORKS, UNITS, entering, seen
from torch import Tensor, nn

from recipelang.methods.criteria.hrank import HRank, _matrices
from recipelang.surgery.network import Network

MAPS = [name for name in NETWORKS if name not in UNITS]


def rank_of(matrix: Tensor) -> int:
    """Singular values above max(H, W) · ε · the largest, by numpy."""
    values = numpy.linalg.svd(matrix.numpy(), compute_uv=False)
    return int((values > values[0] * max(matrix.shape) * numpy.finfo(numpy.float32).eps).sum())


def naive(net: Network, group: Any, images: Tensor) -> list[float] | None:
    """The mean over readers, images and maps of each part; None where no reader is given maps."""
    found: list[list[float]] = []
    for place in group.source.at("reads"):
        for maps in entering(net, place.name.rpartition(".")[0], images):
            if maps.ndim == 2 and len(place.positions[0]) == 9:  # a flatten of 3×3
                found.append(
                    [sum(rank_of(image[list(p)].reshape(3, 3)) for image in maps) / len(maps) for p in place.positions]
                )
            elif maps.ndim == 4 and maps[0, 0].numel() > 1:
                of_parts = [[rank_of(image[k]) for image in maps for k in p] for p in place.positions]
                found.append([sum(ranks) / len(ranks) for ranks in of_parts])
    return torch.tensor(found).mean(0).tolist() if found else None


@pytest.mark.parametrize("name", MAPS)
def test_against_numpy_where_layers_read(lab: Any, name: str) -> None:
    data = lab.images(train=6)
    net, _, offer, method, evidence = seen(name, "hrank", data)
    found = method.score(evidence)
    for group in offer.groups:
        expected = naive(net, group, data.splits["train"][0])
        assert (group.name in found) == (expected is not None)
        if expected is not None:
            assert found[group.name].tolist() == pytest.approx(expected)


def test_ranks_by_hand(lab: Any) -> None:
    """A filter that adds a row to itself, one that copies, one that is silent: rank 1, full rank, 0."""
    images = torch.eye(8)[None, None].repeat(4, 1, 1, 1)
    data = lab.Images({split: (images, torch.arange(4)) for split in ("train", "val", "test")}, 4)
    module = nn.Sequential(
        nn.Conv2d(1, 3, (1, 1), bias=False), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        module[0].weight[:, 0, 0, 0] = torch.tensor([0.0, 2.0, 0.5])
    *_, method, evidence = seen("residual", "hrank", data, Network(module.eval(), {}, (1, 8, 8)))
    assert method.score(evidence)["0"].tolist() == [0, 8, 8]
    constant = images * 0 + 1
    ones = lab.Images({split: (constant, torch.arange(4)) for split in ("train", "val", "test")}, 4)
    *_, method, evidence = seen("residual", "hrank", ones, Network(module.eval(), {}, (1, 8, 8)))
    assert method.score(evidence)["0"].tolist() == [0, 1, 1]


def test_layers_are_ranked_by_the_maps_of_their_convolutions(lab: Any) -> None:
    module, data = lab.small(2), lab.images(train=5)
    scores = lab.ranking(HRank(), lab.gathered(module, data))
    with torch.no_grad():
        x = module[0](data.splits["train"][0])
        for block in "12":
            made = module[int(block)].conv(module[int(block)].norm.eval()(x).relu())
            expected = sum(rank_of(m) for image in made for m in image) / (5 * 6)
            assert scores[block] == pytest.approx(expected)
            x = x + made


def test_what_is_a_matrix() -> None:
    assert _matrices(torch.zeros(2, 3, 1, 4, 5)) is not None
    assert _matrices(torch.zeros(2, 3, 9, 1)).shape == (2, 3, 1, 3, 3)  # type: ignore[union-attr]
    for shape in ((2, 3, 8, 1), (2, 3, 1, 1), (2, 3, 4, 7), (2, 3, 1, 1, 1)):
        assert _matrices(torch.zeros(*shape)) is None

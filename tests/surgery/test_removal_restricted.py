"""Masks and grids when channels leave: cut as their weights are, or the removal is refused."""

from __future__ import annotations

import pytest
import torch

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable
from recipelang.surgery.removal import remove_channels
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask


def test_masks_are_cut_along(digits: Network) -> None:
    weight = digits.module.layer1[0].conv1.weight
    keep = torch.rand(weight.shape) > 0.5
    mask = Mask("unstructured", keep)
    with torch.no_grad():
        weight.masked_fill_(~keep, 0)
    digits = digits.restricted({"layer1.0.conv1.weight": mask})
    found = find_removable(digits)
    removed = remove_channels(digits, found, {"conv1": [0, 5], "layer1.0.conv1": [3]})
    rows, columns = [k for k in range(16) if k != 3], [k for k in range(16) if k not in (0, 5)]
    cut = removed.network.masks["layer1.0.conv1.weight"]
    assert cut.pattern == "unstructured" and torch.equal(cut.keep, keep[rows][:, columns])
    assert digits.masks["layer1.0.conv1.weight"] is mask


def test_a_mask_that_leaves_its_pattern_is_refused(digits: Network) -> None:
    """2:4 along the input channels: whole groups of four may be removed, others not; output channels always."""
    weight = digits.module.layer1[0].conv2.weight
    keep = torch.zeros(weight.shape, dtype=torch.bool)
    keep[:, [0, 1, 6, 7, 8, 9, 12, 13]] = True
    with torch.no_grad():
        weight.masked_fill_(~keep, 0)
    digits = digits.restricted({"layer1.0.conv2.weight": Mask("2:4", keep)})
    found = find_removable(digits)
    inner = "layer1.0.conv1"
    whole = remove_channels(digits, found, {inner: [4, 5, 6, 7], "conv1": [2]}).network
    assert whole.masks["layer1.0.conv2.weight"].keep.shape == (15, 12, 3, 3)
    for gone, why in (([2, 3, 4, 5], "more than 2 of 4"), ([0], "not a multiple of 4")):
        with pytest.raises(Refusal, match=why) as caught:
            remove_channels(digits, found, {inner: gone})
        assert caught.value.code == "RCP0756"


def test_grids_are_cut_along(digits: Network) -> None:
    """Every remaining filter keeps its own scale, and so its rounded weights."""
    name = "layer1.0.conv1.weight"
    weight = digits.module.get_parameter(name).detach()
    rows = weight.flatten(1)
    grid = Grid.between(rows.amin(1), rows.amax(1), Scheme(8, signed=True, symmetric=True, axis=0))
    quantized = digits.restricted({name: grid})
    removed = remove_channels(quantized, find_removable(quantized), {"conv1": [0, 5], "layer1.0.conv1": [3]}).network
    (cut,) = removed.restrictions[name]
    kept, columns = [k for k in range(16) if k != 3], [k for k in range(16) if k not in (0, 5)]
    assert torch.equal(cut.apply(removed.module.get_parameter(name).detach()), grid.apply(weight)[kept][:, columns])

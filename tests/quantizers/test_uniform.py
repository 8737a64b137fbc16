"""Which quantizers give weights a uniform grid, as rounders ask: what they say is what they do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.methods.patterns.nm import NM
from recipelang.surgery.masks import eligible, require_room
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import weight_grids
from recipelang.surgery.restrictions.codebook import Codebook

ALL: dict[str, Any] = {name: catalogue.find("quantizer", name) for name in catalogue.names("quantizer")}
NAMES = [name for name, quantizer in ALL.items() if "weights" in quantizer.parts]


def network() -> Network:
    torch.manual_seed(0)
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).eval(), {}, (1, 4, 4))


@pytest.mark.parametrize("name", NAMES)
def test_uniform_says_whether_weights_get_grids(name: str) -> None:
    quantizer = ALL[name]()
    if quantizer.needs == "loss":
        assert quantizer.uniform, "it decides about all places together, and about ranges"
        return
    for bits in (quantizer.bits[0], quantizer.bits[-1]):
        grids = weight_grids(network(), {"1.weight": 0}, bits, quantizer)
        assert (grids["1.weight"].kind == "grid") == quantizer.uniform


def test_masks_are_refused_on_levels_without_zero_and_not_on_others() -> None:
    for levels, refused in (((-1.0, 1.0), True), ((-1.0, 0.0, 1.0), False)):
        start = network().restricted({"1.weight": Codebook.of(torch.tensor(levels))})
        names, _ = eligible(start, NM())
        try:
            require_room(start, NM(), names)
            assert not refused
        except Refusal as refusal:
            assert refused and refusal.code == "RCP1454" and "`1.weight` has 2 levels" in refusal.message

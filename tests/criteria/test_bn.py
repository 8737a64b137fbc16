"""`bn` worked out by hand, for channels that several BatchNorms scale and for layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.methods.criteria.bn import BatchNormScale


def test_by_hand() -> None:
    """One BatchNorm: |γ|; two: the mean, (|0.5| + |−1.5|)/2 = 1 and (2 + 0)/2 = 1."""
    scales = {"one": torch.tensor([[-0.5], [2.0]]), "two": torch.tensor([[0.5, -1.5], [2.0, 0.0]])}
    evidence: Any = SimpleNamespace(scales=scales)
    scores = {name: score.tolist() for name, score in BatchNormScale().score(evidence).items()}
    assert scores == {"one": [0.5, 2.0], "two": [1.0, 1.0]}


def test_layers_take_the_mean_over_their_batchnorms(lab: Any) -> None:
    module = lab.small(2)
    with torch.no_grad():
        module[1].norm.weight.copy_(torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0, -6.0]))
    scores = lab.ranking(BatchNormScale(), lab.gathered(module, lab.images()))
    assert scores == {"2": 1.0, "1": 3.5}


def test_a_layer_without_batchnorm_is_refused(lab: Any) -> None:
    module = lab.small(2)
    module[2].norm = nn.GroupNorm(2, 6)
    with pytest.raises(Refusal, match="`2` has no BatchNorm") as refusal:
        lab.ranking(BatchNormScale(), lab.gathered(module, lab.images()))
    assert refusal.value.code == "RCP1007"


def test_scales_are_those_of_batchnorms_that_have_one(lab: Any) -> None:
    module = lab.small(1)
    module.insert(1, nn.BatchNorm2d(6, affine=False))
    module.insert(2, nn.GroupNorm(2, 6))
    scales = lab.gathered(module, lab.images()).scales
    assert {name: tuple(scale.shape) for name, scale in scales.items()} == {"3.norm.weight": (6, 1)}

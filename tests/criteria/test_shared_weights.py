"""Layers that share a weight are ranked by it, each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.data.digits import Digits
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.layers import as_group
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input
from recipelang.surgery.trial import survey


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 16), nn.Linear(16, 10)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.layers[2].weight = self.layers[0].weight

    def forward(self, x: Any) -> Any:
        x = self.first(x.flatten(1))
        for layer in self.layers:
            x = x + layer(x).relu()
        return self.head(x)


def test_layers_that_share_a_weight_have_one_score(lab: Any) -> None:
    network = Network(Tied().eval(), {}, (1, 8, 8), classes=tuple("0123456789"))
    layers = survey(network.module, example_input(network)).layers
    assert [layer.name for layer in layers] == [f"layers.{k}" for k in range(3)]
    evidence = Gathered(network, Digits().open(Path), Classification(), tuple(map(as_group, layers)))
    scores = lab.ranking(Magnitude(), evidence)
    assert scores["layers.0"] == pytest.approx(scores["layers.2"]) != pytest.approx(scores["layers.1"])

"""Accuracies after each layer: those whose differences `imprint` ranks by, and that of the whole network."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import Beside, ModelRequest, names_of
from recipelang.methods.criteria.imprint import Imprint
from recipelang.methods.data.digits import Digits
from recipelang.methods.exports.layer_accuracy import LayerAccuracy
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.layers import Layers
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network


def test_they_differ_by_what_imprint_scores_and_end_at_the_network(tmp_path: Path) -> None:
    data = Digits().open(Path)
    torch.manual_seed(0)
    network = find("model", "digits_resnet")().build(ModelRequest(classes=names_of(data), input_shape=(1, 8, 8)))
    picture, numbers = LayerAccuracy().write(network, tmp_path, Beside(network, data, Classification()))
    told = json.loads(numbers.read_text())
    groups = Layers().find(network, Selection()).groups
    gains = Imprint().score(Gathered(network, data, Classification(), groups))
    assert [row["layer"] for row in told["layers"]] == [group.name for group in groups]
    for row in told["layers"]:
        assert row["after"] - row["before"] == pytest.approx(float(gains[row["layer"]]))
    module, right = network.module.eval(), 0
    for images, labels in data.batches("val"):
        right += int((module(images).argmax(1) == labels).sum())
    assert told["network"] == pytest.approx(right / data.size("val"))
    drawn = ElementTree.parse(picture).getroot()
    assert "layer2.4" in "".join(drawn.itertext())


def test_a_network_without_layers_is_refused(tmp_path: Path) -> None:
    data = Digits().open(Path)
    network = Network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), {}, (1, 8, 8))
    with pytest.raises(Refusal) as caught:
        LayerAccuracy().write(network, tmp_path, Beside(network, data, Classification()))
    assert caught.value.code == "RCP0910"

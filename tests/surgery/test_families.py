"""torchvision's families: all offer layers, survive the removal of each, and deploy. No table of names anywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models

from recipelang.surgery.candidates import find_layers
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import apply_edits, remove
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import evaluating, example_input

FAMILIES = [
    ("resnet18", 5),
    ("vgg11_bn", 4),
    ("mobilenet_v2", 10),
    ("efficientnet_b0", 9),
    ("convnext_tiny", 18),
    ("vit_b_16", 12),
    ("swin_t", 12),
    ("regnet_y_400mf", 12),
    ("mobilenet_v3_small", 6),
]


@pytest.mark.parametrize(("name", "count"), FAMILIES)
def test_a_family(name: str, count: int, wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    size = {"image_size": 32} if name.startswith("vit") else {}
    module = models.get_model(name, weights=None, num_classes=7, **size)
    if name.startswith("vgg"):
        module.classifier = nn.Linear(512 * 7 * 7, 7)  # 120 of its 130 million weights, and none of its layers
    network = wrap(module, (3, 32, 32))
    layers = find_layers(network.module, example_input(network))
    assert len(layers) == count
    # Each removal is compared with the neutralised network by apply_edits itself.
    smaller = apply_edits(network, [remove(layer) for layer in layers])
    example = example_input(network)
    with evaluating(network.module), evaluating(smaller.module):
        whole, rest = network.module(example), smaller.module(example)
    assert relative_difference(rest, whole) > 1e-3
    assert find_layers(smaller.module, example) == () or name == "vgg11_bn"
    folded = deployed(network)
    with torch.no_grad():
        assert relative_difference(folded(example), whole) < 1e-4
        assert relative_difference(deployed(smaller)(example), rest) < 1e-4
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())


SMALL = {
    "resnet": (lambda: models.ResNet(models.resnet.BasicBlock, [2, 2, 1, 1], num_classes=7), 3),
    "bottleneck": (lambda: models.ResNet(models.resnet.Bottleneck, [2, 1, 1, 2], num_classes=7), 2),
    "vit": (lambda: models.VisionTransformer(32, 8, 3, 2, 32, 64, num_classes=7), 3),
    "swin": (lambda: models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=7), 4),
}


@pytest.mark.parametrize("name", SMALL)
def test_each_removal_alone_changes_the_answer(name: str, wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    build, count = SMALL[name]
    network = wrap(build(), (3, 32, 32))
    example = example_input(network)
    with evaluating(network.module):
        whole = network.module(example)
    layers = find_layers(network.module, example)
    assert len(layers) == count
    for layer in layers:
        smaller = apply_edits(network, [remove(layer)])
        with evaluating(smaller.module):
            assert relative_difference(smaller.module(example), whole) > 1e-4

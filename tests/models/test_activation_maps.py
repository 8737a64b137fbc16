"""Class activation maps, held against their definition: Zhou et al. 2016, Eq 1 and 2, written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.methods.exports.activation_maps import ActivationMaps, correlations
from recipelang.surgery.activation_maps import activation_maps
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating


def classifier(module: nn.Module, size: int = 32, channels: int = 3) -> Network:
    return Network(module, {}, (channels, size, size))


class Functional(nn.Module):
    """The map is what a function returns, as in DenseNet: no module gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.relu(self.conv(x)).mean((2, 3)))


class Spatial(nn.Module):
    """The head is a 1×1 convolution, and its map is averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu_()).mean((2, 3))


def test_a_map_is_the_sum_over_features_of_weight_times_feature() -> None:
    network = find("model", "digits_resnet")().build(ModelRequest())
    features: list[Tensor] = []
    network.module.layer2.register_forward_hook(lambda _, inputs, output: features.append(output))
    images = torch.randn(3, 1, 8, 8)
    found, scores = activation_maps(network, images)
    weight, bias, map_of = network.module.linear.weight, network.module.linear.bias, features[-1]
    for image in range(3):
        for label in range(10):
            expected = sum(weight[label, k] * map_of[image, k] for k in range(weight.shape[1]))
            torch.testing.assert_close(found[image, label], expected.detach())
    with evaluating(network.module):
        torch.testing.assert_close(scores, network.module(images))
    torch.testing.assert_close(found.mean((2, 3)) + bias.detach(), scores)


@pytest.mark.parametrize(
    "module",
    [
        Functional(),
        Spatial(),
        models.resnet18(num_classes=5),
        models.mobilenet_v2(num_classes=5),
        models.DenseNet(4, (1, 1, 1, 1), 8, num_classes=5),
    ],
    ids=["functional", "spatial", "resnet18", "mobilenet_v2", "densenet"],
)
def test_the_mean_of_a_map_and_the_bias_is_the_score(module: nn.Module) -> None:
    network = classifier(module, 64)
    found, scores = activation_maps(network, torch.randn(2, 3, 64, 64))
    head = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    bias = 0 if head.bias is None else head.bias.detach()
    assert found.shape[2:].numel() > 1
    torch.testing.assert_close(found.mean((2, 3)) + bias, scores, rtol=1e-4, atol=1e-5)
    ActivationMaps().require_network(network)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 5)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
        models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=5),
        models.squeezenet1_1(num_classes=5),  # a ReLU between the head and the mean
    ],
    ids=["flatten", "max", "vit", "squeezenet"],
)
def test_scores_that_are_no_means_over_places_have_no_maps(module: nn.Module) -> None:
    with pytest.raises(Refusal, match="no class activation maps") as caught:
        ActivationMaps().require_network(classifier(module))
    assert caught.value.code == "RCP0716"


def test_alikeness_is_the_correlation_over_places() -> None:
    one, other = torch.randn(4, 5, 6), torch.randn(4, 5, 6)
    for value, a, b in zip(correlations(one, other), one, other, strict=True):
        assert value == pytest.approx(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]), abs=1e-5)
    assert correlations(one, 3 * one + 2) == pytest.approx([1.0] * 4)
    assert correlations(one, torch.ones_like(one)) == [None] * 4

"""The greedy choice of channels: gradients by autograd, what repeats or nothing needs, and its scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kinds import Batch
from recipelang.measuring.discriminating import _examined, greedy, pool, reading_layer
from recipelang.methods.criteria.dcp import DCP


class Conv:
    """A product of one batch, as evidence gives it."""

    size = 0

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def __call__(self, weight: Tensor) -> Tensor:
        return functional.conv2d(self.maps, weight, torch.ones(len(weight)), padding=1)


def made(channels: int = 6, outputs: int = 5, count: int = 24, **settings: Any) -> Any:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    maps = torch.randn(count, channels, 4, 4, generator=random)
    maps[:, 0] += labels[:, None, None]
    weight = torch.randn(outputs, channels, 3, 3, generator=random)
    return maps, labels, weight, DCP(**settings)


def layer_of(maps: Tensor, labels: Tensor, weight: Tensor) -> Any:
    columns = torch.tensor([[k * weight.shape[1] + i for k in range(9)] for i in range(weight.shape[1])])
    batches = [Batch(x, y) for x, y in zip(maps.split(12), labels.split(12), strict=True)]
    return reading_layer(weight, columns, [Conv(batch.inputs) for batch in batches], batches)


def test_the_norms_are_those_of_the_gradient_of_the_joint_loss() -> None:
    """Eq 6 and 7 written out, differentiated by autograd in the weight itself."""
    maps, labels, weight, settings = made(balance=0.7)
    layer = layer_of(maps, labels, weight)
    start = 0.3 * weight
    order = start.movedim(1, -1).reshape(1, 5, -1)
    loss, norms = _examined([layer], [order], list(labels.split(12)), settings.balance)
    trained = start.clone().requires_grad_()
    expected = torch.zeros(())
    everything = torch.cat([Conv(x)(weight) for x in maps.split(12)])
    mean, deviation = everything.mean((0, 2, 3)), (everything.var((0, 2, 3), correction=0) + 1e-5).sqrt()
    scale = (everything - 1).square().mean()
    for x, y in zip(maps.split(12), labels.split(12), strict=True):
        output = Conv(x)(trained)
        error = functional.mse_loss(output, Conv(x)(weight)) / (2 * scale)
        normed = (output - mean[:, None, None]) / deviation[:, None, None]
        logits = functional.linear(normed.relu().mean((2, 3)), layer.classifier.weight, layer.classifier.bias)
        expected = expected + (error + 0.7 * functional.cross_entropy(logits, y)) / 2
    expected.backward()
    assert trained.grad is not None
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert norms.tolist() == pytest.approx(trained.grad.square().sum((0, 2, 3)).sqrt().tolist(), rel=1e-4)


def test_the_classifier_tells_the_classes_apart() -> None:
    maps, labels, weight, _ = made()
    layer = layer_of(maps, labels, weight)
    chance = float(torch.log(torch.tensor(3.0)))
    losses = [layer.classifier.loss(Conv(x)(weight), y) for x, y in zip(maps.split(12), labels.split(12), strict=True)]
    assert float(torch.stack(losses).mean()) < 0.6 * chance
    rows = torch.randn(6, 5, 7)
    whole = pool(rows, torch.zeros(5), torch.ones(5), 3)
    assert torch.allclose(whole, rows.relu().mean(2).reshape(3, 2, 5).mean(1))


@pytest.mark.parametrize("rounds", [6, 2])
def test_the_order_is_of_the_largest_norms_and_scores_fall(rounds: int) -> None:
    maps, labels, weight, settings = made(rounds=rounds, steps=4)
    weight[:, 4] = 0
    scores = greedy([layer_of(maps, labels, weight)], list(labels.split(12)), settings)
    assert int(scores.argmin()) == 4, "a channel that the layer does not read wins nothing"
    assert scores.max() == pytest.approx(1, abs=1e-4)
    assert len(set(scores.tolist())) == 6
    _, norms = _examined([layer_of(maps, labels, weight)], [torch.zeros(1, 5, 54)], list(labels.split(12)), 1.0)
    first = norms.argsort(descending=True)[: 6 // rounds]
    assert set(scores.argsort(descending=True)[: 6 // rounds].tolist()) == set(first.tolist())


def test_a_channel_that_repeats_one_that_was_chosen_comes_last() -> None:
    """Once the first is trained to stand for both, the gradient by the second is nothing."""
    maps, labels, weight, settings = made(rounds=6, steps=60, lr=0.1, balance=0.1)
    maps[:, 3] = maps[:, 0]
    weight[:, 0] *= 3
    weight[:, 3] = weight[:, 0]
    scores = greedy([layer_of(maps, labels, weight)], list(labels.split(12)), settings)
    order = scores.argsort(descending=True).tolist()
    assert order.index(0) == 0 or order.index(3) == 0
    assert order[-1] in (0, 3)

"""The small networks for digits, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recipelang.nets.digits_small import digits_lenet, digits_vgg


def test_weights_are_those_of_the_papers() -> None:
    lenet = [part.weight.shape for part in digits_lenet() if isinstance(part, nn.Linear)]
    assert lenet == [(300, 64), (100, 300), (10, 100)]
    assert sum(o * i for o, i in lenet) == 50_200
    vgg = [(part.in_channels, part.out_channels) for part in digits_vgg() if isinstance(part, nn.Conv2d)]
    assert vgg == [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]


def test_pooling_leaves_digits_as_they_are() -> None:
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(digits_lenet()[0](images), images)


@pytest.mark.parametrize("build", [digits_lenet, digits_vgg])
def test_other_images_and_classes(build: type) -> None:
    assert build(channels=3, classes=7).eval()(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert build().eval()(torch.randn(2, 1, 8, 8)).shape == (2, 10)

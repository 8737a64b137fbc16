"""Layers that can be removed are found by what modules compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example, example_input


class Residual(nn.Module):
    """x + inner(x), or with the given factor."""

    def __init__(self, inner: nn.Module, factor: float = 1.0) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.inner(x)


class Tokens(nn.Module):
    """B×3×H×W → B×HW×3: what follows has filters last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


def conv(channels: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1)


def layers(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> list[str]:
    return [c.name for c in find_layers(module, example(module, shape))]


def test_the_blocks_of_a_cifar_resnet_that_keep_their_shape() -> None:
    names = layers(cifar_resnet(56), (3, 32, 32))
    assert names == [f"layer{s}.{b}" for s in (1, 2, 3) for b in range(9) if (s, b) not in ((2, 0), (3, 0))]


def test_the_embedded_network_has_enough_blocks_for_a_latency_of_06() -> None:
    assert len(layers(digits_resnet(), (1, 8, 8))) >= 9


def test_the_smallest_module_counts_and_nothing_inside_or_around_it() -> None:
    inner = Residual(conv())
    net = nn.Sequential(conv(), nn.Sequential(Residual(inner), Residual(conv())))
    assert layers(net) == ["1.0.inner", "1.1"]


def test_what_is_no_identity_without_its_weights_is_none() -> None:
    assert layers(nn.Sequential(Residual(conv(), factor=0.5))) == []
    assert layers(nn.Sequential(nn.BatchNorm2d(3))) == []


def test_modules_without_parameters_are_none() -> None:
    assert layers(nn.Sequential(nn.Identity(), nn.Dropout(), nn.ReLU(), Residual(nn.Dropout(), 0.0))) == []


def test_zeros_alone_prove_no_identity() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    assert layers(nn.Sequential(Nothing(), conv())) == []


def test_a_module_called_twice_or_standing_in_two_places_is_none() -> None:
    shared = Residual(conv())

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.other = Residual(conv()), Residual(conv())

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.other(self.block(x)))

    assert layers(Twice()) == ["other"]
    assert layers(nn.Sequential(shared, Residual(conv()), shared)) == ["1"]


def test_a_block_may_be_called_with_keywords() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            return x + scale * self.conv(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Pair(), Pair()

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x, scale=2.0))

    assert layers(Net()) == ["a", "b"]


def test_plain_runs_only_where_there_is_no_residual_layer() -> None:
    run = [conv(), nn.BatchNorm2d(3), nn.ReLU(inplace=True)]
    plain = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.ReLU(), *run, conv(), nn.ReLU(), nn.MaxPool2d(2))
    found = find_layers(plain, example(plain, (3, 8, 8)))
    assert [(c.name, c.paths, c.kind) for c in found] == [
        ("2", ("2", "3", "4"), "plain"),
        ("5", ("5", "6"), "plain"),
    ]
    assert layers(nn.Sequential(plain, Residual(conv()))) == ["1"]


def test_grouped_convolutions_and_sequentials_with_another_forward_are_no_plain_runs() -> None:
    class Backwards(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for part in reversed(list(self)):
                x = part(x)
            return x

    grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    assert layers(nn.Sequential(grouped, nn.ReLU()), (4, 8, 8)) == []
    assert layers(nn.Sequential(Backwards(conv(), nn.ReLU()))) == []


@pytest.mark.parametrize(
    ("net", "axis", "width"),
    [
        (nn.Sequential(Residual(conv())), 1, 3),
        (nn.Sequential(Tokens(), Residual(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3)))), 2, 3),
    ],
)
def test_the_axis_of_the_filters(net: nn.Module, axis: int, width: int) -> None:
    (found,) = find_layers(net, example(net, (3, 8, 8)))
    assert (found.filters_axis, found.width) == (axis, width)


def test_looking_changes_nothing(digits: Network) -> None:
    module = digits.module
    module.train()
    module.get_submodule("layer1.0").eval()
    modes = [m.training for m in module.modules()]
    before = {k: v.clone() for k, v in module.state_dict().items()}
    numbers = torch.random.get_rng_state()
    find_layers(module, example_input(digits))
    assert modes == [m.training for m in module.modules()]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(numbers, torch.random.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_the_example_is_the_same_at_every_call(digits: Network) -> None:
    assert torch.equal(example_input(digits), example_input(digits))
    assert example_input(digits).shape == (2, 1, 8, 8)

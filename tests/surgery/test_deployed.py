"""The deployed form computes what the training form computes, with BatchNorm folded wherever that is exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recipelang.methods.patterns.nm import NM
from recipelang.surgery.deployed import deployed
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import evaluating, example_input

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, BATCH_NORMS) for part in module.modules())


def difference(network: Network) -> float:
    example = example_input(network, 3)
    with evaluating(network.module):
        return relative_difference(deployed(network)(example), network.module(example))


def test_functional_blocks_fold(digits: Network) -> None:
    assert norms(digits.module) == 21
    assert norms(deployed(digits)) == 0
    assert difference(digits) < 1e-5


def test_the_training_form_stands(digits: Network) -> None:
    digits.module.train()
    before = {k: v.clone() for k, v in digits.module.state_dict().items()}
    copy = deployed(digits)
    assert not copy.training and digits.module.training
    assert all(torch.equal(v, before[k]) for k, v in digits.module.state_dict().items())
    assert all(p.requires_grad for p in digits.module.parameters())
    assert not any(p.requires_grad for p in copy.parameters())
    assert copy.conv1.weight.is_contiguous(memory_format=torch.channels_last)


class Norm(nn.Module):
    """conv → norm, with a forward that uses the convolution in some way."""

    def __init__(self, use: Callable[[nn.Module, Tensor], Tensor], layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.use, self.layer, self.norm, self.head = use, layer, norm, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = self.use(self, x)
        return self.head(out.mean(dim=(2, 3)) if out.ndim == 4 else out)


def plain(m: nn.Module, x: Tensor) -> Tensor:
    return m.norm(m.layer(x))


def reads_twice(m: nn.Module, x: Tensor) -> Tensor:
    y = m.layer(x)
    return m.norm(y) + y


def runs_twice(m: nn.Module, x: Tensor) -> Tensor:
    return m.norm(m.layer(x)) + m.layer(x)


def changes_in_place(m: nn.Module, x: Tensor) -> Tensor:
    return m.norm(m.layer(x).relu_())


def looks_through_a_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.layer(x)
    return m.norm(y) * y.flatten(1).mean(1)[:, None, None, None]


class Standardised(nn.Conv2d):
    """A convolution that scales its own weight, so that folding into the weight is lost."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight / self.weight.norm(), self.bias)


def conv(**options: object) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, **options)


@pytest.mark.parametrize(
    ("use", "layer", "norm", "left"),
    [
        (plain, conv(), nn.BatchNorm2d(4), 0),
        (plain, conv(bias=False, groups=2, stride=2), nn.BatchNorm2d(4, affine=False), 0),
        (plain, nn.Sequential(conv()), nn.BatchNorm2d(4), 0),
        (reads_twice, conv(), nn.BatchNorm2d(4), 1),
        (runs_twice, conv(), nn.BatchNorm2d(4), 1),
        (changes_in_place, conv(), nn.BatchNorm2d(4), 1),
        (looks_through_a_view, conv(), nn.BatchNorm2d(4), 1),
        (plain, Standardised(4, 4, 3), nn.BatchNorm2d(4), 1),
        (plain, nn.utils.parametrizations.spectral_norm(conv()), nn.BatchNorm2d(4), 1),
        (plain, nn.ConvTranspose2d(4, 4, 3), nn.BatchNorm2d(4), 1),
        (plain, conv(), nn.BatchNorm2d(4, track_running_stats=False), 1),
    ],
)
def test_folded_exactly_where_the_norm_alone_reads_the_layer(
    wrap: Callable[..., Network],
    use: Callable[[nn.Module, Tensor], Tensor],
    layer: nn.Module,
    norm: nn.Module,
    left: int,
) -> None:
    network = wrap(Norm(use, layer, norm).eval(), (4, 8, 8))
    assert norms(deployed(network)) == left
    assert difference(network) < 1e-5


def test_a_norm_behind_a_linear_layer_folds(wrap: Callable[..., Network]) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    network = wrap(module, (1, 8, 8))
    assert norms(deployed(network)) == 0
    assert difference(network) < 1e-5


def test_a_variance_next_to_zero_is_left_alone(wrap: Callable[..., Network]) -> None:
    """The layer returns 1000 plus almost nothing; what the norm makes of the rest is rounding error."""
    module = nn.Sequential(conv(), nn.BatchNorm2d(4, eps=1e-30), conv(), nn.Flatten(), nn.Linear(64, 2))
    network = wrap(module, (4, 8, 8))
    with torch.no_grad():
        module[0].weight.mul_(1e-3)
        module[0].bias.fill_(1000)
    module[1].running_mean.fill_(1000)
    module[1].running_var.fill_(1e-8)
    left = deployed(network)
    assert norms(left) == 1
    kept = left.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in network.module.state_dict().items())


def test_folding_keeps_the_pattern(digits: Network) -> None:
    able, _ = eligible(digits, NM())
    parameters = dict(digits.module.named_parameters())
    sparse = sparsify(digits, NM(), {name: parameters[name].detach().abs() for name in able})
    folded = dict(deployed(sparse).named_parameters())
    assert all(NM().holds(folded[name]) for name in able)

"""The deployed form computes what the training form computes, with BatchNorm folded wherever that is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_mask
from recipelang.methods.patterns.nm import NM
from recipelang.surgery.deployed import Deployment, deployed, execution
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Accelerated, Network
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
    assert norms(deployed(network)) == 1
    assert difference(network) == 0


def test_folding_keeps_the_pattern(digits: Network) -> None:
    able, _ = eligible(digits, NM())
    parameters = dict(digits.module.named_parameters())
    sparse = sparsify(digits, NM(), {name: parameters[name].detach().abs() for name in able})
    folded = dict(deployed(sparse).named_parameters())
    assert all(NM().holds(folded[name]) for name in able)


def test_how_layers_execute(digits: Network) -> None:
    smaller = apply_edits(digits, [RemoveLayer("layer1.2", ("layer1.2",))])
    weight = smaller.module.linear.weight.detach()
    sparse = sparsify(smaller, NM(), {"linear.weight": weight.abs()})
    assert torch.equal(sparse.masks["linear.weight"].keep, nm_mask(weight.abs(), 2, 4))
    rows = {row["layer"]: row for row in execution(sparse)}
    assert rows["layer1.2"]["executes"] == "removed"
    assert rows["layer1.1.conv1"] == {
        "layer": "layer1.1.conv1",
        "shape": [16, 16, 3, 3],
        "executes": "dense",
        "why": "no mask",
    }
    assert rows["linear"]["executes"] == "masked only" and "accelerate" in rows["linear"]["why"]
    asked = {
        row["layer"]: row for row in execution(replace(sparse, accelerated=Accelerated(("linear",), (), "latency")))
    }
    assert "a CPU has no sparse matrix units" in asked["linear"]["why"]


class Places(nn.Module):
    """Adds float32 constants, whatever its input is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(x + torch.linspace(-1, 1, x.shape[1], device=x.device)[:, None]).mean(1)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("accelerated", [False, True])
def test_a_precision_that_the_network_cannot_compute_in_is_refused(
    precision: str, accelerated: bool, wrap: Callable[..., Network]
) -> None:
    network = wrap(Places(), (3, 8, 8))
    if accelerated:
        network = replace(network, accelerated=Accelerated((), ("dense",), "latency"))
    assert deployed(network)(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(Refusal) as caught:
        deployed(network, Deployment(precision=precision))
    assert caught.value.code == "RCP0726"
    assert caught.value.message.startswith(f"the network cannot compute in {precision}: RuntimeError: mat1 and mat2")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_precisions_that_it_can_compute_in(precision: str, digits: Network) -> None:
    module = deployed(digits, Deployment(precision=precision))
    images = example_input(digits, 3)
    with torch.no_grad():
        found = module(images.to(getattr(torch, precision)))
        assert relative_difference(found.float(), deployed(digits)(images)) < 0.05

"""What `ssl` and `sss` do to networks of all sorts: exact zeros, and what is removed for them, with parity."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.catalogue import spell
from recipelang.errors import Refusal, SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import MASKS, PARTS, Moment, Seen
from recipelang.methods.companions.ssl import Ssl
from recipelang.methods.companions.sss import Sss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.layers import Layers
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Duration, Training
from recipelang.stages._leaving import removed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask
from recipelang.training.loop import FitRecord, fit

TASK: Any = Classification()


class Block(nn.Module):
    """Two convolutions with BatchNorm beside a skip connection."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Depthwise(nn.Module):
    """1×1, depthwise, 1×1, with BatchNorm and ReLU6, beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv2d(width, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


class Token(nn.Module):
    """Attention and an MLP over positions, each beside a skip connection after LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 20), nn.Linear(20, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.proj(mixed)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Conv2d(3, 8, 2, stride=2), nn.Sequential(Token(8), Token(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def convolutional(*blocks: nn.Module) -> nn.Module:
    stem = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


MODULES = {
    "residual": lambda: convolutional(Block(8, 6), Block(8, 10)),
    "depthwise": lambda: convolutional(Depthwise(8), Depthwise(8)),
    "vit": Vit,
    "plain": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)
    ),
}


def made(name: str) -> Network:
    """A network whose parts are of different size, so that some become zero before others."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.1, 1.2)
            elif isinstance(part, nn.Linear):
                part.weight.mul_(torch.linspace(0.1, 1.5, len(part.weight))[:, None])
    return Network(module, {}, (3, 8, 8), classes=(*"abc",))


def trained(
    network: Network, data: ImageDataset, silent: Any, companion: Any, *, steps: int = 12, lr: float = 0.05, **more: Any
) -> tuple[Network, FitRecord]:
    optimizer = Sgd(lr, weight_decay=0.0)
    training = Training(Duration(steps, "steps"), optimizer, companions=(companion,) if companion else ())
    return fit(network, data, training, progress=silent(), task=TASK, seed=1, **more)


def answers(network: Network) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.module.eval()(torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3)))
        return found


def size(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.module.parameters())


CASES = [
    ("residual", Ssl(2.0, unit=Filters(round=1))),
    ("residual", Ssl(8.0, unit=Layers())),
    ("residual", Ssl(2.0, unit=Filters(round=1), depth=6.0)),
    ("residual", Ssl(channels=1.0)),
    ("residual", Sss(3.0, momentum=0.5)),
    ("residual", Sss(2.0, unit=Filters(round=1), momentum=0.5)),
    ("depthwise", Ssl(2.0, unit=Filters(round=1))),
    ("depthwise", Ssl(14.0, unit=Layers())),
    ("depthwise", Sss(3.0, momentum=0.5)),
    ("depthwise", Sss(2.0, unit=Filters(round=1), momentum=0.5)),
    ("vit", Ssl(0.5, unit=Neurons(round=1))),
    ("vit", Ssl(2.0, unit=Heads())),
    ("vit", Ssl(10.0, unit=Layers())),
    ("vit", Sss(2.0, unit=Neurons(round=1), momentum=0.5)),
    ("vit", Sss(2.0, unit=Heads(), momentum=0.5)),
    ("vit", Sss(3.0, momentum=0.5)),
    ("plain", Ssl(0.5, unit=Neurons(round=1))),
    ("plain", Sss(2.0, unit=Neurons(round=1), momentum=0.5)),
]


@pytest.mark.parametrize(("name", "companion"), CASES, ids=lambda one: one if isinstance(one, str) else spell(one))
def test_what_is_exactly_zero_is_removed_and_the_network_computes_the_same(
    name: str, companion: Any, data: ImageDataset, silent: Any
) -> None:
    network = made(name)
    assert companion.leaves == PARTS
    whole, record = trained(network, data, silent, companion)
    assert size(whole) == size(network), "the parts are still there"
    left = removed(record.left, companion.name)
    expected, found = answers(whole), answers(left.network)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    gone = sum(int(parts.sum()) for one in record.left.decided for parts in one.gone.values())
    assert gone and size(left.network) < size(network)
    assert sum(figure.value or 0 for figure in left.reached if figure.what == "removed") == gone
    assert expected.isfinite().all()


def test_several_sorts_at_once_on_a_network_of_filters_and_neurons(data: ImageDataset, silent: Any) -> None:
    """Filters and neurons that nothing reads go with their columns; what has columns of zeros besides is masked."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 10, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(90, 16), nn.ReLU(), nn.Linear(16, 3),
    )  # fmt: skip
    with torch.no_grad():
        for part in module:
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.mul_(
                    torch.linspace(0.05, 1.5, part.weight.shape[1])[None, :, *[None] * (part.weight.ndim - 2)]
                )
    network = Network(module.eval(), {}, (3, 8, 8), classes=(*"abc",))
    companion = Ssl(channels=0.5, shapes=0.4)
    whole, record = trained(network, data, silent, companion)
    assert {one.unit.name for one in record.left.decided} == {"filters", "neurons"}
    left = removed(record.left, "ssl")
    expected, found = answers(whole), answers(left.network)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    removals = {one.unit.name: sum(int(p.sum()) for p in one.gone.values()) for one in record.left.decided}
    assert all(removals.values()), removals
    assert left.network.masks and all(not mask.keep.all() for mask in left.network.masks.values())
    for name, mask in left.network.masks.items():
        weight = left.network.module.get_parameter(name)
        assert not weight[~mask.keep].any() and mask.keep.all(0).logical_or(~mask.keep.any(0)).all(), "whole columns"
        assert weight[:, mask.keep[0]].any(0).all() if weight.ndim == 2 else True, "no column of zeros is left out"


# the law of each ------------------------------------------------------------------------------


def test_one_step_is_that_of_the_optimizer_and_then_the_closed_form(data: ImageDataset, silent: Any) -> None:
    network, lr, strength = made("residual"), 0.05, 0.4
    plain, _ = trained(network, data, silent, None, steps=1, lr=lr)
    found, _ = trained(network, data, silent, Ssl(channels=strength), steps=1, lr=lr)
    for name, weight in plain.module.named_parameters():
        expected = weight.detach()
        if weight.ndim > 1:
            norms = expected.transpose(0, 1).flatten(1).norm(dim=1)
            scales = (1 - lr * strength / norms).clamp_min(0)
            expected = expected * scales.reshape(1, -1, *[1] * (weight.ndim - 2))
        torch.testing.assert_close(found.module.get_parameter(name).detach(), expected, rtol=1e-5, atol=1e-6)


def test_the_strength_of_a_step_may_be_a_ramp(data: ImageDataset, silent: Any) -> None:
    network = made("plain")
    off, on = (trained(network, data, silent, one, steps=1)[0] for one in (None, Ssl(shapes=Linear(1e-12, to=9.0))))
    for name, weight in off.module.named_parameters():
        torch.testing.assert_close(on.module.get_parameter(name), weight)
    assert any(
        (w == 0).any() for w in trained(network, data, silent, Ssl(shapes=Linear(1e-12, to=9.0)))[0].module.parameters()
    )


@pytest.mark.parametrize("sort", ["channels", "shapes"])
def test_the_penalty_is_the_papers_sum_and_its_gradient_is_that_of_autograd(sort: str) -> None:
    network = made("residual")
    companion = Ssl(channels=0.3, proximal=False) if sort == "channels" else Ssl(shapes=0.3, proximal=False)
    assert companion.leaves == ""
    state = companion.begin(network, Moment(0, 10, 5))
    found = companion.penalty(Seen(None, None, (), network), state, Moment(0, 10, 5))
    assert found is not None
    weights = {n: p for n, p in network.module.named_parameters() if p.ndim > 1}
    total = torch.zeros(())
    for weight in weights.values():
        for c in range(weight.shape[1]):
            kernel = weight[:, c].flatten(1) if weight.ndim > 2 else weight[:, c, None]
            total = total + (kernel.norm() if sort == "channels" else kernel.norm(dim=0).sum())
    torch.testing.assert_close(found, 0.3 * total)
    gradients = torch.autograd.grad(found, list(weights.values()), retain_graph=True)
    expected = torch.autograd.grad(0.3 * total, list(weights.values()))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_penalty_alone_removes_nothing(data: ImageDataset, silent: Any) -> None:
    network = made("residual")
    whole, record = trained(network, data, silent, Ssl(1.0, proximal=False), steps=3)
    assert not record.left.decided and not whole.masks
    assert record.history[0]["loss"] > trained(network, data, silent, Ssl(1.0), steps=3)[1].history[0]["loss"]


def test_factors_move_as_the_gradient_at_them_says(data: ImageDataset, silent: Any) -> None:
    """One step of `sss` on blocks: λ = S(1 - η·∂L/∂λ), the gradient being that of Σ of w·∂L/∂w over the last norm."""
    network, lr, strength = made("residual"), 0.05, 0.02
    (images, targets) = next(iter(data.batches("train", epoch=0, seed=1)))
    module = network.clone().module.train()
    torch.nn.functional.cross_entropy(module(images), targets).backward()
    folded, _ = trained(network, data, silent, Sss(strength), steps=1, lr=lr, precision="float32")
    for block in (3, 4):
        norm: Any = module[block].bn2  # type: ignore[index]
        gradient = float(sum((p.detach() * p.grad).sum() for p in (norm.weight, norm.bias)))
        moved = 1 - lr * gradient
        factor = max(0.0, abs(moved) - lr * strength)
        expected = (norm.weight - lr * norm.weight.grad).detach() * factor
        torch.testing.assert_close(
            folded.module.get_parameter(f"{block}.bn2.weight").detach(), expected, rtol=1e-4, atol=1e-5
        )


def test_a_penalty_that_would_take_a_layer_whole_leaves_one_and_says_which(data: ImageDataset, silent: Any) -> None:
    both: tuple[Any, ...] = (
        Ssl(100.0, unit=Filters(round=1)),
        Sss(200.0, unit=Filters(round=1), momentum=0.0),
    )
    for companion in both:
        whole, record = trained(made("residual"), data, silent, companion)
        assert all(name in record.left.note for name in ("collapsed", "`0`", "`3.conv1`", "`4.conv1`"))
        left = removed(record.left, companion.name)
        widths = [part.out_channels for part in left.network.module.modules() if isinstance(part, nn.Conv2d)]
        assert widths == [1] * 5
        assert answers(left.network).isfinite().all()
        torch.testing.assert_close(answers(left.network), answers(whole), rtol=1e-4, atol=1e-5)
    _, record = trained(made("plain"), data, silent, Ssl(shapes=100.0))
    assert "collapsed" in record.left.note and "`1.weight`" in record.left.note
    assert all(int(mask.keep.any(0).sum()) == 1 for mask in record.left.network.masks.values())


# bad input -------------------------------------------------------------------------------------


def test_networks_that_have_nothing_for_it_are_refused() -> None:
    cases = (
        ("plain", Ssl(), "RCP0910", "no filter"),
        ("plain", Ssl(unit=Layers()), "RCP0910", "no layer"),
        ("plain", Sss(), "RCP0910", "no layer"),
        ("residual", Ssl(1.0, unit=Neurons()), "RCP0910", "no neuron"),
        ("residual", Sss(unit=Heads()), "RCP0910", "no head"),
    )
    for name, companion, code, words in cases:
        with pytest.raises(Refusal, match=words) as refusal:
            companion.require_network(made(name))
        assert refusal.value.code == code and refusal.value.help
    frozen = made("residual")
    frozen.module.requires_grad_(False)
    for companion, words in ((Ssl(), "is frozen"), (Ssl(shapes=1.0), "frozen"), (Ssl(unit=Layers()), "is frozen")):
        with pytest.raises(Refusal, match=words):
            companion.require_network(frozen)
    with pytest.raises(Refusal, match="frozen") as refusal:
        Sss().require_network(frozen)
    assert refusal.value.code == "RCP0850"


def test_settings_that_contradict_each_other() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"unit": Layers(), "depth": 1.0, "strength": 1.0},
        {"unit": Filters(), "channels": 1.0},
    )
    for settings in wrong:
        with pytest.raises(SettingError):
            Ssl(**settings)
    assert (Ssl().leaves, Ssl(shapes=1.0).leaves, Ssl(channels=1.0).leaves) == (PARTS, MASKS, PARTS)


def test_masks_of_before_hold_and_keep_the_name_of_their_pattern(data: ImageDataset, silent: Any) -> None:
    network = made("plain")
    half = torch.arange(16 * 192).reshape(16, 192) % 4 < 2
    masked = network.restricted({"1.weight": Mask("2:4", half), "3.weight": Mask("50% sparse", half[:12, :16])})
    masked = restrict(masked, {})
    whole, record = trained(masked, data, silent, Ssl(shapes=0.6))
    assert whole.masks["1.weight"].pattern == "2:4" and not (whole.masks["1.weight"].keep & ~half).any()
    assert whole.masks["3.weight"].pattern.endswith("% sparse in columns")
    assert not record.left.decided


def test_a_channel_of_zeros_that_an_activation_makes_a_constant_stays_with_the_reason(
    data: ImageDataset, silent: Any
) -> None:
    """The sigmoid of a filter of zeros is 0.5, which the next layer reads."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 3)
    )
    with torch.no_grad():
        for part in (module[0], module[2]):
            part.weight[::2] *= 0.01
            part.bias[::2] = 0
    network = Network(module.eval(), {}, (3, 8, 8), classes=(*"abc",))
    whole, record = trained(network, data, silent, Ssl(0.5, unit=Filters(round=1)), steps=4)
    (decided,) = record.left.decided
    assert all(bool(parts.any()) for parts in decided.gone.values())
    left = removed(record.left, "ssl")
    torch.testing.assert_close(answers(left.network), answers(whole), rtol=1e-4, atol=1e-5)
    first, second = (part for part in left.network.module.modules() if isinstance(part, nn.Conv2d))
    assert first.out_channels == 8 and second.out_channels < 6
    assert "`0`" in left.note and "computes something else" in left.note

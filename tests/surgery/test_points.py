"""Positions in networks: which there are, which everything passes through, and where stages end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from recipelang.kinds import Points
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.nets.srresnet import SRResNet
from recipelang.surgery.points import Capture, canonical, find_points


def points_of(module: nn.Module, *shape: int) -> Points:
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return find_points(module.eval(), images, "the network")


def tiny(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=5, **settings)
    return made


def vit(layers: int = 6) -> nn.Module:
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=layers, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(made.heads[0].weight)  # torchvision's head starts at zero
    return made


STAGES = [
    ("digits", lambda: digits_resnet(channels=1, classes=5), (1, 8, 8), ["layer1 (16×8×8)", "layer2 (32×4×4)"]),
    ("cifar", lambda: cifar_resnet(20), (3, 32, 32), ["layer1 (16×32×32)", "layer2 (32×16×16)", "layer3 (64×8×8)"]),
    (
        "resnet18",
        lambda: tiny("resnet18"),
        (3, 64, 64),
        ["layer1 (64×16×16)", "layer2 (128×8×8)", "layer3 (256×4×4)", "layer4 (512×2×2)"],
    ),
    (
        "mobilenet_v2",
        lambda: tiny("mobilenet_v2", width_mult=0.5),
        (3, 64, 64),
        ["features.3 (16×16×16)", "features.6 (16×8×8)", "features.13 (48×4×4)", "features (1280×2×2)"],
    ),
    (
        "vgg11",
        lambda: tiny("vgg11", init_weights=False),
        (3, 32, 32),
        [
            *("features.1 (64×32×32)", "features.4 (128×16×16)", "features.9 (256×8×8)", "features.14 (512×4×4)"),
            *("features.19 (512×2×2)", "avgpool (512×7×7)"),
        ],
    ),
    (
        "densenet121",
        lambda: torchvision.models.DenseNet(4, (2, 2, 2, 2), 8, num_classes=5),
        (3, 64, 64),
        [
            *("features.denseblock1 (16×16×16)", "features.denseblock2 (16×8×8)"),
            *("features.denseblock3 (16×4×4)", "features (16×2×2)"),
        ],
    ),
    (
        "swin",
        lambda: torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [4, 4], num_classes=5),
        (3, 32, 32),
        ["features.1 (8×8×8)", "permute (16×4×4)"],
    ),
    (
        "vit",
        vit,
        (3, 32, 32),
        [
            *("encoder.layers.encoder_layer_1 (17×16)", "encoder.layers.encoder_layer_3 (17×16)"),
            "encoder (17×16)",
        ],
    ),
]


@pytest.mark.parametrize(("build", "shape", "stages"), [s[1:] for s in STAGES], ids=[s[0] for s in STAGES])
def test_stages_of_networks_that_nobody_prepared(build: Any, shape: tuple[int, ...], stages: list[str]) -> None:
    assert [str(point) for point in points_of(build(), *shape).stages()] == stages


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: digits_resnet(channels=1, classes=5), (1, 8, 8)),
        (lambda: vit(2), (3, 32, 32)),
        (lambda: Odd(), (1, 6, 6)),
    ],
    ids=["digits", "vit", "odd"],
)
def test_everything_passes_through_a_point_that_cuts_the_input_off(build: Any, shape: tuple[int, ...]) -> None:
    """The reference: where a module's output is replaced by a constant, does the answer still depend on the image?"""
    module = build().eval()
    points = points_of(module, *shape)
    images = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(1))
    for point in points.every:
        part, first = module.get_submodule(point.path), []

        def replaced(_: nn.Module, args: Any, output: Any, first: list[Any] = first) -> Any:
            return first[0] if first else first.append(output)

        with torch.no_grad():
            handle = part.register_forward_hook(replaced)
            one, two = module(images[0]), module(images[1])
            handle.remove()
        assert torch.equal(one, two) == point.through, point.path


class Odd(nn.Module):
    """A branch around a layer, a module that runs twice, channels last, a tuple, and a tensor that is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 1)
        self.two = Two()
        self.late = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.inner(x)
        x = self.again(self.again(x))
        x, _ = self.two(x)
        x = self.late(x.permute(0, 2, 3, 1))
        x.relu_()
        return self.head(self.norm(x).mean((1, 2)))


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x * 2, None


def test_points_of_an_odd_network() -> None:
    found = {point.path: point for point in points_of(Odd(), 1, 6, 6).every}
    assert list(found) == ["stem", "inner", "two", "late", "norm", "head"]  # `again` runs twice
    assert [path for path, point in found.items() if not point.through] == ["inner"]
    assert [path for path, point in found.items() if point.changed] == ["late"]
    assert [point.channels_axis for point in found.values()] == [1, 1, 1, 3, 3, 1]
    assert found["norm"].shape == (4, 6, 6) and found["norm"].channels == 4 and found["norm"].positions == (6, 6)
    assert found["head"].shape == (3,) and found["head"].channels == 3 and found["head"].positions == ()
    assert [point.depth for point in found.values()] == [n / 8 for n in (1, 2, 5, 6, 7, 8)]


class UNet(nn.Module):
    """Two levels, each with a shortcut from the way down to the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 4), (4, 6), (6, 8)))
        self.up2, self.up1, self.head = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((14, 6), (10, 4), (4, 2)))

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x).relu()
        two = self.down2(nn.functional.max_pool2d(one, 2)).relu()
        low = self.bottom(nn.functional.max_pool2d(two, 2)).relu()
        high = self.up2(torch.cat([two, nn.functional.interpolate(low, scale_factor=2)], 1)).relu()
        return self.head(self.up1(torch.cat([one, nn.functional.interpolate(high, scale_factor=2)], 1)).relu())


def test_a_shortcut_around_most_of_a_network_hides_none_of_it() -> None:
    points = points_of(SRResNet(2, 3, 8, 3), 3, 6, 6)
    assert [str(p) for p in points.stages()] == ["blocks.0 (8×6×6)", "blocks.1 (8×6×6)", "blocks (8×6×6)"]
    inside = [point.path for point in points.every if not point.through]
    assert "blocks.0.conv1" in inside and "blocks.0" not in inside
    # The outer shortcut of the U goes around most of it, the inner one around a few steps.
    assert [point.path for point in points_of(UNet(), 3, 8, 8).every if not point.through] == ["bottom"]


class Cut(nn.Module):
    """A frozen part, without gradients, below a part that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1))
        self.last, self.head = nn.Conv2d(6, 5, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.body(x)
        return self.head(self.last(x).mean((2, 3)))


def test_every_position_counts_where_gradients_are_cut_off() -> None:
    points = points_of(Cut(), 1, 6, 6)
    assert [str(point) for point in points.stages()] == ["body.0 (4×6×6)", "last (5×3×3)"]
    assert all(point.through for point in points.every)


def test_what_is_captured_is_what_the_module_returned() -> None:
    module = Odd().eval()
    points = tuple(p for p in points_of(module, 1, 6, 6).every if p.path in ("two", "late", "head"))
    images = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    capture = Capture(module, points)
    with capture.watching():
        module(images)
        copy.deepcopy(module)(torch.zeros(5, 1, 6, 6))
    got = {point.path: feature for point, feature in capture.features().items()}
    x = module.stem(images)
    x = module.again(module.again(x + module.inner(x))) * 2
    late = module.late(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(got["two"], x)
    torch.testing.assert_close(got["late"], late.permute(0, 3, 1, 2))  # before it is overwritten
    assert late.min() < 0 and got["head"].shape == (3, 3) and got["head"].requires_grad
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_activations_come_with_channels_first_and_tokens_with_channels_last() -> None:
    maps, tokens = torch.randn(2, 5, 6, 4), torch.randn(2, 4, 9)
    assert torch.equal(canonical(maps, 3), maps.permute(0, 3, 1, 2)) and canonical(maps, 1) is not None
    assert torch.equal(canonical(tokens, 1), tokens.transpose(1, 2)) and torch.equal(canonical(tokens, 2), tokens)


def test_the_network_is_left_as_it_was() -> None:
    module = digits_resnet(channels=1, classes=5).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    images = torch.randn(2, 1, 8, 8)
    find_points(module, images, "the network")
    assert module.training and not images.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(p.grad is None for p in module.parameters())


def test_a_pooling_before_the_first_weights_is_no_stage_of_a_teacher_either() -> None:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    assert points_of(pooled, 1, 8, 8).stages() == ()
    frozen = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    stages = points_of(frozen.requires_grad_(False), 1, 8, 8).stages()
    assert [point.path for point in stages] == ["2", "3"]
    assert all(point.learned and not point.trains for point in stages)


def test_weights_of_the_network_itself_count_as_before_every_stage() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.pool = nn.Parameter(torch.randn(4, 1, 3, 3)), nn.MaxPool2d(2)

        def forward(self, images: Tensor) -> Tensor:
            return self.pool(nn.functional.conv2d(images, self.weight)).flatten(1)

    assert [point.path for point in points_of(Own(), 1, 8, 8).stages()] == ["pool"]

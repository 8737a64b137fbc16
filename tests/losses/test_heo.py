"""The loss `heo` against its formula written naively, and what it sees before a ReLU."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.losses.heo import Heo
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.cifar_resnet import SmallResNet
from recipelang.surgery.points import Capture, find_points
from recipelang.surgery.unrectified import Rectified


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def place(path: str, *shape: int, depth: float = 0.5) -> Point:
    return Point(path, shape, depth, True, True, 2 if len(shape) == 2 else 1)


def value(loss: Any, parts: Any, *of: list[Tensor]) -> Tensor:
    student, *teachers = (Seen(None, None, tuple(features), None) for features in of)
    found: Tensor = loss(student, tuple(teachers), None, Classification(), parts, Moment(0, 10, 5))
    return found


@pytest.mark.parametrize(
    ("mine", "theirs"), [((3, 4, 4), (5, 4, 4)), ((10, 4), (10, 6)), ((4,), (7,))], ids=["maps", "tokens", "vectors"]
)
def test_heo_is_the_partial_distance_to_what_is_above_the_margin(mine: Any, theirs: Any) -> None:
    loss = Heo(beta=0.5, student="a, b")
    pairing = Pairing(place("a", *mine), (place("c", *theirs),))
    parts: Any = loss.parts((pairing, pairing))
    parts = parts.double().eval()
    axis = 1 if len(theirs) == 3 else len(theirs)
    negative: list[dict[int, list[float]]] = [{c: [] for c in range(theirs[axis - 1])} for _ in range(2)]
    for batch in range(2):
        student, hints = ([numbers(9 * batch + 3 * n + k, 2, *s) for k in (0, 1)] for n, s in enumerate((mine, theirs)))
        wanted = 0.0
        for k in (0, 1):
            led = parts[k].lead(student[k]).detach() / math.sqrt(1 + parts[k].norm.eps)  # BatchNorm as it begins
            for c in negative[k]:
                channel = hints[k].select(axis, c).flatten().tolist()
                negative[k][c] += [t for t in channel if t < 0]
                margin = sum(negative[k][c]) / len(negative[k][c]) if negative[k][c] else 0.0
                for t, s in zip(channel, led.select(axis, c).flatten().tolist(), strict=True):
                    t = max(t, margin)
                    wanted += 0.0 if s <= t <= 0 else (t - s) ** 2 / 2 / 2 ** (1 - k)
        assert float(value(loss, parts, student, hints).detach()) == pytest.approx(0.5 * wanted, rel=1e-8)


def test_the_larger_map_is_averaged_down_and_all_parts_learn() -> None:
    loss = Heo(student="a")
    parts: Any = loss.parts((Pairing(place("a", 3, 8, 8), (place("b", 5, 4, 4), place("c", 4, 2, 2))),))
    parts = parts.double()
    maps = numbers(0, 2, 3, 8, 8)
    got = value(loss, parts, [maps], [numbers(1, 2, 5, 4, 4)], [numbers(2, 2, 4, 2, 2)])
    got.backward()
    assert all(p.grad is not None and p.grad.any() for p in parts.parameters())
    small = nn.functional.adaptive_avg_pool2d(maps, 2)
    assert int(parts[1].count.sum()) == int((numbers(2, 2, 4, 2, 2) < 0).sum()) and small.shape[2] == 2


def test_stages_are_seen_before_their_relu() -> None:
    torch.manual_seed(0)
    net, images = SmallResNet((1, 1), (4, 8), 3, 3), torch.randn(2, 3, 8, 8)
    points = find_points(net, images, "the network")
    pairings = Heo().points(points, (points,))
    assert [str(one.student) for one in pairings] == [
        "layer1 before its ReLU (4×8×8)",
        "layer2 before its ReLU (8×4×4)",
    ]
    sums: list[Tensor] = []
    with torch.no_grad():
        seen = seen_by(net, images, *(one.student for one in pairings))
        x = torch.relu(net.bn1(net.conv1(images)))
        for block in (net.layer1[0], net.layer2[0]):
            y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
            sums.append(y + block.shortcut(x))
            x = torch.relu(sums[-1])
    for got, wanted in zip(seen, sums, strict=True):
        assert float(got.min()) < 0
        torch.testing.assert_close(got, wanted)


def seen_by(net: nn.Module, images: Tensor, *points: Point) -> list[Tensor]:
    rectified = Rectified()
    capture = Capture(net, points, rectified)
    with capture.watching(), rectified:
        net(images)
    found = capture.features()
    return [found[point] for point in points]


class Relus(nn.Module):
    """ReLUs in all spellings, and one that is not directly before the end of its module."""

    def __init__(self, end: Any) -> None:
        super().__init__()
        self.body, self.end = nn.Conv2d(3, 4, 1), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.body(x))  # type: ignore[no-any-return]


class Added(nn.Module):
    """What follows a ReLU in place is no longer what it made."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(x.relu(), 2)
        x += 1
        return x


@pytest.mark.parametrize(
    ("end", "before", "rectified"),
    [
        (nn.ReLU(), lambda x: x, True),
        (nn.ReLU(inplace=True), lambda x: x, True),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), lambda x: nn.functional.max_pool2d(x, 2), True),
        (nn.Identity(), lambda x: x, False),
        (nn.Sequential(nn.ReLU(), nn.Sigmoid()), lambda x: x.relu().sigmoid(), False),
        (Added(), lambda x: nn.functional.max_pool2d(x.relu(), 2) + 1, False),
    ],
    ids=["relu", "in place", "pooled", "none", "another after it", "added to"],
)
def test_what_is_before_a_relu(end: nn.Module, before: Any, rectified: bool) -> None:
    torch.manual_seed(0)
    net, images = Relus(end), torch.randn(2, 3, 4, 4)
    point = Point("end", (4, 4, 4), 0.5, True, True, unrectified=True)
    found = find_points(net, images, "the network").named(("end",))[0]
    assert found.rectified == rectified
    (got,) = seen_by(net, images, point)
    torch.testing.assert_close(got, before(net.body(images)))
    got.sum().backward()
    assert net.body.weight.grad is not None and net.body.weight.grad.any()


def test_networks_without_stages_are_refused() -> None:
    words, maps = Points("the network", (place("t", 7, 8),)), Points("the teacher", (place("s", 4, 8, 8),))
    with pytest.raises(Refusal, match="no positions to compare"):
        Heo().points(words, (maps,))

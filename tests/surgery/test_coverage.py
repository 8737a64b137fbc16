"""Published networks: channels are removed with parity or stay with a reason, and docs/coverage.md says what was found.

A few small ones here, more of them in the slow tests; `make sweep` measures all of them, each in its own process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torchvision import models

from benchmarks.sweep.__main__ import ROWS, TABLE
from benchmarks.sweep.measure import measured
from benchmarks.sweep.networks import TIMM, TORCHVISION, Case, cases
from benchmarks.sweep.processes import run, work
from benchmarks.sweep.table import read_rows, written
from recipelang.surgery.parity import TOLERANCE


def require_exact(row: dict[str, Any]) -> None:
    assert row["parity"] <= TOLERANCE and row["replayed"] and row["trains"], row


LAYER_NORM = "`layer_norm` normalises them together"
#: (network, pixels on a side, groups by kind that it has at least, a reason why something stays)
SMALL: dict[str, tuple[Callable[[], nn.Module], int, dict[str, int], str]] = {
    "resnext": (
        lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=7, groups=4, width_per_group=8),
        32,
        {"filters": 13},
        "",
    ),
    "densenet": (lambda: models.DenseNet(8, (2, 2), 16, num_classes=7), 32, {"filters": 10}, ""),
    "mobilenet_v2": (
        lambda: models.MobileNetV2(7, 0.5, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]), 32, {"filters": 9}, "",
    ),
    "shufflenet": (lambda: models.ShuffleNetV2([1, 2, 1], [16, 32, 32, 64, 64], 7), 32, {"filters": 9}, ""),
    "squeezenet": (lambda: models.squeezenet1_1(num_classes=7), 32, {"filters": 25}, ""),
    "vit": (
        lambda: models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=7), 32, {"neurons": 2}, LAYER_NORM,
    ),
    "swin": (
        lambda: models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=7), 32, {"neurons": 4},
        LAYER_NORM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network(name: str) -> None:
    build, size, groups, why = SMALL[name]
    row = measured(build, size)
    assert row["groups"] | groups == row["groups"] and (not why or why in row["stays"]), row
    require_exact(row)


@pytest.mark.parametrize("name", ["dla46x_c", "mobilevit_xxs"])
def test_a_small_network_of_timm(name: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    require_exact(measured(Case(TIMM, name, 64).build, 64))


MEDIUM = (
    "efficientnet_b0", "googlenet", "maxvit_t", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5",
    "swin_v2_t", "vgg11_bn", "ghostnet_050", "hrnet_w18_small", "levit_128s", "resnest14d", "xcit_nano_12_p16_224",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MEDIUM)
def test_a_network(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    if case.library == TIMM:
        pytest.importorskip("timm", reason="timm is not installed")
    require_exact(measured(case.build, case.size))


def test_a_network_that_cannot_be_measured_is_a_row() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    work(Case(TORCHVISION, "resnet17", 64), 0.3, sender)
    row = receiver.recv()
    assert row["failed"].startswith("ValueError: Unknown model resnet17") and "networks.py" in row["traceback"]


def test_a_network_that_takes_too_long_is_a_row() -> None:
    assert run(Case(TORCHVISION, "resnet18", 64), 0.3, 0, 8000)["failed"] == "did not end in 0 s"


#: processor seconds and MB over the network as built, where they are more than those of all others: 631 million
#: parameters of which each pass of one image takes seconds
BOUNDS = {"vit_h_14": (45, 5100)}


def test_every_network_was_measured_within_the_bounds() -> None:
    """docs/coverage.md is the table of the stored rows, and these are of all networks."""
    rows = read_rows(ROWS)
    wanted = [(case.library, case.name) for case in cases()]
    assert {name for library, name in wanted if library == TORCHVISION} == {*models.list_models(module=models)}
    assert sum(library == TIMM for library, _ in wanted) >= 20
    assert [key for key in wanted if key not in rows] == []
    for key in wanted:
        row = rows[key]
        assert "failed" not in row, row
        assert row["groups"] or row["stays"], row
        seconds, memory = BOUNDS.get(key[1], (30, 4096))
        assert row["memory"] <= memory and row["finding"] + row.get("removing", 0) <= seconds, row
        if row["groups"]:
            require_exact(row)
    assert TABLE.read_text() == written([rows[key] for key in wanted])

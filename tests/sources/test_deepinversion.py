"""`deepinversion`: images made from a teacher, and distillation without data."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Labels, Quiet
from recipelang.methods.sources.deepinversion import DeepInversion, variation
from recipelang.methods.tasks.classification import Classification
from recipelang.stages._instead import Instead
from recipelang.stages._made import made
from recipelang.stages.context import Context
from recipelang.stages.distill import foresee, run
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse

SMALL = DeepInversion(samples=12, steps=20, together=6, lr=0.05)


def network() -> Network:
    """Trained statistics of images whose channels are far from the standard normal distribution."""
    torch.manual_seed(0)
    body: list[nn.Module] = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2)]
    body += [nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    module = nn.Sequential(*body).train()
    with torch.no_grad():
        for _ in range(30):
            module(2 * torch.randn(16, 3, 8, 8) + 1.5)
    return Network(module.eval(), {"kind": "test"}, (3, 8, 8))


def unused(*_: Any) -> Any:
    raise AssertionError("no reading is asked for")


class Some:
    """Data whose other splits are there, to look at how a training does."""

    name, fingerprint, batch, target = "some", "", 8, "class"
    labels, input_shape, target_shape, preprocessing = Labels(("a", "b", "c")), (3, 8, 8), None, None

    def size(self, split: str) -> int:
        return 8 if split == "val" else 0

    def batches(self, split: str, **_: Any) -> Any:
        assert split == "val", "the training split must not be looked at"
        yield torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3


def context(found: Network, folder: Path, **states: Network) -> Context:
    return Context(
        found, Some(), Classification(), 0, "cpu", 1, folder, states.__getitem__, unused, unused, Quiet()
    )  # fmt: skip


def naive(module: Any, images: Tensor, wanted: Tensor, how: DeepInversion) -> float:
    """Equations 2 to 4, number by number."""
    with torch.no_grad():
        total, entering = 0.0, images
        for layer in module:
            if hasattr(layer, "running_mean"):
                rows = entering.movedim(1, 0).flatten(1)
                means = [sum(row.tolist()) / row.numel() for row in rows]
                pairs = zip(rows, means, strict=True)
                variances = [sum((v - mean) ** 2 for v in row.tolist()) / row.numel() for row, mean in pairs]
                for mine, kept in ((means, layer.running_mean), (variances, layer.running_var)):
                    total += math.sqrt(sum((a - b) ** 2 for a, b in zip(mine, kept.tolist(), strict=True)))
            entering = layer(entering)
        total *= how.statistics
        chances = entering.softmax(1)
        total -= how.classes * sum(math.log(row[k]) for row, k in zip(chances, wanted, strict=True)) / len(images)
        total += (
            how.small * sum(math.sqrt(sum(v * v for v in image.flatten().tolist())) for image in images) / len(images)
        )
        vary = 0.0
        for image in images:
            for dy, dx in ((1, 0), (0, 1), (1, 1), (1, -1)):
                squares = 0.0
                for y in range(8 - dy):
                    for x in range(8):
                        if 0 <= x + dx < 8:
                            squares += float((image[:, y + dy, x + dx] - image[:, y, x]).square().sum())
                vary += math.sqrt(squares)
        return total + how.smooth * vary / len(images)


def test_what_is_minimised_is_the_formula_of_the_paper() -> None:
    module = network().module
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    share = torch.tensor([0.1, 0.5, 0.99, 0.34])
    how = DeepInversion(classes=0.7, statistics=1.5, smooth=0.2, small=0.3)
    found, _ = how.distance(module, images, share)
    assert float(found.detach()) == pytest.approx(naive(module, images, torch.tensor([0, 1, 2, 1]), how), rel=1e-4)
    assert variation(torch.ones(2, 3, 4, 4)) == pytest.approx(0, abs=1e-4)


def test_images_become_what_the_network_takes_for_classes(tmp_path: Path) -> None:
    found = network()
    before = {name: tensor.clone() for name, tensor in found.module.state_dict().items()}
    how = replace(SMALL, samples=30, together=30, steps=100)
    data, told = made(how, context(found, tmp_path))
    far = [float(part) for part in told.rsplit("statistics ", 1)[1].split(" → ")]
    assert far[1] < 0.5 * far[0]
    assert len(set(data.targets.tolist())) > 1  # not the one class that noise is taken for
    assert all(torch.equal(before[name], tensor) for name, tensor in found.module.state_dict().items())
    assert torch.equal(data.inputs, made(how, context(found, tmp_path / "again"))[0].inputs)


def test_they_stand_in_place_of_the_training_split_alone(tmp_path: Path) -> None:
    whole = Instead(made(SMALL, context(network(), tmp_path))[0])
    assert (whole.size("train"), whole.size("val"), whole.batch) == (12, 8, 8)
    (inputs, targets), *more = whole.batches("train", epoch=3, seed=1)
    assert more == []  # an incomplete batch is left out in training
    numbers = whole.drawn(epoch=3, seed=1)
    assert torch.equal(inputs, whole.made.inputs[numbers]) and torch.equal(targets, whole.made.targets[numbers])
    assert not torch.equal(inputs, next(iter(whole.batches("train", epoch=4, seed=1)))[0])
    assert len(next(iter(whole.batches("val")))[0]) == 8


def distilling(text: str) -> Any:
    plan = check(parse(f"data digits\nmodel resnet20\nkeep as big\n{text}", "test.rcp"))
    return next(node.operation for node in plan.nodes if node.operation.verb == "distill")  # type: ignore[union-attr]


def test_distillation_looks_at_no_training_data(tmp_path: Path) -> None:
    operation = distilling("distill from big for 3 steps with kd on deepinversion(samples=12, steps=5, together=6)")
    student = replace(network(), module=network().module)
    outcome = run(operation, context(student, tmp_path, big=network()))
    assert "`deepinversion` made 12 samples" in outcome.note
    assert len(outcome.history) == 3
    moved = [
        not torch.equal(a, b)
        for a, b in zip(student.module.parameters(), outcome.network.module.parameters(), strict=True)
    ]
    assert all(moved)


def test_nothing_is_the_source(tmp_path: Path) -> None:
    assert distilling("distill from big on nothing").samples.source == DeepInversion()
    with pytest.raises(RecipeError) as caught:
        distilling("distill from self on nothing")
    assert [error.code for error in caught.value.diagnostics] == ["RCP0411"]
    with pytest.raises(RecipeError) as caught:
        distilling("finetune for 1 steps on nothing")
    assert [error.code for error in caught.value.diagnostics] == ["RCP0209"]


def test_a_teacher_without_statistics_or_of_another_size_is_refused_by_plan() -> None:
    operation = distilling("distill from big on nothing")
    bare = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 8), torch.nn.Flatten()).eval(), {}, (3, 8, 8))
    for teacher, code in ((bare, "RCP1439"), (replace(network(), input_shape=(3, 9, 9)), "RCP0914")):
        with pytest.raises(Refusal) as caught:
            foresee(operation, network(), {"big": teacher}.get)
        assert caught.value.code == code

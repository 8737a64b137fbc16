"""`prune UNIT by CRITERION`: every unit by every criterion of the catalogue, on convolutions and on a transformer.

What a recipe may not say is refused by `check`, what a network cannot do by `plan`; all else prunes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from checked import step
from contexts import context
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Labels, why_unfit
from recipelang.nets.srresnet import SRResNet
from recipelang.stages import prune
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse

UNITS, CRITERIA = catalogue.names("unit"), catalogue.names("criterion")
#: how many parts, so that a ranking decides
AMOUNTS = {"layers": "1 layers", "filters": "25% filters(round=1)", "neurons": "25% neurons(round=1)"}


class Convolutional(nn.Module):
    """Residual blocks, with a depthwise convolution in one, a group convolution in the other, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.first = nn.Sequential(
            nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.second = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2),
            nn.BatchNorm2d(8),
        )  # fmt: skip
        self.hidden, self.head = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = (x + self.first(x)).relu()
        x = (x + self.second(x)).relu()
        return self.head(self.hidden(x.mean((2, 3))).relu())


class Layer(nn.Module):
    """Attention with four heads, then an MLP, each with LayerNorm and beside a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(8), nn.LayerNorm(8)
        self.heads, self.qkv, self.proj = 4, nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before(x)).reshape(*x.shape[:2], 3, self.heads, 2).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.after(x))))


class Transformer(nn.Module):
    """Patches of 4×4 pixels and a class token through two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(1, 1, 8))
        self.layers, self.norm, self.head = nn.Sequential(Layer(), Layer()), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        return self.head(self.norm(self.layers(tokens))[:, 0])


class Images:
    """A data set in memory, the same in every split."""

    name, fingerprint, batch, target = "memory", "", 8, "class"
    labels: ClassVar[Labels] = Labels(("a", "b", "c"))
    input_shape, preprocessing, target_shape = (3, 8, 8), None, None

    def size(self, split: str) -> int:
        return 16

    def batches(self, split: str, *, samples: int | None = None, **_: Any) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            labels = torch.arange(8) % 3
            yield torch.randn(8, 3, 8, 8, generator=generator) + labels[:, None, None, None], labels


class Pairs(Images):
    """Small images and the large ones that they were made of."""

    target, labels, target_shape = "image", None, (3, 16, 16)  # type: ignore[assignment]

    def batches(self, split: str, *, samples: int | None = None, **_: Any) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            large = torch.rand(8, 3, 16, 16, generator=generator)
            yield nn.functional.avg_pool2d(large, 2), large


class Several(Images):
    """Images with several labels each."""

    target = "labels"

    def batches(self, split: str, *, samples: int | None = None, **_: Any) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            labels = (torch.rand(8, 3, generator=generator) > 0.5).float()
            yield torch.randn(8, 3, 8, 8, generator=generator) + labels.sum(1)[:, None, None, None], labels


@pytest.fixture(scope="module", params=[Convolutional, Transformer])
def network(request: Any) -> Network:
    torch.manual_seed(0)
    module = request.param().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.running_mean.data.uniform_(-0.5, 0.5)
    return Network(module, {}, (3, 8, 8), classes=("a", "b", "c"))


@pytest.fixture(scope="module")
def enlarging() -> Network:
    torch.manual_seed(0)
    return Network(SRResNet(2, blocks=2, filters=8, channels=3).eval(), {"task": "superresolution"}, (3, 8, 8))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_by_every_criterion_prunes_or_is_refused_before_it_runs(
    network: Network, unit: str, criterion: str
) -> None:
    kinds: Any = catalogue.find("criterion", criterion), catalogue.find("unit", unit)
    text = f"prune {AMOUNTS.get(unit, f'25% {unit}')} by {criterion}"
    if why_unfit(kinds[0], unit, kinds[1].scores):
        with pytest.raises(RecipeError) as refused:
            check(parse(text))
        assert [d.code for d in refused.value.diagnostics] == ["RCP0413"]
        return
    operation: Any = step(text).operation
    convolutional = isinstance(network.module, Convolutional)
    absent = {"heads"} if convolutional else {"filters"}
    bare = "batchnorm" in kinds[0].needs and (unit == "neurons" or not convolutional)
    bare |= getattr(kinds[0], "rests_on", ()) == ("convolution",) and unit == "layers" and not convolutional
    if unit in absent or bare:
        with pytest.raises(Refusal) as none:
            prune.foresee(operation, network, lambda _: None)
        assert none.value.code == ("RCP0910" if unit in absent else "RCP0916")
        return
    assert prune.foresee(operation, network, lambda _: None).found
    data: Any = Images()
    outcome = prune.run(operation, context(network, data))
    assert len(outcome.network.edits) == 1 and outcome.ranking
    images, _ = next(data.batches("train"))
    with torch.no_grad():
        assert bool(torch.isfinite(outcome.network.module(images)).all())
    assert sum(p.numel() for p in outcome.network.module.parameters()) < sum(
        p.numel() for p in network.module.parameters()
    )


def test_layers_without_what_a_criterion_needs_stay_and_the_plan_says_so() -> None:
    torch.manual_seed(0)
    module = Convolutional()
    module.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    net = Network(module.eval(), {}, (3, 8, 8), classes=("a", "b", "c"))
    for by in ("bn", "ensemble(magnitude, bn_taylor)"):
        operation: Any = step(f"prune 1 layers by {by}").operation
        assert prune.foresee(operation, net, lambda _: None).found == ("1 layer can be removed: `first`",)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_task_without_classes_by_every_criterion(enlarging: Network, criterion: str) -> None:
    """Pixel shuffles put four channels together, and the skip around all blocks is read late."""
    kind: Any = catalogue.find("criterion", criterion)
    text = f"task superresolution\nprune 25% filters(round=1) by {criterion}"
    unit: Any = catalogue.find("unit", "filters")
    if getattr(kind, "tasks", ()) or why_unfit(kind, "filters", unit.scores):
        with pytest.raises(RecipeError) as refused:
            check(parse(text))
        assert {d.code for d in refused.value.diagnostics} <= {"RCP0413", "RCP0437"}
        return
    operation: Any = step(text).operation
    data, task = Pairs(), catalogue.find("task", "superresolution")()  # type: ignore[misc]
    outcome = prune.run(operation, context(enlarging, data, task=task))
    assert len(outcome.network.edits) == 1 and outcome.ranking
    images, large = next(data.batches("train"))
    with torch.no_grad():
        assert outcome.network.module(images).shape == large.shape


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("unit", ["layers", "filters"])
def test_a_task_of_several_labels_by_every_criterion(unit: str, criterion: str) -> None:
    """Criteria of one class for each image are refused; all others rank by the task's own loss."""
    kind, removed = (catalogue.find("criterion", criterion), catalogue.find("unit", unit))
    text = f"task multilabel\nprune {AMOUNTS.get(unit, f'25% {unit}')} by {criterion}"
    tasks: Any = getattr(kind, "tasks", ())
    if (tasks and "multilabel" not in tasks) or why_unfit(kind, unit, removed.scores):  # type: ignore[union-attr]
        with pytest.raises(RecipeError) as refused:
            check(parse(text))
        assert {d.code for d in refused.value.diagnostics} <= {"RCP0413", "RCP0437"}
        return
    torch.manual_seed(0)
    network = Network(Convolutional().eval(), {"task": "multilabel"}, (3, 8, 8), classes=("a", "b", "c"))
    data, task = Several(), catalogue.find("task", "multilabel")()  # type: ignore[misc]
    outcome = prune.run(step(text).operation, context(network, data, task=task))  # type: ignore[arg-type]
    assert len(outcome.network.edits) == 1 and outcome.ranking

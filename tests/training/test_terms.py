"""Losses in the training loop: what they see of student and teachers, what they train along, and what is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang import catalogue, stages
from recipelang.errors import Refusal
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Loss, Moment, Pairing, Points, Preprocessing, Seen, Task
from recipelang.methods.losses.at import At
from recipelang.methods.losses.fitnet import FitNet
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.sp import Sp
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.cifar_resnet import SmallResNet
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.plan import Duration, Finetune, Term, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.positions import pairings, summary, with_added
from recipelang.training.teachers import Teacher, translated

TASK = Classification()
CLASSES = ("a", "b", "c")
DATA = Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3)


@pytest.fixture
def data() -> ImageDataset:
    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    pixels = (random.integers(0, 90, (24, 8, 8, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    images: Any = {s: ArrayImages(pixels, labels.astype(np.int64), (1, 1), True) for s in ("train", "val", "test")}
    return ImageDataset("toy", CLASSES, DATA, "f" * 64, 8, images)


def resnet(widths: tuple[int, ...] = (4, 8), seed: int = 0, classes: tuple[str, ...] = CLASSES, **more: Any) -> Network:
    torch.manual_seed(seed)
    module = SmallResNet((1,) * len(widths), widths, 3, len(classes))
    return Network(module.eval(), {}, (3, 8, 8), classes=classes, preprocessing=DATA, **more)


def plain(seed: int = 1) -> Network:
    """A network without shortcuts."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(160, 3)),
    )
    return Network(module.eval(), {}, (3, 8, 8), classes=CLASSES, preprocessing=DATA)


def train(
    student: Network, data: ImageDataset, silent: Any, *losses: Any, teachers: Any = (), steps: int = 3, **more: Any
) -> tuple[Network, FitRecord]:
    terms = tuple(loss if isinstance(loss, Term) else Term(1.0, loss) for loss in losses)
    named = tuple(Teacher(f"t{n}", teacher) for n, teacher in enumerate(teachers))
    training = Training(Duration(steps, "steps"), Sgd(0.05), terms)
    progress = more.pop("progress", silent())
    return fit(student, data, training, task=TASK, seed=3, progress=progress, teachers=named, **more)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in result[0].module.state_dict().items()}


FOUND: list[tuple[Seen, tuple[Seen, ...]]] = []


@dataclass(frozen=True)
class Looking(Loss):
    """Keeps what it sees, and trains a scale along."""

    teachers: ClassVar[tuple[int, int]] = (1, 2)
    complete: ClassVar[bool] = True

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        mine = student.named(("layer1", "layer2.0.conv1"))
        return tuple(Pairing(p, tuple(t.stages()[0] for t in teachers)) for p in mine)

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module:
        return nn.Linear(pairings[0].student.channels, 1)

    def __call__(
        self, student: Seen, teachers: tuple[Seen, ...], targets: Any, task: Task, parts: Any, moment: Moment
    ) -> Tensor:
        FOUND.append((student, teachers))
        scale: Tensor = parts(student.features[0].mean((2, 3))).square().mean()
        return task.loss(student.outputs, targets) + scale


def test_a_loss_sees_both_networks_on_the_same_images(data: ImageDataset, silent: Any) -> None:
    FOUND.clear()
    teachers = (plain(), resnet((6, 6), 5))
    train(resnet(), data, silent, Looking(), teachers=teachers, precision="float32")
    student, taught = FOUND[0]
    assert [tuple(f.shape) for f in student.features] == [(8, 4, 8, 8), (8, 8, 4, 4)]
    assert [[tuple(f.shape) for f in t.features] for t in taught] == [[(8, 6, 8, 8)] * 2, [(8, 6, 8, 8)] * 2]
    assert all(f.requires_grad for f in student.features) and not any(f.requires_grad for f in taught[0].features)
    with torch.no_grad():
        wanted = teachers[0].module[:3](student.inputs)
    torch.testing.assert_close(taught[0].features[0], wanted)
    torch.testing.assert_close(student.network.module.linear.weight.shape, torch.Size([3, 8]))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_parts_are_trained_along_and_gone_afterwards(data: ImageDataset, silent: Any, precision: str) -> None:
    FOUND.clear()
    student = resnet()
    before = {name: tensor.clone() for name, tensor in student.module.state_dict().items()}
    kept: list[nn.Module] = []

    class Kept(Looking):
        def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module:
            kept.append(super().parts(pairings))
            first.append(kept[0].weight.detach().clone())  # type: ignore[operator, union-attr]
            return kept[0]

    first: list[Tensor] = []
    trained, _ = train(student, data, silent, Kept(), teachers=(plain(),), precision=precision)
    assert not torch.equal(first[0], kept[0].weight)  # type: ignore[arg-type]
    assert list(trained.module.state_dict()) == list(before) and all(
        torch.equal(before[name], tensor) for name, tensor in student.module.state_dict().items()
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trained.module.modules())
    assert all(f.dtype == torch.float32 for f in FOUND[0][0].features)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_with_adapters_and_the_same_bytes(
    data: ImageDataset, silent: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    losses = (Kd(2.0, 0.5), Term(10.0, FitNet()), At(), FitNet(student="layer2", teacher="6"))
    how: Any = {"teachers": (plain(),), "steps": 7, "precision": precision}
    whole = train(resnet(), data, silent, *losses, **how)
    path = tmp_path / "c"
    with pytest.raises(Killed):
        train(resnet(), data, silent, *losses, **how, checkpoint=path, progress=silent(kill_after(5)))
    again = train(resnet(), data, silent, *losses, **how, checkpoint=path)
    assert again[1].resumed_at == 4
    assert bytes_of(again) == bytes_of(whole) and again[1].history == whole[1].history
    other = train(resnet(), data, silent, *losses[:3], **how, checkpoint=path)
    assert other[1].resumed_at == 0


def test_teachers_of_other_shapes_and_classes_serve_losses_of_features(data: ImageDataset, silent: Any) -> None:
    student = resnet()
    strangers = [
        resnet((6, 10), 1, ("x", "y", "z", "w", "v")),
        replace(plain(), preprocessing=Preprocessing((8, 8), (0.1,) * 3, (0.9,) * 3)),
    ]
    teachers = [translated(t, student, "t", outputs=False)[0] for t in strangers]
    trained, record = train(student, data, silent, At(), FitNet(), TaskLoss(), teachers=teachers)
    assert record.steps == 3 and trained.classes == CLASSES
    with pytest.raises(Refusal) as refused:
        translated(strangers[0], student, "t")
    assert refused.value.code == "RCP0914"


def test_a_student_learns_where_its_teacher_looks(data: ImageDataset, silent: Any) -> None:
    def far(network: Network) -> float:
        """At(β=1) of stage 1, written out."""
        x = next(iter(data.batches("val", batch=24)))[0]
        with torch.no_grad():
            stages = [n.module.layer1(torch.relu(n.module.bn1(n.module.conv1(x)))) for n in (network, teacher)]
        one, two = (nn.functional.normalize(s.square().mean(1).flatten(1), dim=1) for s in stages)
        return float((one - two).square().mean())

    student, teacher = resnet(), resnet((6, 8), 4)
    trained, _ = train(student, data, silent, At(), teachers=(teacher,), steps=40)
    assert far(trained) < 0.7 * far(student)


def test_nothing_is_watched_where_no_loss_looks(
    data: ImageDataset, silent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("looked")

    monkeypatch.setattr("recipelang.training.positions.find_points", never)
    monkeypatch.setattr("recipelang.surgery.points.Capture.watching", never)
    train(resnet(), data, silent, Kd(), TaskLoss(), teachers=(plain(),))
    with pytest.raises(Refusal, match="looked"):
        train(resnet(), data, silent, At(), teachers=(plain(),))


class Skipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.more, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((x if self.training else self.more(x)).mean((2, 3)))


@dataclass(frozen=True)
class Small(Loss):
    """The size of activations, of the network alone."""

    name: ClassVar[str] = "small"
    teachers: ClassVar[tuple[int, int]] = (0, 0)
    complete: ClassVar[bool] = False

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        return tuple(map(Pairing, student.stages()))

    def __call__(
        self, student: Seen, teachers: tuple[Seen, ...], targets: Any, task: Task, parts: Any, moment: Moment
    ) -> Tensor:
        assert not teachers
        return torch.stack([feature.square().mean() for feature in student.features]).sum()


def test_a_loss_may_look_at_the_network_alone(data: ImageDataset, silent: Any) -> None:
    training = Training(Duration(30, "steps"), Sgd(0.05), (Term(1.0, TaskLoss()), Term(1.0, Small())))
    told = stages.foresee(Finetune(training), resnet(), lambda _: None)
    assert told and told.found == ("`small` looks at layer1 (4×8×8)", "`small` looks at layer2 (8×4×4)")
    assert summary(training, pairings(training, resnet(), ()), ()) == ("`small` looks at layer1, layer2",)
    sizes = []
    for losses in (training.losses[:1], training.losses):
        trained, _ = train(resnet(), data, silent, *losses, steps=30)
        x = next(iter(data.batches("val", batch=24)))[0]
        with torch.no_grad():
            sizes.append(trained.module.layer1(torch.relu(trained.module.bn1(trained.module.conv1(x)))).square().mean())
    assert sizes[1] < 0.8 * sizes[0]


@dataclass(frozen=True)
class Many(Small):
    """A loss that breaks its contract: one number per stage."""

    name: ClassVar[str] = "many"

    def __call__(self, student: Seen, *rest: Any) -> Tensor:
        return torch.stack([feature.square().mean() for feature in student.features])


def test_a_loss_that_is_not_one_number_is_named(data: ImageDataset, silent: Any) -> None:
    with pytest.raises(Refusal, match=r"loss `many` .* a tensor of shape \(2,\)") as caught:
        train(resnet(), data, silent, Term(1.0, TaskLoss()), Term(1.0, Many()), steps=1)
    assert caught.value.code == "RCP0255"


def test_a_position_that_training_skips_is_named(data: ImageDataset, silent: Any) -> None:
    student = Network(Skipping().eval(), {}, (3, 8, 8), classes=CLASSES)
    with pytest.raises(Refusal) as refused:
        train(student, data, silent, At(student="more"), teachers=(student,))
    assert refused.value.code == "RCP0825" and "`more` did not run" in refused.value.message


def test_a_teacher_that_does_not_take_the_images_is_named(data: ImageDataset, silent: Any) -> None:
    picky = replace(plain(), module=nn.Sequential(nn.Conv2d(3, 4, 9), nn.Flatten(), nn.Linear(4, 3)))
    with pytest.raises(Refusal, match="the teacher `t0` does not take 3×8×8 images") as refused:
        train(resnet(), data, silent, At(), teachers=(picky,))
    assert refused.value.code == "RCP0713"


# architectures ------------------------------------------------------------------------------------------------------


def of_torchvision(build: Any, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    module = build()
    if isinstance(module, torchvision.models.VisionTransformer):
        nn.init.normal_(module.heads[0].weight, std=0.1)  # it starts at zero: no gradient would reach what is below
    return Network(module.eval(), {}, (3, 32, 32), classes=CLASSES)


def vgg() -> nn.Module:
    layers = torchvision.models.vgg.make_layers([8, "M", 16, "M", 24, 24, "M", 32, "M"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=3)


ARCHITECTURES: dict[str, Any] = {
    "digits": lambda: digits_resnet(channels=3, classes=3),
    "resnet": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3),
    "vgg": vgg,
    "mobilenet": lambda: torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=3),
    "vit": vit,
}


OF_FEATURES = ["ab", "at", "crd", "fitnet", "ft", "heo", "jacobian", "kp", "meal", "nst", "relational", "rkd", "sp"]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("loss", [*OF_FEATURES, "svd", "vid"])
def test_architectures_that_learn_from_others(name: str, loss: str, silent: Any) -> None:
    """The first layer moves and the head only decays: the loss alone trains what lies below its positions."""
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8), np.arange(4) % 3
    images: Any = {split: ArrayImages(pixels, labels.astype(np.int64)) for split in ("train", "val", "test")}
    data = ImageDataset("toy", CLASSES, Preprocessing((32, 32), (0.5,) * 3, (0.3,) * 3), "f" * 64, 4, images)
    student = of_torchvision(ARCHITECTURES[name])
    teacher = of_torchvision(vgg if name != "vgg" else ARCHITECTURES["resnet"], 1)
    kind: Any = catalogue.find("loss", loss)
    trained, _ = train(student, data, silent, kind(), teachers=(teacher,), steps=1, precision="float32")
    before, after = dict(student.module.named_parameters()), dict(trained.module.named_parameters())
    first = next(n for n, p in before.items() if p.ndim > 2)
    assert all(p.isfinite().all() for p in after.values()) and not torch.equal(before[first], after[first])
    head = list(before)[-2]
    moved = (after[head] - before[head]).norm() / before[head].norm()
    assert "outputs" in kind.compares or moved <= 1.001 * 0.05 * 5e-4  # weight decay


# every loss ---------------------------------------------------------------------------------------------------------


def transformer(seed: int = 0, heads: int = 2) -> Network:
    torch.manual_seed(seed)
    module = torchvision.models.VisionTransformer(8, 4, 2, heads, 12, 16, num_classes=3)
    return Network(module.eval(), {}, (3, 8, 8), classes=CLASSES, preprocessing=DATA)


#: a network and a teacher of a seed, for losses that do not compare any two
PAIRS: dict[str, Any] = {
    "fsp": (resnet, lambda seed: resnet(seed=seed + 1)),
    "lit": (resnet, lambda seed: resnet(seed=seed + 1)),
    "deit": (transformer, plain),
    "minilm": (transformer, lambda seed: transformer(seed + 1, 3)),
}


@pytest.mark.parametrize("name", catalogue.names("loss"))
def test_every_loss_trains_with_teachers_of_another_architecture(
    name: str, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite, the same bytes if killed, the network moves, its teachers do not, and nothing is left behind.

    `fsp` and `lit` ask for teachers with stages as wide as the network's, `minilm` for transformers.
    """
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    kind: Any = catalogue.find("loss", name)
    least, most = kind.teachers
    assert 0 <= least <= most and isinstance(kind.complete, bool) and isinstance(kind.tasks, tuple)
    assert set(kind.compares) <= {"outputs", "features"} and kind.compares
    if kind.tasks and TASK.name not in kind.tasks:
        pytest.skip(f"a loss of {kind.tasks}")
    student, other = PAIRS.get(name, (resnet, plain))
    student = student()
    made = kind(2) if name == "self" else kind()  # the network has three blocks
    for count in {least, min(most, 2)}:
        teachers, path = tuple(other(seed) for seed in range(count)), tmp_path / str(count)
        before = [{n: t.clone() for n, t in teacher.module.state_dict().items()} for teacher in teachers]
        trained, record = train(student, data, silent, made, teachers=teachers)
        with pytest.raises(Killed):
            train(student, data, silent, made, teachers=teachers, checkpoint=path, progress=silent(kill_after(2)))
        again = train(student, data, silent, made, teachers=teachers, checkpoint=path)
        assert again[1].resumed_at == 1 and again[1].history == record.history
        assert bytes_of(again) == bytes_of((trained, record)) != bytes_of((student, record))
        assert all(np.isfinite(row["loss"]) for row in record.history)
        begun = with_added(Training(Duration(1), Sgd(0.1), (Term(1.0, kind()),)), student)
        assert list(trained.module.state_dict()) == list(begun.module.state_dict())
        assert (begun is student) == (name != "deit") and trained.edits == begun.edits
        for teacher, state in zip(teachers, before, strict=True):
            assert all(torch.equal(state[n], t) for n, t in teacher.module.state_dict().items())


def test_a_term_that_explodes_is_named(data: ImageDataset, silent: Any) -> None:
    with pytest.raises(Refusal, match="became inf at step 1, .*; of its terms, `sp` did$"):
        train(resnet(), data, silent, Term(1e39, Sp()), Term(1.0, TaskLoss()), teachers=(plain(),))

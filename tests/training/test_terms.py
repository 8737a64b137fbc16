"""Losses in the training loop: what they see of student and teachers, what they train along, and what is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from killing import Killed, kill_after
from learning import CLASSES, bytes_of, pictures, plain, resnet, train
from torch import Tensor, nn

from recipelang import stages
from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Loss, Moment, Pairing, Points, Preprocessing, Seen, Task
from recipelang.methods.losses.at import At
from recipelang.methods.losses.fitnet import FitNet
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.sp import Sp
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.plan import Duration, Finetune, Term, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.positions import pairings, summary
from recipelang.training.teachers import translated


@pytest.fixture
def data() -> ImageDataset:
    return pictures()


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


def test_a_term_that_explodes_is_named(data: ImageDataset, silent: Any) -> None:
    with pytest.raises(Refusal, match="became inf at step 1, .*; of its terms, `sp` did$"):
        train(resnet(), data, silent, Term(1e39, Sp()), Term(1.0, TaskLoss()), teachers=(plain(),))
    with pytest.raises(Refusal, match="nan at step [23], .*; the step before, 100 % of it came from `sp`$") as found:
        train(resnet(), data, silent, Term(1e30, Sp()), Term(1.0, TaskLoss()), teachers=(plain(),), steps=4)
    assert found.value.help.startswith("give `sp` a smaller weight than 1e+30")

"""Losses that compare with some of their teachers in a step, or differentiate by the inputs, in the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torchvision
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Inputs, Loss, Moment, Pairing, Points, Scheme, Seen
from recipelang.methods.losses.apprentice import Apprentice
from recipelang.methods.losses.at import At
from recipelang.methods.losses.jacobian import Jacobian
from recipelang.methods.losses.rco import Rco
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.positions import pairings
from recipelang.training.teachers import Teacher


class Counting(nn.Module):
    """Counts its calls, which is not part of its state."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.calls: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(x.requires_grad)
        return self.head(self.body(x).mean((2, 3)))  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> Counting:
        return self


def counting(seed: int) -> Network:
    return Network(Counting(seed).eval(), {}, (3, 8, 8), classes=("a", "b", "c"))


def train(
    student: Network, data: ImageDataset, silent: Any, *losses: Any, teachers: Any, steps: int = 6, **more: Any
) -> tuple[Network, FitRecord]:
    named = tuple(Teacher(f"t{n}", teacher) for n, teacher in enumerate(teachers))
    training = Training(Duration(steps, "steps"), Sgd(0.05), tuple(Term(1.0, loss) for loss in losses))
    progress = more.pop("progress", silent())
    return fit(student, data, training, task=Classification(), seed=3, progress=progress, teachers=named, **more)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in result[0].module.state_dict().items()}


def test_anchors_compute_in_their_part_of_the_training_alone(network: Network, data: ImageDataset, silent: Any) -> None:
    anchors = [counting(seed) for seed in range(3)]
    train(network, data, silent, Rco(), teachers=anchors)
    assert [len(anchor.module.calls) for anchor in anchors] == [2, 2, 2]  # type: ignore[arg-type]
    anchors = [counting(seed) for seed in range(3)]
    train(network, data, silent, Rco(), Apprentice(), teachers=anchors)  # `apprentice` asks the first in every step
    assert [len(anchor.module.calls) for anchor in anchors] == [6, 2, 2]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Drawing(Loss):
    """One of its teachers is drawn in each step, and its features are compared."""

    name: ClassVar[str] = "drawing"
    teachers: ClassVar[tuple[int, int]] = (2, 9)
    complete: ClassVar[bool] = False

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        return (Pairing(student.every[0], tuple(points.every[0] for points in teachers)),)

    def consults(self, moment: Moment, count: int) -> tuple[int, ...]:
        draw = torch.Generator().manual_seed(moment.seed * 1_000 + moment.step)
        return (int(torch.randint(count, (), generator=draw)),)

    def __call__(self, student: Seen, teachers: tuple[Seen, ...], *_: Any) -> Tensor:
        (teacher,) = teachers
        return (teacher.features[0].mean((1, 2, 3)) - student.features[0].mean((1, 2, 3))).square().mean()


def test_a_teacher_that_is_drawn_is_the_same_after_a_kill(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    teachers = [counting(seed) for seed in range(2)]
    whole = train(network, data, silent, Drawing(), TaskLoss(), teachers=teachers, steps=8)
    drawn = [len(teacher.module.calls) for teacher in teachers]  # type: ignore[arg-type]
    assert sum(drawn) == 8 + 2 and min(drawn) > 1  # each once more, to find its positions
    with pytest.raises(Killed):
        train(
            network, data, silent, Drawing(), TaskLoss(), teachers=teachers, steps=8, checkpoint=tmp_path / "c",
            progress=silent(kill_after(5)),
        )  # fmt: skip
    again = train(network, data, silent, Drawing(), TaskLoss(), teachers=teachers, steps=8, checkpoint=tmp_path / "c")
    assert again[1].resumed_at == 4 and bytes_of(again) == bytes_of(whole)


SEEN: list[tuple[Seen, tuple[Seen, ...]]] = []


@dataclass(frozen=True)
class Watching(At):
    def __call__(self, student: Seen, teachers: tuple[Seen, ...], *rest: Any) -> Tensor:
        SEEN.append((student, teachers))
        return super().__call__(student, teachers, *rest)


def test_gradients_to_the_inputs_reach_the_loss_that_asks_for_them_alone(
    network: Network, data: ImageDataset, silent: Any
) -> None:
    SEEN.clear()
    teacher = counting(1)
    at = Watching(student="0", teacher="body")
    jacobian = Jacobian(student="0", teacher="body")
    train(network, data, silent, jacobian, at, TaskLoss(), teachers=(teacher,), steps=1)
    assert teacher.module.calls[-1] and not SEEN[0][0].inputs.requires_grad
    assert not any(feature.requires_grad for feature in SEEN[0][1][0].features)
    train(network, data, silent, at, TaskLoss(), teachers=(teacher,), steps=1)
    assert not teacher.module.calls[-1]


class Writing(nn.Module):
    """Changes its images in training mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x += 0.1
        return self.head(self.conv(x).mean((2, 3)))  # type: ignore[no-any-return]


def vit() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [Writing, vit])
def test_networks_that_learn_by_second_derivatives(build: Any, data: ImageDataset, silent: Any, precision: str) -> None:
    student = Network(build().eval(), {}, (3, 8, 8), classes=("a", "b", "c"))
    losses = (Jacobian(student="conv"),) if build is Writing else (Jacobian(),)
    how: Any = {"teachers": (student,), "steps": 2, "precision": precision}
    trained, record = train(student, data, silent, *losses, TaskLoss(), **how)
    assert all(p.isfinite().all() for p in trained.module.parameters()) and record.steps == 2


def test_what_is_on_a_grid_has_a_jacobian(network: Network, data: ImageDataset, silent: Any) -> None:
    one = torch.tensor(2.0)
    grids = {
        "input": Grid.between(-one, one, Scheme(8)),
        "4.weight": Grid.between(-one, one, Scheme(4, signed=True, symmetric=True)),
    }
    on_grids = network.restricted(grids)
    trained, _ = train(on_grids, data, silent, Jacobian(student="4"), TaskLoss(), teachers=(network,), steps=2)
    before, after = (n.module.get_parameter("0.weight") for n in (network, trained))
    assert after.isfinite().all() and not torch.equal(before, after)


def test_whole_numbers_have_no_jacobian() -> None:
    torch.manual_seed(0)
    words = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 8), nn.Flatten(), nn.Linear(40, 3)).eval()
    network = Network(words, {}, (5,), classes=("a", "b", "c"), inputs=Inputs(20))
    training = Training(Duration(1), Sgd(0.1), (Term(1.0, Jacobian()),))
    with pytest.raises(Refusal, match="`jacobian` compares gradients to the inputs, and whole numbers") as refused:
        pairings(training, network, (Teacher("t", network),))
    assert refused.value.code == "RCP1510"
    found = pairings(replace(training, losses=(Term(1.0, At(student="1")),)), network, (Teacher("t", network),))
    assert str(found[0][0].student) == "1 (5×8)" and found[0][0].student.through

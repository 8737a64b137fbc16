"""What losses may ask of a step beyond outputs and features: which samples it holds, and the network once more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Loss, Moment, Pairing, Points, Preprocessing, Seen, Task
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.cifar_resnet import SmallResNet
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.loop import fit

CLASSES = ("a", "b", "c")
SEEN: list[Seen] = []


@pytest.fixture
def data() -> ImageDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (22, 8, 8, 3)).astype(np.uint8)
    images: Any = {s: ArrayImages(pixels, np.arange(22) % 3) for s in ("train", "val", "test")}
    return ImageDataset("toy", CLASSES, Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3), "f" * 64, 5, images)


def resnet() -> Network:
    torch.manual_seed(0)
    return Network(SmallResNet((1, 1), (4, 8), 3, 3).eval(), {}, (3, 8, 8), classes=CLASSES)


class Unnumbered:
    """A data set that does not say which samples a batch holds."""

    def __init__(self, data: ImageDataset) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name == "drawn" or name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._data, name)


class Memory(nn.Module):
    """Counts how often it saw each sample."""

    times: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.register_buffer("times", torch.zeros(samples, dtype=torch.int64))


@dataclass(frozen=True)
class Remembering(Loss):
    """Weighs a sample by how often it was seen."""

    name: ClassVar[str] = "remembering"
    teachers: ClassVar[tuple[int, int]] = (0, 0)
    complete: ClassVar[bool] = True
    remembers: ClassVar[bool] = True

    def memory(self, pairings: tuple[Pairing, ...], samples: int) -> Memory:
        return Memory(samples)

    def __call__(
        self, student: Seen, teachers: tuple[Seen, ...], targets: Any, task: Task, parts: Any, moment: Moment
    ) -> Tensor:
        SEEN.append(student)
        parts.times[student.samples] += 1
        weights = parts.times[student.samples].float()
        each = torch.nn.functional.cross_entropy(student.outputs, targets, reduction="none")
        return (weights * each).mean()


def train(loss: Loss, data: Any, silent: Any, steps: int, **more: Any) -> Any:
    SEEN.clear()
    training = Training(Duration(steps, "steps"), Sgd(0.05), (Term(1.0, loss),))
    how: dict[str, Any] = {"task": Classification(), "seed": 3, "progress": silent(), "precision": "float32", **more}
    return fit(resnet(), data, training, **how)


@pytest.mark.parametrize("samples", [None, 13])
def test_a_loss_is_told_which_samples_a_batch_holds(data: ImageDataset, silent: Any, samples: int | None) -> None:
    train(Remembering(), data, silent, 9, samples=samples)
    taken = data.drawn(samples=samples, seed=3)
    every = torch.cat([inputs for inputs, _ in data.batches("train")])
    for seen in SEEN:
        assert torch.equal(seen.inputs, every[torch.from_numpy(taken)[seen.samples]])
    numbers = {int(n) for seen in SEEN for n in seen.samples}
    assert numbers <= set(range(len(taken))) and len(numbers) > len(taken) - 5  # epochs drop what fills no batch


def test_what_is_remembered_survives_a_kill(
    data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    whole, record = train(Remembering(), data, silent, 9)
    with pytest.raises(Killed):
        train(Remembering(), data, silent, 9, checkpoint=tmp_path / "c", progress=silent(kill_after(6)))
    again, other = train(Remembering(), data, silent, 9, checkpoint=tmp_path / "c")
    assert other.resumed_at == 5 and other.history == record.history
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], tensor)


def test_data_that_does_not_number_its_samples_is_refused(data: ImageDataset, silent: Any) -> None:
    with pytest.raises(Refusal, match="`remembering` keeps something for each .*, and the data `toy` does not") as no:
        train(Remembering(), Unnumbered(data), silent, 2)
    assert no.value.code == "RCP1500"


def test_numbers_that_do_not_fit_the_batches_are_an_error_of_the_data(data: ImageDataset, silent: Any) -> None:
    class Wrong(ImageDataset):
        def drawn(self, **how: Any) -> np.ndarray:
            return super().drawn(**how)[: None if how.get("epoch") is None else 7]

    wrong = Wrong(**{field: getattr(data, field) for field in data.__dataclass_fields__})
    with pytest.raises(Refusal, match="`drawn` gives 2 numbers for a batch of 5 samples") as no:
        train(Remembering(), wrong, silent, 4)
    assert no.value.code == "RCP0255"


@dataclass(frozen=True)
class Again(Loss):
    """Puts other activations into the network, and keeps what it makes of them."""

    name: ClassVar[str] = "again"
    teachers: ClassVar[tuple[int, int]] = (0, 0)
    complete: ClassVar[bool] = True

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        return tuple(Pairing(point) for point in student.named(("layer1", "layer2")))

    def __call__(
        self, student: Seen, teachers: tuple[Seen, ...], targets: Any, task: Task, parts: Any, moment: Moment
    ) -> Tensor:
        assert student.again is not None
        other = torch.full_like(student.features[0], 0.5)
        SEEN.append(replace(student, asked=student.again((other, student.features[1]))))
        return task.loss(student.outputs, targets) + SEEN[-1].asked[1].square().mean()


def test_a_loss_may_run_the_network_on_other_activations(data: ImageDataset, silent: Any) -> None:
    before = resnet().module.train()
    trained, _ = train(Again(), data, silent, 1)
    (seen,) = SEEN
    first, second = seen.asked
    torch.testing.assert_close(first, seen.features[0])  # nothing is replaced before it
    wanted = before.layer2(torch.full_like(first, 0.5))  # type: ignore[operator]
    torch.testing.assert_close(second, wanted)
    assert not torch.allclose(second, seen.features[1]) and second.requires_grad
    reference = resnet().module.train()
    reference(seen.inputs)  # one pass of its own: statistics of the other are not averaged
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(dict(trained.module.named_buffers())[name], buffer)
    assert all(not module._forward_hooks for module in trained.module.modules())

"""Every loss of the catalogue in the training loop, and those of features between architectures unlike each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from killing import Killed, kill_after
from learning import CLASSES, DATA, TASK, bytes_of, pictures, plain, resnet, train
from torch import nn

from recipelang import catalogue
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Preprocessing
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.positions import with_added


@pytest.fixture
def data() -> ImageDataset:
    return pictures()


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

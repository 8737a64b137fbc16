"""A small network, teachers unlike it, images to learn from, and a training on the terms of a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Preprocessing
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.cifar_resnet import SmallResNet
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.training.loop import FitRecord, fit
from recipelang.training.teachers import Teacher

TASK = Classification()
CLASSES = ("a", "b", "c")
DATA = Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3)


def pictures() -> ImageDataset:
    """24 images whose brightness decides the class: 3 batches of 8 an epoch, mirrored and shifted."""
    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    pixels = (random.integers(0, 90, (24, 8, 8, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    images: Any = {s: ArrayImages(pixels, labels.astype(np.int64), (1, 1), True) for s in ("train", "val", "test")}
    return ImageDataset("toy", CLASSES, DATA, "f" * 64, 8, images)


def resnet(widths: tuple[int, ...] = (4, 8), seed: int = 0, classes: tuple[str, ...] = CLASSES, **more: Any) -> Network:
    """A small network with shortcuts, a block a stage."""
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
    """Train on losses or terms; teachers are called `t0`, `t1`, …"""
    terms = tuple(loss if isinstance(loss, Term) else Term(1.0, loss) for loss in losses)
    named = tuple(Teacher(f"t{n}", teacher) for n, teacher in enumerate(teachers))
    training = Training(Duration(steps, "steps"), Sgd(0.05), terms)
    progress = more.pop("progress", silent())
    return fit(student, data, training, task=TASK, seed=3, progress=progress, teachers=named, **more)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    """The weights of what a training gave, to the bit."""
    return {n: t.contiguous().numpy().tobytes() for n, t in result[0].module.state_dict().items()}

"""The training loop compared with a loop written by hand: images per second, interleaved; the target is 0.97.

    python benchmarks/training.py [--rounds 7] [--steps 12] [--threads 1]

Both train ResNet-20 on images of CIFAR's size with the same batches, precision and memory format. The hand-written
loop has no checkpoint, no history, no masks and no check of the loss.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import ModelRequest, Preprocessing, Quiet
from recipelang.methods.models.resnet20 import ResNet20
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.machine import choose_precision

TARGET = 0.97


def synthetic() -> ImageDataset:
    """4,096 images of 32×32 pixels, cropped and mirrored like CIFAR."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8)
    images = ArrayImages(pixels, random.integers(0, 10, 4096), padding=(4, 4), flip=True)
    splits = {"train": images, "val": images, "test": images}
    return ImageDataset(
        "synthetic", tuple("abcdefghij"), Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3), "0", 128, splits
    )


def by_hand(network: Network, data: ImageDataset, steps: int, precision: str) -> None:
    """The loop that one would write in a notebook."""
    module = network.clone().module.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, (x, y) in enumerate(data.batches("train", epoch=0)):
        if step == steps:
            break
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = module(x)
        loss = nn.functional.cross_entropy(outputs.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def by_us(network: Network, data: ImageDataset, steps: int, precision: str, folder: Path) -> None:
    """The same with `fit`, including the checkpoint."""
    training = Training(Duration(steps, "steps"), Sgd(Cosine(0.01)))
    path = folder / "checkpoint"
    path.unlink(missing_ok=True)
    fit(network, data, training, task=Classification(), seed=0, progress=Quiet(), precision=precision, checkpoint=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data, precision = synthetic(), choose_precision("auto", "cpu")
    network = ResNet20().build(ModelRequest(classes=data.classes, input_shape=data.input_shape))
    ratios, seconds = [], []
    with tempfile.TemporaryDirectory() as name:
        ways = (
            lambda: by_hand(network, data, given.steps, precision),
            lambda: by_us(network, data, given.steps, precision, Path(name)),
        )
        for round in range(-1, given.rounds):  # the first is warm-up
            taken = [0.0, 0.0]
            for which in (0, 1) if round % 2 else (1, 0):
                start = time.perf_counter()
                ways[which]()
                taken[which] = time.perf_counter() - start
            if round >= 0:
                ratios.append(taken[0] / taken[1])
                seconds.append(taken[1])
    rate = given.steps * data.batch / statistics.median(seconds)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(
        f"training loop over a loop by hand, {precision}: {statistics.median(ratios):.3f} ({spread}), target {TARGET}"
    )
    print(f"{rate:.0f} images/s with {given.threads} thread{'s' * (given.threads != 1)}")


if __name__ == "__main__":
    main()

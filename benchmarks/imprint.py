"""What ranking by imprint costs, and how good it is.

    python benchmarks/imprint.py [--images 1024] [--rounds 7]

Cost: the pass of `imprint` over training and validation images compared with plain forward passes of the same network
over the same images, alternating, on random images of the CIFAR ResNet-56's shape. Target: a ratio of 1.15 at most.
Quality: with real data (RECIPELANG_DATA names the folder with `cifar10/` or `cifar10.tar.gz` and
`resnet56-cifar10-jpeg.safetensors`), rank correlation with the loss after leaving each block out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from recipelang.kinds import Batch, Dataset, Labels, ModelRequest, Preprocessing, names_of
from recipelang.methods.criteria.imprint import Imprint
from recipelang.methods.data.cifar10 import Cifar10
from recipelang.methods.models.resnet56 import ResNet56
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.layers import Layers, as_group
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import rank, spearman
from recipelang.surgery.candidates import Candidate, find_layers
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input

TARGET = 1.15
SIMILARITIES = ("cosine", "distance", "inner")
TRAIN_SAMPLES, TEST_SAMPLES = 4500, 5000


@dataclass(frozen=True)
class RandomImages:
    """The same random images for each split, in memory."""

    images: Tensor
    classes: Tensor
    name: str = "random"
    labels: Labels = Labels(tuple("0123456789"))
    target: str = "class"
    target_shape: tuple[int, ...] | None = None
    preprocessing: Preprocessing = Preprocessing((32, 32), (0.0,) * 3, (1.0,) * 3)
    fingerprint: str = ""
    batch: int = 128

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return 3, 32, 32

    def size(self, split: str) -> int:
        return len(self.classes)

    def batches(
        self, split: str, *, batch: int | None = None, samples: int | None = None, epoch: int | None = None,
        seed: int = 0, start: int = 0,
    ) -> Iterator[Batch]:  # fmt: skip
        yield from map(Batch, self.images.split(self.batch), self.classes.split(self.batch))


def gathered(network: Network, data: Dataset, samples: int | None = None) -> Gathered:
    """Evidence about every candidate of the network."""
    layers = find_layers(network.module, example_input(network))
    return Gathered(network, data, Classification(), tuple(map(as_group, layers)), samples=samples)


def cost(images: int, rounds: int) -> list[float]:
    """Ratios of processor time, imprint over plain forward passes; the order within a round alternates."""
    generator = torch.Generator().manual_seed(0)
    data = RandomImages(
        torch.randn(images, 3, 32, 32, generator=generator), torch.randint(10, (images,), generator=generator)
    )
    evidence = gathered(ResNet56().build(ModelRequest(classes=names_of(data), input_shape=(3, 32, 32))), data)
    module, criterion = evidence.module, Imprint(embedding=evidence.embedding_length)

    def plain() -> None:
        with torch.no_grad():
            for split in ("train", "val"):
                for images, _ in data.batches(split):
                    module(images.contiguous(memory_format=torch.channels_last))

    def imprint() -> None:
        criterion.score(evidence)

    def seconds(work: Callable[[], None]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    plain(), imprint()  # warm up
    ratios = []
    for turn in range(rounds):
        order = (plain, imprint) if turn % 2 == 0 else (imprint, plain)
        taken = {work: seconds(work) for work in order}
        ratios.append(taken[imprint] / taken[plain])
    return ratios


def leave_one_out(module: nn.Module, candidates: tuple[Candidate, ...], loss: Callable[[], float]) -> dict[str, float]:
    """Candidate → loss without it minus loss with it: what every ranking tries to predict."""
    healthy = loss()
    found = {}
    for candidate in candidates:
        bypass = module.get_submodule(candidate.paths[-1]).register_forward_hook(lambda _, inputs, output: inputs[0])
        found[candidate.name] = loss() - healthy
        bypass.remove()
    return found


def worth(data: Dataset, weights: Path) -> dict[str, float]:
    """Rank correlation of each similarity with leaving each block of the published ResNet-56 out, on test images."""
    request = ModelRequest(classes=names_of(data), input_shape=data.input_shape)
    evidence = gathered(ResNet56(weights=str(weights)).build(request), data, TRAIN_SAMPLES)

    @torch.no_grad()
    def loss() -> float:
        losses = [
            nn.functional.cross_entropy(evidence.module(images), labels, reduction="sum")
            for images, labels in data.batches("test", samples=TEST_SAMPLES, batch=500)
        ]
        return float(sum(losses)) / TEST_SAMPLES

    truth = leave_one_out(evidence.module, evidence.candidates, loss)
    return {
        similarity: spearman(_scores(Imprint(similarity=similarity), evidence), truth) for similarity in SIMILARITIES
    }


def _scores(criterion: Imprint, evidence: Gathered) -> dict[str, float]:
    return {step.group: step.score for step in rank(criterion, Layers(), evidence, evidence.groups).steps}


def _unpacked(root: Path, scratch: Path) -> Path | None:
    """The folder of CIFAR-10, unpacked if only its archive exists."""
    if (root / "cifar10").is_dir():
        return root / "cifar10"
    if not (root / "cifar10.tar.gz").is_file():
        return None
    with tarfile.open(root / "cifar10.tar.gz") as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "cifar10"


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=1024, help="images in each of the two splits")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ratios = cost(arguments.images, arguments.rounds)
    spread = f"{min(ratios):.3f}–{max(ratios):.3f}"
    print(f"imprint / plain forward: {statistics.median(ratios):.3f} ({spread}), target {TARGET}")

    root = Path(os.environ.get("RECIPELANG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    weights = root / "resnet56-cifar10-jpeg.safetensors"
    with tempfile.TemporaryDirectory() as scratch:
        folder = _unpacked(root, Path(scratch))
        if folder is None or not weights.is_file():
            print("rank correlation: RECIPELANG_DATA names no folder with CIFAR-10 and the weights; skipped")
            return
        for similarity, correlation in worth(Cifar10(root=str(folder)).open(Path), weights).items():
            print(f"rank correlation with leaving each block out, {similarity}: {correlation:+.2f}")


if __name__ == "__main__":
    main()

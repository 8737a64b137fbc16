"""What calibration costs: time and memory of `quantize weights, activations to 8 bits` on so many images.

    python benchmarks/calibration.py [--quantizers minmax kl] [--images 128 512 2048] [--weights FILE] [--data FOLDER]

ResNet-56, images of CIFAR's size, one thread; each row is a process of its own. The time is the processor's, and that
which passed. Memory is the largest that the process held while it calibrated, less what it held before. Without
`--data` images are random and made batch by batch, so that they take no memory themselves; with it they are those of
CIFAR-10. The targets are 60 s of the processor for `kl` on 512 images, and the same memory for any number of images.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from quantization import healthy

from recipelang.catalogue import find
from recipelang.kinds import Batch, Quiet
from recipelang.methods.data.cifar10 import Cifar10
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Samples
from recipelang.stages import quantize
from recipelang.stages.context import Context
from recipelang.verbs.quantize import Quantize

TARGET_S = 60.0
BATCH = 64


class Drawn:
    """Random images, made when they are asked for."""

    name = "drawn"

    def size(self, split: str) -> int:
        """More than anybody asks for."""
        return 10**6

    def batches(self, split: str, samples: int | None = None, seed: int = 0) -> Iterator[Batch]:
        """The same images in every pass."""
        draws = torch.Generator().manual_seed(seed)
        for start in range(0, samples or self.size(split), BATCH):
            count = min(BATCH, (samples or self.size(split)) - start)
            yield Batch(torch.randn(count, 3, 32, 32, generator=draws), torch.zeros(count))


def held() -> float:
    """The most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def calibrate(quantizer: str, images: int, weights: str, folder: str) -> dict[str, Any]:
    """A row: seconds and MiB of one calibration, in this process."""
    torch.set_num_threads(1)
    network = healthy("resnet56", weights)
    data: Any = Cifar10(folder).open(Path) if folder else Drawn()
    with torch.no_grad():  # what the first call of a process allocates is not calibration's
        network.module(next(iter(data.batches("train", samples=BATCH))).inputs)
    made: Any = find("quantizer", quantizer)
    operation = Quantize(("weights", "activations"), 8, made(), samples=Samples("train", images))
    asked: Any = None  # nothing here has another state or a condition
    context = Context(network, data, Classification(), 0, "cpu", 1, Path(), asked, asked, asked, progress=Quiet())
    before, started, worked = held(), time.monotonic(), time.process_time()
    quantize.run(operation, context)
    return {
        "quantizer": quantizer,
        "images": images,
        "processor_s": time.process_time() - worked,
        "s": time.monotonic() - started,
        "mib": held() - before,
    }


def main() -> None:
    """Print a row for each quantizer and number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantizers", nargs="*", default=["minmax", "kl"])
    parser.add_argument("--images", nargs="*", type=int, default=[128, 512, 2048])
    parser.add_argument("--weights", default="", help="safetensors of a ResNet-56; random ones take the same time")
    parser.add_argument("--data", default="", help="folder of CIFAR-10")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)  # one row, as JSON
    asked = parser.parse_args()
    if asked.row:
        print(json.dumps(calibrate(asked.row[0], int(asked.row[1]), asked.weights, asked.data)))
        return
    print(f"{'quantizer':10} {'images':>6} {'processor':>10} {'passed':>8} {'memory':>8}")
    for quantizer in asked.quantizers:
        for images in asked.images:
            command = [sys.executable, __file__, "--row", quantizer, str(images)]
            command += ["--weights", asked.weights, "--data", asked.data]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            kept = (
                "" if (quantizer, images) != ("kl", 512) else "  met" if row["processor_s"] < TARGET_S else "  missed"
            )
            print(
                f"{quantizer:10} {images:6} {row['processor_s']:8.1f} s {row['s']:6.1f} s {row['mib']:4.0f} MiB{kept}",
                flush=True,
            )


if __name__ == "__main__":
    main()

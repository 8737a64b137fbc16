"""Integers against float32 in the same runtime: processor time of one thread.

    python benchmarks/quantization.py [--weights FILE] [--networks resnet56 resnet18 …] [--json FILE]

`--weights` is a published ResNet-56 (safetensors); random weights take the same time. All networks of a row are called
in turn in one process; ratios are those of medians, to healthy in float32 in the same runtime. On a machine that others
use: `taskset -c 1 nice -n -15 python benchmarks/quantization.py`. `quantization_accuracy.py` has the accuracy.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from recipelang.catalogue import find
from recipelang.kinds import Batch, Deployment, Quiet
from recipelang.methods.tasks.classification import Classification
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.plan import Samples
from recipelang.stages import quantize
from recipelang.stages.context import Context
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.edits.remove_layer import RemoveLayer
from recipelang.surgery.network import Network
from recipelang.verbs.quantize import Quantize

RUNTIMES = ("onnxruntime", "openvino")
ROUNDS, CALL_S = 41, 4e-3
#: Ten of the 25 blocks of ResNet-56 that can be removed: 4, 3 and 3 of the stages.
REMOVED = ("1.2", "1.4", "1.6", "1.8", "2.3", "2.5", "2.7", "3.3", "3.5", "3.7")
#: network → side of an image, batches, and the ratios that int8 and layers with int8 are to reach.
NETWORKS: dict[str, tuple[int, tuple[int, ...], dict[str, float]]] = {
    "resnet56": (32, (1, 8, 64), {"int8": 0.45, "both": 0.31}),
    "resnet18": (224, (1,), {"int8": 0.35}),
    "resnet50": (224, (1,), {"int8": 0.34}),
    "mobilenet_v2": (224, (1,), {"int8": 0.50}),
}


class Images:
    """Images without labels, as data that a stage may look at."""

    name = "images"

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def size(self, split: str) -> int:
        """How many there are."""
        return len(self.images)

    def batches(self, split: str, samples: int | None = None, seed: int = 0) -> Iterator[Batch]:
        """In the order in which they are."""
        for part in self.images[:samples].split(64):
            yield Batch(part, torch.zeros(len(part)))


def quantized(network: Network, images: Tensor, quantizer: str = "minmax", bits: int = 8, **settings: Any) -> Network:
    """The network after `quantize weights, activations to BITS bits by QUANTIZER on` these images."""
    made: Any = find("quantizer", quantizer)
    rounder: Any = find("rounder", settings.pop("rounder")) if "rounder" in settings else None
    operation = Quantize(
        ("weights", "activations"),
        bits,
        made(**settings),
        samples=Samples("train", len(images)),
        **({"rounder": rounder()} if rounder else {}),
    )
    asked: Any = None  # nothing here has another state or a condition
    data: Any = Images(images)
    context = Context(network, data, Classification(), 0, "cpu", 1, Path(), asked, asked, asked, progress=Quiet())
    return quantize.run(operation, context).network


def healthy(name: str, weights: str = "") -> Network:
    """A network of this shape, with random weights where there are no others."""
    torch.manual_seed(0)
    side = NETWORKS[name][0]
    if name == "resnet56":
        module = cifar_resnet(56, channels=3, classes=10)
        if weights:
            module.load_state_dict(load_file(weights))
    else:
        module = getattr(torchvision.models, name)(weights=None)
    return Network(module.eval(), {}, (3, side, side))


def variants(name: str, weights: str) -> dict[str, Network]:
    """What is timed: healthy first."""
    whole = healthy(name, weights)
    images = torch.randn(16, *whole.input_shape, generator=torch.Generator().manual_seed(1))
    found = {"float32": whole, "int8": quantized(whole, images)}
    if name == "resnet56":
        fewer = apply_edits(whole, [RemoveLayer(f"layer{block}", (f"layer{block}",)) for block in REMOVED])
        found |= {"layers": fewer, "both": quantized(fewer, images)}
    return found


def timed(calls: dict[tuple[str, str], Any], example: Tensor) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of processor time of one call, in rounds of another order each."""
    repeats = {}
    for key, call in calls.items():
        call(example)
        start = time.process_time()
        call(example)
        repeats[key] = max(1, round(CALL_S / max(time.process_time() - start, 1e-5)))
    found: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    shuffled, order = list(calls), random.Random(0)
    for _ in range(ROUNDS):
        order.shuffle(shuffled)
        for key in shuffled:
            call = calls[key]
            call(example)  # the caches are its own
            start = time.process_time()
            for _ in range(repeats[key]):
                call(example)
            found[key].append(1e3 * (time.process_time() - start) / repeats[key])
    return found


def rows(name: str, weights: str) -> Iterator[dict[str, Any]]:
    """Each batch, runtime and variant of a network."""
    nets = variants(name, weights)
    _, batches, targets = NETWORKS[name]
    for batch in batches:
        calls, integers = {}, {}
        for runtime in RUNTIMES:
            made: Any = find("runtime", runtime)
            for variant, network in nets.items():
                ready = made().prepare(network, Deployment(batch=batch))
                layers = [row.executes for row in ready.execution() if row.executes != "removed"]
                integers[runtime, variant] = f"{layers.count('int8')} of {len(layers)}"
                calls[runtime, variant] = ready
        example = torch.randn(batch, *nets["float32"].input_shape, generator=torch.Generator().manual_seed(2))
        with torch.inference_mode():
            found = timed(calls, example)
        for (runtime, variant), times in found.items():
            middle, whole = statistics.median(times), statistics.median(found[runtime, "float32"])
            low, _, high = statistics.quantiles(times, n=4)
            told = {"network": name, "batch": batch, "runtime": runtime, "variant": variant, "ms": middle}
            told |= {"ratio": middle / whole, "quartiles": [low / whole, high / whole]}
            yield told | {"integers": integers[runtime, variant], "target": targets.get(variant)}


def main() -> None:
    """Print a row for everything that is timed, then which targets the better runtime reaches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="", help="ResNet-56 as safetensors")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--json", default="", help="a file for the numbers")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in asked.networks:
        for row in rows(name, asked.weights):
            found.append(row)
            low, high = row["quartiles"]
            print(
                f"{row['network']:13} batch {row['batch']:<3} {row['runtime']:12} {row['variant']:8} {row['ms']:8.3f}"
                f" ms  {row['ratio']:.3f} ({low:.3f} to {high:.3f})  int8: {row['integers']}",
                flush=True,
            )
    for name, batch, variant in dict.fromkeys((r["network"], r["batch"], r["variant"]) for r in found if r["target"]):
        best = min(
            (r for r in found if (r["network"], r["batch"], r["variant"]) == (name, batch, variant)),
            key=lambda row: row["ratio"],
        )
        verdict = "reached" if best["ratio"] <= best["target"] else "missed"
        print(f"{name} batch {batch} {variant}: {best['ratio']:.3f} by {best['runtime']}, {best['target']} {verdict}")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

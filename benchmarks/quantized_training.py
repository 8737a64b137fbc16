"""What quantization-aware training costs: processor time of a fake-quantized step over that of a plain one.

    python benchmarks/quantized_training.py [--rounds 5] [--steps 10] [--bits 4] [--only lsq,ste,pact]
        [--model resnet20] [--precision float32]

A network for images of CIFAR's size trains in batches of 128, with the weights and activations that each quantizer that
learns has, with those of `minmax` (straight through), and in full precision, one after another in an order that changes
from round to round, on one thread. A step is timed from the end of the one before it; the first of a training is left
out. The target is 1.60 in float32.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from companions import Marks, in_turn
from training import synthetic

from recipelang import catalogue
from recipelang.kinds import Dataset, ModelRequest, Observed
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Selection, Training
from recipelang.surgery.network import Network
from recipelang.surgery.places import at_places
from recipelang.surgery.quantizing import activation_grids, places_of, weight_grids
from recipelang.surgery.tracing import evaluating
from recipelang.training.loop import fit

TARGET = 1.60
PLAIN = ""


def observed(network: Network, places: tuple[str, ...], data: Dataset) -> dict[str, Observed]:
    """What passes these places on one batch."""
    found: dict[str, Observed] = {}

    def watch(place: str, value: torch.Tensor) -> torch.Tensor:
        if place in places:
            values = value.flatten()
            found[place] = Observed(values.min(), values.max(), values[:: max(1, len(values) // 4096)])
        return value

    images, _ = next(iter(data.batches("train", samples=data.batch)))
    with at_places(network.module, watch), evaluating(network.module):
        network.module(images)
    return found


def quantized(network: Network, name: str, bits: int, data: Dataset) -> Network:
    """The network with the numbers of a quantizer, at the width of its own that is nearest."""
    method: Any = catalogue.find("quantizer", name)
    made = method()
    bits = min(made.bits, key=lambda width: abs(width - bits))
    places = places_of(network, Selection(), made.parts)
    found = dict(weight_grids(network, places.weights, bits, made))
    found |= activation_grids(observed(network, places.activations, data), bits, made)
    return network.restricted(found)


def step(network: Network, data: Dataset, steps: int, precision: str) -> float:
    """The processor time of a step of a training."""
    marks = Marks()
    training = Training(Duration(steps, "steps"), Sgd(0.001))
    fit(network, data, training, task=Classification(), seed=0, progress=marks, precision=precision)
    return marks.step


def main() -> None:
    learning = [
        name for name in catalogue.names("quantizer") if getattr(catalogue.find("quantizer", name), "learns", 0)
    ]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--only", default=",".join(["minmax", *learning]))
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--precision", default="float32")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = synthetic()
    model: Any = catalogue.find("model", given.model)
    network = model().build(ModelRequest(classes=data.classes, input_shape=data.input_shape))
    ways = {PLAIN: network}
    ways |= {name: quantized(network, name, given.bits, data) for name in given.only.split(",")}
    seconds = in_turn(list(ways), given.rounds, lambda name: step(ways[name], data, given.steps, given.precision))
    plain = seconds.pop(PLAIN)
    taken = 1e3 * statistics.median(plain)
    print(f"{given.model}, batches of {data.batch}, {given.precision}: a plain step takes {taken:.0f} ms")
    for name, mine in seconds.items():
        ratios = [one / other for one, other in zip(mine, plain, strict=True)]
        reached = statistics.median(ratios)
        kept = "met" if reached <= TARGET else "missed"
        print(f"{name}: {reached:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {TARGET:.2f} {kept}")


if __name__ == "__main__":
    main()

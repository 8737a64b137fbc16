"""Linear layers on grids in onnxruntime: single layers of some rows, and whole transformers at batch 1.

    python benchmarks/transformers.py [--only products,decode,encoder,vit] [--rounds 15] [--json FILE]

Every network has random weights and is compared with its simulation before it is timed. One thread, processor time of
the process, all variants of a network alternating; numbers are medians, divided by that of the network in float32 in
the same runtime. `off` is how far the answers of the simulated network are from float32's, as a part of their norm: of
random weights, which says nothing about a trained network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import vit_b_16

from recipelang.catalogue import find
from recipelang.kinds import Deployment, Observed
from recipelang.plan import Selection
from recipelang.runtimes.onnx_compared import distance
from recipelang.runtimes.onnx_executable import prepare
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, attending, places_of, weight_grids
from recipelang.surgery.tracing import example_input

GROUP = 64
#: rows × inputs → outputs: decoding with a language model, and what ViT-B/16 and a smaller transformer multiply
PRODUCTS = ((1, 2048, 5632), (1, 768, 3072), (8, 2048, 2048), (197, 768, 3072), (50, 384, 1536))
#: Seconds of processor time that a sample lasts at least.
SAMPLE = 0.05


class Encoder(nn.Module):
    """Torch's own encoder layers over 64 tokens that are embedded already."""

    def __init__(self, wide: int = 512, layers: int = 6) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(wide, 8, 4 * wide, batch_first=True, norm_first=True, activation="gelu")
        self.layers, self.head = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.Linear(wide, 100)

    def forward(self, x: Tensor) -> Tensor:
        """B×1×tokens×channels → B×100."""
        return self.head(self.layers(x.squeeze(1)).mean(1))


def decode() -> Network:
    """Four products of one row: 2048 ↔ 5632, as between two tokens of a language model."""
    wide, hidden = 2048, 5632
    layers = [nn.Linear(wide, hidden), nn.Linear(hidden, wide), nn.Linear(wide, hidden), nn.Linear(hidden, wide)]
    return Network(nn.Sequential(*layers).eval(), {}, (wide,))


def encoder() -> Network:
    """A text-like transformer of six layers of 512 channels."""
    return Network(Encoder().eval(), {}, (1, 64, 512))


def vit() -> Network:
    """ViT-B/16 of torchvision, whose head is zero when it is new."""
    module = vit_b_16(weights=None)
    nn.init.normal_(module.heads.head.weight, std=0.02)
    return Network(module.eval(), {}, (3, 224, 224))


def product(rows: int, inputs: int, outputs: int) -> Network:
    """One linear layer of this many rows."""
    return Network(nn.Linear(inputs, outputs).eval(), {}, (rows, inputs))


NETWORKS: dict[str, Callable[[], Network]] = {"decode": decode, "encoder": encoder, "vit": vit}


def in_groups(network: Network, bits: int) -> Network:
    """`quantize weights to … bits by minmax(per=group, group=64) in type(Linear)`."""
    quantizer: Any = find("quantizer", "minmax")(per="group", group=GROUP)  # type: ignore[misc]
    found = places_of(network, Selection(), ("weights",))
    weights = {name: axis for name, axis in found.weights.items() if network.module.get_parameter(name).ndim == 2}
    return network.restricted(weight_grids(network, weights, bits, quantizer))


def dynamic(network: Network) -> Network:
    """`quantize weights, activations to 8 bits by dynamic`."""
    quantizer: Any = find("quantizer", "dynamic")()  # type: ignore[misc]
    found = places_of(network, Selection(), ("weights", "activations"), quantizer)
    unseen = Observed(torch.zeros(()), torch.zeros(()))
    grids = weight_grids(network, found.weights, 8, quantizer)
    return network.restricted(grids | activation_grids(dict.fromkeys(found.activations, unseen), 8, quantizer))


def variants(network: Network) -> Iterator[tuple[str, Network]]:
    """Every way of having fewer bits, float32 first."""
    yield "float32", network
    for bits in (8, 4, 3, 2):
        yield f"weights {bits} bits, groups of {GROUP}", in_groups(network, bits)
    yield "dynamic, 8 bits", dynamic(network)


def timed(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of one call, a sample of each variant in every round."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start, count = time.process_time(), 0
            while (passed := time.process_time() - start) < SAMPLE:
                call()
                count += 1
            found[name].append(passed / count)
    return found


def measured(name: str, made: Callable[[], Network], rounds: int) -> list[dict[str, Any]]:
    """A row for each variant of a network."""
    torch.manual_seed(0)
    network = attending(made(), Selection())
    inputs = example_input(network, 1)
    with torch.no_grad():
        whole = deployed(network)(inputs).double()
    rows, calls = [], {}
    for what, one in variants(network):
        ready = prepare(one, Deployment(batch=1))
        with torch.no_grad():
            off = distance(deployed(one)(inputs).double(), whole)
        executes = Counter(row.executes for row in ready.execution() if row.executes != "never")
        rows.append({"network": name, "variant": what, "off": off, "executes": dict(executes)})
        calls[what] = lambda ready=ready: ready(inputs)
    times = timed(calls, rounds)
    base = statistics.median(times["float32"])
    for row in rows:
        each = sorted(times[row["variant"]])
        row |= {"seconds": statistics.median(each), "ratio": statistics.median(each) / base}
        row |= {"low": each[len(each) // 4] / base, "high": each[-1 - len(each) // 4] / base}
    return rows


def main() -> None:
    """Measure, print a table for each network, and write the numbers."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--only", default=",".join(("products", *NETWORKS)), help="what is measured")
    reader.add_argument("--rounds", type=int, default=15)
    reader.add_argument("--json", type=Path)
    asked = reader.parse_args()
    torch.set_num_threads(1)
    every = []
    chosen: dict[str, Callable[[], Network]] = {}
    for name in asked.only.split(","):
        if name == "products":
            chosen |= {f"{r} × {i} → {o}": partial(product, r, i, o) for r, i, o in PRODUCTS}
        else:
            chosen[name] = NETWORKS[name]
    for name, made in chosen.items():
        rows = measured(name, made, asked.rounds)
        every += rows
        print(f"\n{name}\n")
        print("| variant | time, of float32 | quartiles | off | layers |\n|---|---|---|---|---|")
        for row in rows:
            layers = ", ".join(f"{count} {executes}" for executes, count in row["executes"].items())
            spread = f"{row['low']:.3f} to {row['high']:.3f}"
            print(f"| {row['variant']} | {row['ratio']:.3f} | {spread} | {row['off']:.2g} | {layers} |", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()

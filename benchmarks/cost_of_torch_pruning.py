"""What finding, ranking and removing filters costs, ours and Torch-Pruning's: processor time and memory.

    python benchmarks/cost_of_torch_pruning.py [--rounds 3] [MODEL …]

Needs `pip install "recipelang[bench]"`. 30 % of the filters of ResNet-56 (32×32) and of networks of torchvision
(224×224), with random weights, ranked by L2 norm: processor time of one thread from the built network to the smaller
one, and the peak memory of the process over that of the network as built; the medians of some processes each. Ours
includes the trial with random parameters and the comparison with the network in which these filters are zero.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from importlib.util import find_spec
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
from against_torch_pruning import Bench, by_torch_pruning

from recipelang.kinds import ModelRequest
from recipelang.methods.models.resnet56 import ResNet56
from recipelang.methods.models.torchvision import Torchvision
from recipelang.surgery.tracing import example_input


def measure(name: str, tool: str, told: Queue[Any]) -> None:
    """Put (seconds, MB) of one tool for one network into the queue."""
    torch.set_num_threads(1)
    size, classes = (32, 10) if name == "resnet56" else (224, 1000)
    request = ModelRequest(classes=tuple(map(str, range(classes))), input_shape=(3, size, size))
    network = (ResNet56() if name == "resnet56" else Torchvision(name)).build(request)
    with torch.no_grad():  # kernels and libraries that any network loads
        network.module.eval()(example_input(network))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if tool == "Torch-Pruning":
        by_torch_pruning(network, 0.3)
    else:
        Bench(network, None, Path()).pruned("prune 30% filters by magnitude")  # type: ignore[arg-type]
    seconds = time.process_time() - start
    told.put((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def main() -> None:
    """Print a line for each network and tool."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=["resnet56", "resnet18", "resnet50"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if find_spec("torch_pruning") is None:
        print('Torch-Pruning is not installed: pip install "recipelang[bench]"; skipped')
        return
    context = multiprocessing.get_context("spawn")
    print("| network | tool | processor time | memory |\n| --- | --- | --- | --- |", flush=True)
    for name in options.models:
        for tool in ("recipelang", "Torch-Pruning"):
            told: Queue[Any] = context.Queue()
            for _ in range(options.rounds):  # each in a process of its own, for its peak memory
                worker = context.Process(target=measure, args=(name, tool, told))
                worker.start()
                worker.join()
            seconds, memory = zip(*(told.get(timeout=1) for _ in range(options.rounds)), strict=True)
            print(
                f"| {name} | {tool} | {statistics.median(seconds):.1f} s | {statistics.median(memory):.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()

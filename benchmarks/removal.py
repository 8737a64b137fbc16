"""How much of torchvision's networks can be removed by channels, whether parity holds, and what it costs.

    python benchmarks/removal.py [--share 0.3] [--largest 150] [MODEL …]

Every classification network of torchvision with at most `--largest` million parameters, untrained, with random values
in every parameter, so that nothing hides a wrong cut. Of every group of channels a random share is removed. Prints for
each network: groups by kind and how many modules keep all of their channels; the share of its parameters that is gone;
the largest difference, relative to the largest output and in 64 bits, to the network in which the parameters of these
channels are zero; whether the log replayed on a new build gives the same bits and one training step works; processor
time on one thread for finding and for removing; and the peak memory of the process over that of the network as built.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import random
import resource
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torchvision import models

from recipelang.surgery.edits import from_json, replay
from recipelang.surgery.network import Network
from recipelang.surgery.parity import answers_in, largest_difference
from recipelang.surgery.randomised import randomised
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed, remove_channels
from recipelang.surgery.tracing import evaluating, example_input

#: networks that fix the size of their input, or whose training form needs more than 64 pixels
SIZES = {"vit": 224, "maxvit": 224, "inception": 299, "googlenet": 96}
#: settings without which a constructor warns
SETTINGS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def build(name: str) -> nn.Module:
    """A network without weights, for ten classes."""
    module: nn.Module = models.get_model(name, weights=None, num_classes=10, **SETTINGS.get(name, {}))
    return module


def image_size(name: str) -> int:
    """Pixels on a side."""
    return next((size for start, size in SIZES.items() if name.startswith(start)), 64)


def zeroed(network: Network, found: Removable, chosen: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of the network in which the parameters of these units are zero."""
    module = copy.deepcopy(network.module)
    parameters = dict(module.named_parameters())
    for group in found.groups:
        for place in group.places:
            if place.name in parameters:
                gone = [k for unit in chosen.get(group.name, ()) for k in place.positions[unit]]
                parameters[place.name].data.index_fill_(place.axis, torch.tensor(gone, dtype=torch.long), 0)
    return module


def trains(module: nn.Module, network: Network) -> bool:
    """Whether a step of training works."""
    answers = answers_in(module.train()(example_input(network)))
    torch.stack([answer.square().mean() for answer in answers]).sum().backward()
    torch.optim.SGD(module.parameters(), lr=1e-3).step()
    return True


def measure(name: str, share: float) -> None:
    """Measure one network and print its line."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, size = build(name), image_size(name)
    network = Network(module, {}, (3, size, size))
    randomised(module, example_input(network))
    built, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = find_removable(network)
    finding, chance = time.process_time() - start, random.Random(1)
    counts = {group.name: int(group.size * share) for group in found.groups}
    chosen = {group.name: chance.sample(range(group.size), counts[group.name]) for group in found.groups}
    start = time.process_time()
    removed = remove_channels(network, found, chosen)
    removing = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - built) / 1024
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(group.kind for group in found.groups).items())
    before, after = (sum(p.numel() for p in one.module.parameters()) for one in (network, removed.network))
    print(f"{name}: {kinds}; stay {len(found.frozen) + len(removed.stays)}", end="; ")
    print(f"{1 - after / before:.1%} of {before / 1e6:.1f} M removed", end="; ")
    print(f"parity {parity(network, found, chosen, removed):.0e}; {again(name, network, removed)}", end="; ")
    print(f"found in {finding:.1f} s, removed in {removing:.1f} s, {memory:.0f} MB", flush=True)


def parity(network: Network, found: Removable, chosen: Mapping[str, Sequence[int]], removed: Removed) -> float:
    """How far the outputs are from those of the network with zeros, in 64 bits: random networks magnify rounding."""
    reference, narrow = zeroed(network, found, chosen).double(), copy.deepcopy(removed.network.module).double()
    example = example_input(network).double()
    with evaluating(reference), evaluating(narrow):
        return largest_difference(answers_in(narrow(example)), answers_in(reference(example)))


def again(name: str, network: Network, removed: Removed) -> str:
    """Whether the log replayed on a new build gives the same bits, and trains."""
    fresh, example = build(name), example_input(network)
    replay(fresh, [from_json(json.loads(json.dumps(removed.edit.json())))])
    fresh.load_state_dict(removed.network.module.state_dict())
    with evaluating(fresh), evaluating(removed.network.module):
        same = torch.equal(fresh(example), removed.network.module(example))
    return ("replayed" if same else "NOT REPLAYED") + (", trains" if trains(fresh, network) else "")


def main() -> None:
    """Measure and print; each network in a process of its own, for its peak memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=models.list_models(module=models))
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--largest", type=float, default=150, help="millions of parameters")
    options = parser.parse_args()
    for name in options.models:
        count = models.get_model_weights(name).DEFAULT.meta["num_params"] / 1e6  # type: ignore[attr-defined]
        if count > options.largest:
            print(f"{name}: {count:.0f} M parameters, left out")
            continue
        worker = multiprocessing.get_context("spawn").Process(target=measure, args=(name, options.share))
        worker.start()
        worker.join()
        if worker.exitcode:
            print(f"{name}: FAILED")


if __name__ == "__main__":
    main()

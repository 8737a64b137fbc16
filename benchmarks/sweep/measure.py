"""One network: channels of every group are removed, and all that is promised about it is held."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.surgery.edits import from_json, replay
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.randomised import randomised
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed, remove_channels
from recipelang.surgery.tracing import evaluating, example_input

#: a random network magnifies rounding errors: one that does so too much is compared in 64 bits
TYPES = ((torch.float32, 32), (torch.float64, 64))
Chosen = Mapping[str, Sequence[int]]


def measured(build: Callable[[], nn.Module], size: int, share: float = 0.3) -> dict[str, Any]:
    """Remove a random share of every group, at least one unit of each, and measure.

    Args:
        build: the network, as it is built.
        size: pixels on a side of its input.

    Returns:
        JSON: `parameters` before and `removed`, the share of them; `groups` by kind; `stays`: reason → how many modules
        or groups; `parity` to the network with zeros, relative to the largest output, in `bits`; whether the log
        `replayed` on a new build gives the same bits, and `trains`; processor seconds for `finding` and `removing`, MB
        of the peak of `memory` over that of the network as built.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = build()
    network = Network(module, {}, (3, size, size))
    randomised(module, example_input(network))
    before = sum(p.numel() for p in module.parameters())
    built, start = _peak_from_now(), time.process_time()
    found = find_removable(network)
    finding = time.process_time() - start
    row = {
        "share": share,
        "parameters": before,
        "groups": dict(Counter(group.kind for group in found.groups)),
        "finding": round(finding, 2),
    }
    if not found.groups:
        return row | {"stays": _reasons(found.frozen), "memory": _peak() - built}
    chosen = some(found, share)
    start = time.process_time()
    removed = remove_channels(network, found, chosen)
    row |= {"removing": round(time.process_time() - start, 2), "memory": _peak() - built}
    after = sum(p.numel() for p in removed.network.module.parameters())
    row |= {"removed": round(1 - after / before, 4), "stays": _reasons({**found.frozen, **removed.stays})}
    row |= _parity(
        network, found, {name: units for name, units in chosen.items() if name not in removed.stays}, removed
    )
    example, dtype = example_input(network), next(dtype for dtype, bits in TYPES if bits == row["bits"])
    edits, narrow = json.dumps([edit.json() for edit in removed.network.edits]), removed.network.module
    del network, module, removed, found  # before there is another one: a network may be large
    fresh, example = build().to(dtype), example.to(dtype)
    replay(fresh, map(from_json, json.loads(edits)))
    fresh.load_state_dict(narrow.state_dict())
    pairs = zip(_outputs(fresh, example), _outputs(narrow, example), strict=True)
    row |= {"replayed": all(torch.equal(one, other) for one, other in pairs)}
    del narrow
    return row | {"trains": _trains(fresh, example)}


def some(found: Removable, share: float) -> dict[str, list[int]]:
    """A random share of the units of every group, at least one and never all."""
    chance = random.Random(1)
    counts = {group.name: min(max(1, int(group.size * share)), group.size - 1) for group in found.groups}
    return {group.name: sorted(chance.sample(range(group.size), counts[group.name])) for group in found.groups}


def _parity(network: Network, found: Removable, chosen: Chosen, removed: Removed) -> dict[str, Any]:
    """How far the outputs are from those of the network with zeros, which `network` is afterwards; in 64 bits where
    rounding errors are larger than what is allowed: random networks magnify them."""
    parameters = dict(network.module.named_parameters())
    for group in found.groups:
        for place in group.places:
            divided = place.axis == 0 and place.name.endswith(("original1", "weight_v"))  # 0/0; its gain is zero
            if place.name in parameters and not divided:
                gone = [k for unit in chosen.get(group.name, ()) for k in place.positions[unit]]
                parameters[place.name].data.index_fill_(place.axis, torch.tensor(gone, dtype=torch.long), 0)
    for dtype, bits in TYPES:  # noqa: B007
        example = example_input(network).to(dtype)
        both = [_outputs(one.to(dtype), example) for one in (removed.network.module, network.module)]
        difference = largest_difference(*both)
        if difference <= TOLERANCE:
            break
    return {"parity": difference, "bits": bits}


def _outputs(module: nn.Module, example: Tensor) -> list[Tensor]:
    with evaluating(module):
        return answers_in(module(example))


def _trains(module: nn.Module, example: Tensor) -> bool:
    """Whether a step of training works."""
    answers = answers_in(module.train()(example))
    torch.stack([answer.square().mean() for answer in answers]).sum().backward()
    torch.optim.SGD(module.parameters(), lr=1e-3).step()
    return all(p.grad is None or p.grad.shape == p.shape for p in module.parameters())


def _reasons(stays: Mapping[str, str]) -> dict[str, int]:
    """Reason → how many modules or groups stay for it."""
    return dict(Counter(stays.values()))


def _peak_from_now() -> int:
    """MB that the process has; from now on `_peak` is its peak, where the system can begin again."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak since its start
        return _peak()
    return _peak()


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024

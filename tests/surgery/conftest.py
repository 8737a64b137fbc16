"""Networks to operate on: small ones of our own, and torchvision's families with nothing left at its initial zero."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.catalogue import find
from recipelang.kinds import ModelRequest
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery.edits import from_json, replay
from recipelang.surgery.network import Network
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed, remove_channels
from recipelang.surgery.tracing import example_input

sys.path.insert(0, str(Path(__file__).parent))  # `answers`, `awkward_networks`, `state_dicts`, …

from answers import outputs

Build = Callable[..., Network]


def randomise(module: nn.Module, seed: int = 1) -> nn.Module:
    """Give weights, layer scales, heads and BatchNorm statistics values that a vacuous test would not survive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "layer_scale" in name or p.abs().max() < 1e-4:
                p.normal_(0, 0.2, generator=generator)
            elif p.ndim == 1 and torch.equal(p, torch.ones_like(p)):
                p.uniform_(0.5, 1.5, generator=generator)
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 2.0, generator=generator)
    return module


@pytest.fixture
def digits() -> Network:
    """The embedded network with random weights."""
    torch.manual_seed(0)
    names = tuple(str(k) for k in range(10))
    source = {"model": "digits_resnet", "settings": {"classes": 10}, "classes": list(names), "input_shape": [1, 8, 8]}
    return Network(randomise(digits_resnet()), source, (1, 8, 8), classes=names)


@pytest.fixture
def resnet20() -> Network:
    """A CIFAR ResNet with random weights."""
    torch.manual_seed(0)
    names = tuple(str(k) for k in range(10))
    source = {"model": "resnet20", "settings": {"classes": 10}, "classes": list(names), "input_shape": [3, 32, 32]}
    return Network(randomise(cifar_resnet(20)), source, (3, 32, 32), classes=names)


@pytest.fixture
def wrap() -> Build:
    """A Network around any module."""

    def build(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> Network:
        return Network(randomise(module), {}, shape)

    return build


STRANGER = """
import random
import sys
from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

{before}

class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes)
{prepare}

    def features(self, x):
        return F.relu(self.body(x.flatten(1)))

    def scores(self, x):
        return self.head(self.features(x))

    def forward(self, x):
{forward}

{methods}

def build(classes=3):
    return Net(classes)

{after}
"""


@pytest.fixture
def come_in(tmp_path: Path) -> Build:
    """A network of a Python file as a recipe builds it for 1×4×4 images; parts of its code vary."""

    def build(
        forward: str = "return self.scores(x)",
        prepare: str = "pass",
        *,
        before: str = "",
        methods: str = "",
        after: str = "",
        classes: tuple[str, ...] = ("a", "b", "c"),
        **settings: Any,
    ) -> Network:
        parts = {
            "prepare": indent(prepare, " " * 8),
            "forward": indent(forward, " " * 8),
            "methods": indent(methods, "    "),
        }
        (tmp_path / "net.py").write_text(STRANGER.format(before=before, after=after, **parts))
        method = find("model", "python")
        assert method is not None
        request = ModelRequest(classes, (1, 4, 4), resolve=lambda text: tmp_path / text, trust=True)
        network: Network = method(where="net.py:build", **settings).build(request)
        return network

    return build


@pytest.fixture
def law() -> Callable[..., tuple[Removable, Removed]]:
    """Removes channels of a network, and holds everything that is promised about it against independent references."""
    return _require_law


def some(found: Removable, share: float = 0.4, seed: int = 0) -> dict[str, list[int]]:
    """A random share of the units of every group."""
    chance = random.Random(seed)
    counts = {group.name: min(max(1, round(group.size * share)), group.size - 1) for group in found.groups}
    return {group.name: sorted(chance.sample(range(group.size), counts[group.name])) for group in found.groups}


def at_zero(network: Network, found: Removable, chosen: Mapping[str, list[int]]) -> nn.Module:
    """A copy of the network in which every parameter of the chosen units is zero: the reference."""
    module = copy.deepcopy(network.module)
    with torch.no_grad():
        parameters = dict(module.named_parameters())
        for group in found.groups:
            for place in group.places:
                normalised = place.axis == 0 and place.name.endswith(("original1", "weight_v"))  # 0/0; its gain is zero
                if place.name in parameters and not normalised:
                    gone = [p for unit in chosen.get(group.name, []) for p in place.positions[unit]]
                    parameters[place.name].index_fill_(place.axis, torch.tensor(gone, dtype=torch.long), 0)
    return module


def _require_law(network: Network, build: Callable[[], nn.Module], *, trains: bool = True) -> tuple[Removable, Removed]:
    """Remove channels, and hold everything that was promised about it against independent references."""
    found = find_removable(network)
    if not found.groups:
        pytest.fail(f"nothing can be removed: {found.frozen}")
    chosen = some(found)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    removed = remove_channels(network, found, chosen)
    example = example_input(network)
    for one, other in zip(
        outputs(removed.network.module, example), outputs(at_zero(network, found, chosen), example), strict=True
    ):
        assert one.isfinite().all()
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    assert not removed.stays
    edit = from_json(json.loads(json.dumps(removed.edit.json())))
    made = removed.network.edits[len(network.edits) :]
    assert edit == removed.edit and made[-1] == edit
    assert all(one.kind == "unfold_attention" for one in made[:-1])
    fresh = build()
    replay(fresh, [from_json(json.loads(json.dumps(one.json()))) for one in made])
    fresh.load_state_dict(removed.network.module.state_dict())
    for one, other in zip(outputs(fresh, example), outputs(removed.network.module, example), strict=True):
        assert torch.equal(one, other)
    if trains:
        trained_once(fresh, example)
    return found, removed


def trained_once(module: nn.Module, example: Tensor) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    answers = module.train()(example)
    sum(answer.square().mean() for answer in ([answers] if isinstance(answers, Tensor) else answers)).backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in module.parameters())
    optimizer.step()

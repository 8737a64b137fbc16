"""A network in the store: its folder and the digests that keys are made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from recipelang.kinds import Preprocessing, Restriction
from recipelang.surgery import artifact
from recipelang.surgery.network import Network, content


@dataclass(frozen=True)
class State:
    """A network that a step made.

    Attributes:
        content: digest of everything that it is (`content`).
        folder: its artifact in the store.
        trace: training operations since `healthy` on the path to it; they belong to the state, so that `start from`
            returns to those of its state.
        restricted: the hardware restriction in force (`2:4`); "" if there is none.
    """

    content: str
    folder: Path = field(compare=False)
    trace: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    restricted: str = field(default="", compare=False)


def architecture(network: Network) -> str:
    """Digest of everything that determines a network's speed: constructor, edits, acceleration and what of its
    restrictions computes, not its weights.

    Dense kernels take the same time for any weights, so a tuned network shares the measured latency of the
    pruned network that it came from, and a budget that held at pruning cannot be lost to a second measurement.
    """
    described = network.described()
    source = described["source"]
    settings = {name: value for name, value in source.get("settings", {}).items() if name != "weights"}
    timed = [
        (place, [told for told, one in zip(each, network.restrictions[place], strict=True) if _timed(one, network)])
        for place, each in described["restrictions"].items()
    ]
    parts = {
        "source": {**source, "settings": settings},
        **{name: described[name] for name in ("edits", "accelerated", "input_shape")},
        **network.inputs.json(),
        "restrictions": [(place, each) for place, each in timed if each],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _timed(restriction: Restriction, network: Network) -> bool:
    """Whether a restriction may decide how fast the network is."""
    return restriction.computes or network.accelerated is not None


def save(network: Network, folder: Path) -> State:
    """Write the network's artifact into `folder`, and read it back to verify it.

    That costs less than a forward pass of a training batch: 0.9 s of 3.3 s for a resnet50, 3 s of 14 s for a vit_b_16.

    Raises:
        Refusal: as of `artifact.save` and `artifact.require_readable`.
    """
    artifact.save(network, folder)
    artifact.require_readable(network, folder)
    return State(content(network), folder)


def load(state: State, trust: bool = False) -> Network:
    """The network of a state, ready for a stage; the last few stay in memory."""
    return _loaded(state, state.folder, trust)


def interface(state: State) -> tuple[tuple[str, ...], Preprocessing | None]:
    """Class names and preprocessing of a state's network, without its weights."""
    return _interface(state, state.folder)


# Networks of equal weights may differ in preprocessing, which no digest covers: the folder distinguishes them.
@lru_cache(maxsize=8)
def _loaded(state: State, folder: Path, trust: bool) -> Network:
    return artifact.load(folder, trust=trust)


@lru_cache(maxsize=256)
def _interface(state: State, folder: Path) -> tuple[tuple[str, ...], Preprocessing | None]:
    return artifact.interface(folder)

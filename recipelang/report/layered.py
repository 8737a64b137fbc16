"""The layers of a network beside those of healthy, as a record holds them: what they are, and where the time is."""

from __future__ import annotations

from dataclasses import dataclass, field

from recipelang.report.decode import NAME


@dataclass(frozen=True)
class LayerForm:
    """One layer of one network, as counted.

    Attributes:
        width: how many units it gives: output channels, neurons.
        parameters: elements of its weight.
        nonzero: those that are not zero.
        bits: of an element of its weight as it is stored, 32 in floating point; the mean where they differ.
        activation_bits: of what it reads; 32 in floating point.
        flops: of one pass of one input, products with zeros included; null if they cannot be told by layer.
    """

    width: int
    parameters: int
    nonzero: int
    bits: float = 32.0
    activation_bits: float = 32.0
    flops: float | None = None


@dataclass(frozen=True)
class LayerPair:
    """One layer of healthy and of the network, found by its path.

    Attributes:
        layer: its path.
        kind: what it is: `Conv2d`, `Linear`.
        healthy: before; null if healthy has no such layer.
        own: after; null if it was removed.
    """

    layer: str = field(metadata=NAME)
    kind: str = ""
    healthy: LayerForm | None = None
    own: LayerForm | None = None


@dataclass(frozen=True)
class LayerSeconds:
    """What one layer takes of one call of its network.

    Attributes:
        seconds: the median; layers inside it are not included.
        low, high: its 95 % interval.
        calls: how often the network calls it.
    """

    seconds: float
    low: float | None = None
    high: float | None = None
    calls: int = 1


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer in healthy and in the network.

    Attributes:
        layer: its path; "" for what no layer below the network itself computes.
        kind: its class, or the operations of a runtime: `Conv2d`, `Conv + Relu`.
        healthy: before; null if healthy has no such layer, or was not timed beside the network.
        own: after; null if it was removed.
    """

    layer: str = field(metadata=NAME)
    kind: str = ""
    healthy: LayerSeconds | None = None
    own: LayerSeconds | None = None


@dataclass(frozen=True)
class Profile:
    """Where the time of a network is, layer by layer, beside healthy.

    Attributes:
        name: as the recipe asks for it: `profile(batch=8)`.
        on: what executes it, and how: `torch, cpu, float32, batch 8`.
        layers: in the order in which they are computed; their seconds add up to those of a watched call.
        own, healthy: seconds of one call of each network that is not watched, timed alternately with watched ones.
        watched, watched_healthy: seconds of a call that is watched; the nearer to the others, the less the watching
            disturbs.
        n: how many calls of each were watched.
        how: how the time of a layer is found, in words.
        note: what the numbers include or leave out.
    """

    name: str = field(metadata=NAME)
    on: str
    layers: tuple[LayerTime, ...]
    own: float | None = None
    healthy: float | None = None
    watched: float | None = None
    watched_healthy: float | None = None
    n: int | None = None
    how: str = ""
    note: str = ""

"""Where the time of a network is: what a runtime says of each layer, and what is measured from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

#: between the names of layers that a runtime computes as one, or whose equal weights are one in its program
JOINED = " + "


class Watched(NamedTuple):
    """What was seen of the calls of one network.

    Attributes:
        seconds: layer → what it takes of a call, without the layers inside it, one number for each sample; in the order
            in which layers begin, and the network itself is "".
        kinds: layer → its class, or the operations that it became.
        calls: layer → how often one call of the network calls it.
    """

    seconds: Mapping[str, Sequence[float]]
    kinds: Mapping[str, str]
    calls: Mapping[str, int]


class Watch(Protocol):
    """Watches the layers of a network that a runtime prepared, while it is called.

    Attributes:
        how: how the time of a layer is found, in words.
        settling: seconds of calls that a network needs after a sample until it is as fast as before.
    """

    how: str
    settling: float

    def sample(self, inputs: Any, calls: int) -> None:
        """Call the network so many times in a row; the means over these calls are one sample.

        Between samples the network is as it is without a watch.
        """

    def finish(self) -> Watched:
        """What all samples say; nothing more is watched."""

    def close(self) -> None:
        """Give back what it holds, also where `finish` was not reached."""


@dataclass(frozen=True)
class LayerSeconds:
    """What one layer takes of a call of its network: the median, its 95 % interval, how often it is called."""

    seconds: float
    low: float
    high: float
    calls: int = 1


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer, in healthy and in the network; None where it is in one of them only."""

    layer: str
    kind: str = ""
    healthy: LayerSeconds | None = None
    own: LayerSeconds | None = None


@dataclass(frozen=True)
class LayerTimes:
    """A profile.

    Attributes:
        layers: of both networks, in the order in which they are computed.
        own, healthy: seconds of a call that nothing watches, timed in turn with watched ones; `healthy` is None where
            the network is the healthy one.
        watched, watched_healthy: seconds of a call that is watched.
        n: samples of each. how: as of `Watch`.
    """

    layers: tuple[LayerTime, ...]
    own: float
    watched: float
    healthy: float | None = None
    watched_healthy: float | None = None
    n: int = 0
    how: str = ""


def times_of(value: Any) -> LayerTimes | None:
    """A profile as it was stored (`dataclasses.asdict`); None where there is none.

    Raises:
        TypeError, KeyError: it is something else.
    """
    if value is None:
        return None

    def seconds(told: Any) -> LayerSeconds | None:
        return None if told is None else LayerSeconds(**told)

    rows = (LayerTime(r["layer"], r["kind"], seconds(r["healthy"]), seconds(r["own"])) for r in value["layers"])
    return LayerTimes(**{**value, "layers": tuple(rows)})


def side_by_side(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The names of both sequences, each once: in the order of the first, new ones behind their predecessor.

    >>> side_by_side(["a", "b", "c"], ["a", "x", "c"])
    ['a', 'x', 'b', 'c']
    """
    found, known = list(before), set(before)
    for place, name in enumerate(after):
        if name not in known:
            found.insert(found.index(after[place - 1]) + 1 if place else 0, name)
            known.add(name)
    return found

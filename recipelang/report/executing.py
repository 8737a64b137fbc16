"""How layers execute, grouped by the way they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report.record import Variant
from recipelang.units import counted

NO_GAIN = "no speed-up expected on this backend"
MOST_WAYS, MOST_NAMES = 12, 200  # of one network; of the layers of one way


@dataclass(frozen=True)
class Layers:
    """Layers of one network that execute in the same way.

    Attributes:
        executes: `dense`, `masked only`, or the kernel.
        why: the reason.
        on: the device, precision and batch that a kernel was chosen for.
        layers: their names, with shapes; the first of them.
        more: how many more there are.
        gains: whether the restriction can make them faster here.
    """

    executes: str
    why: str
    on: str
    layers: tuple[tuple[str, str], ...]
    gains: bool
    more: int = 0

    @property
    def sentence(self) -> str:
        """`23 layers masked only: no sparse kernel on this CPU; no speed-up expected on this backend`."""
        count = counted(len(self.layers) + self.more, "layer")
        reasons = [text for text in (self.why, "" if self.gains else NO_GAIN) if text]
        where = f" on {self.on}" if self.on else ""
        executes = "never run" if self.executes == "never" else self.executes
        return f"{count} {executes}{where}" + (f": {'; '.join(reasons)}" if reasons else "")


def execution(variant: Variant) -> tuple[Layers, ...]:
    """How the layers of a network execute, grouped by the way they do, in order of first appearance.

    If there are very many ways, those with the fewest layers are combined into one.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for layer in variant.layers:
        shape = layer.shape if isinstance(layer.shape, str) else "×".join(map(str, layer.shape))
        # A removed layer has no reason to run the way it does: its `why` only names the edit.
        why = "" if layer.executes == "removed" else layer.why
        groups.setdefault((layer.executes, why, layer.on), []).append((layer.layer, shape))
    told = sorted(groups, key=lambda key: -len(groups[key]))[:MOST_WAYS]
    rest = [layer for key, layers in groups.items() if key not in told for layer in layers]
    found = [_layers(*key, groups[key]) for key in groups if key in told]
    if rest:
        found.append(_layers(f"in {len(groups) - MOST_WAYS} other ways", "each is in report.json", "", rest))
    return tuple(found)


def _layers(executes: str, why: str, on: str, layers: Sequence[tuple[str, str]]) -> Layers:
    gains = not any(word in executes.lower() for word in ("masked", "unstructured", "simulated"))
    return Layers(executes, why, on, tuple(layers[:MOST_NAMES]), gains, max(0, len(layers) - MOST_NAMES))

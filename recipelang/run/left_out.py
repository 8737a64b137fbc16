"""Networks that an export refuses: they end, or are left out by name where the export shows others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from recipelang.errors import Refusal
from recipelang.plan import Step
from recipelang.run.foreseen import Foreseen
from recipelang.run.lanes import Lane


@dataclass
class Exports:
    """What became of the exports of a recipe, by statement and method.

    Attributes:
        written: those that wrote a network, or may.
        refused: what each refused.
    """

    written: set[tuple[int, Any]] = field(default_factory=set)
    refused: dict[tuple[int, Any], list[tuple[Step, Lane, Refusal]]] = field(default_factory=dict)

    def write(self, step: Step, method: Any) -> None:
        """A method of a statement wrote a network."""
        self.written.add((id(step), method))

    def refuse(self, step: Step, method: Any, lane: Lane, refusal: Refusal) -> None:
        """It refused the network of a lane."""
        self.refused.setdefault((id(step), method), []).append((step, lane, refusal))

    def failed(self) -> Iterator[tuple[Step, Lane, Refusal]]:
        """The lanes that end with a refusal: of a method that must write each, or that wrote none."""
        for (place, method), found in self.refused.items():
            if not (getattr(method, "leaves_out", False) and (place, method) in self.written):
                yield from found

    def notes(self) -> tuple[str, ...]:
        """What is left out of what methods wrote, each network with the reason."""
        found = (
            f"`{method.name}` leaves out `{lane.name}`: {refusal.message}"
            for (place, method), left in self.refused.items()
            for _, lane, refusal in left
            if getattr(method, "leaves_out", False) and (place, method) in self.written
        )
        return tuple(dict.fromkeys(found))


def foreseen(step: Step, formats: Sequence[Any], lanes: Sequence[Foreseen]) -> Exports:
    """What is known before a run of an export of these lanes: a network that is not known yet may be written."""
    exports = Exports()
    for lane in lanes:
        for method in formats if not lane.error else ():
            try:
                if lane.network and hasattr(method, "require_network"):
                    method.require_network(lane.network)
                exports.write(step, method)
            except Refusal as refusal:
                exports.refuse(step, method, lane, refusal)
    return exports

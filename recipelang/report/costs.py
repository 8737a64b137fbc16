"""What it took to make a network, as a record holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cost:
    """What it took to do a step, or all steps that made a network.

    What came from the store counts with what it took when it was done. Reading results for the report is not included,
    and neither are other variants among which `choose` picked.

    Attributes:
        seconds: on the wall clock, measurements of a search included; null if it is not known of any step.
        epochs: how many epochs were trained.
        passes: split → passes over it: samples that were read, for whatever purpose, over those that the split has.
        samples: how many samples were read, of all splits.
        joules: of the machine meanwhile, as its counters say; null where it has none.
        at_least: whether it took more than that: a step was interrupted and continued, or was stored before costs were.
        note: what is missing, in words.
    """

    seconds: float | None = None
    epochs: float = 0.0
    passes: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    joules: float | None = None
    at_least: bool = False
    note: str = ""

"""What is known before a run: of a step, and of a lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recipelang.run.lanes import Lane
from recipelang.run.timing import Estimate
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Told:
    """What is known about a step on one lane, before it runs.

    Attributes:
        state: `stored`, `runs`, `fails` or `notes` (nothing to compute).
        reason: what the store has for it, or why it runs or fails.
        details: what was found on the network.
        time: how long it takes; None if nothing is known.
    """

    state: str
    reason: str = ""
    details: tuple[str, ...] = ()
    time: Estimate | None = None


@dataclass
class Foreseen(Lane):
    """A lane that is only rehearsed: `network` is its architecture, and `models` those of states, as far as known."""

    network: Network | None = None
    models: Mapping[str, Network] = field(default_factory=dict)  # replaced and never changed: lanes share it
    altered: bool = False  # the recipe's own surgery is in `network`
    supposed: bool = False  # surgery above must run: `network` is larger than the step will find it
    in_place: tuple[str, ...] = ()  # what its control trains on in place of samples that are made
    unjudged: bool = False  # an `expect` could not be judged yet

    def remember(self, name: str, network: Network | None) -> None:
        """Note the architecture of a state."""
        if network is not None:
            self.models = {**self.models, name: network}

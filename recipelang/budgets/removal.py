"""How ranked parts leave a network: cheaply for the search, and for good, with parity.

What has to happen to the weights that stay *before* parts are cut belongs here, so that the search measures what the
run ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.kinds import Criterion, Evidence, Offer, Unit
from recipelang.scoring.listed import listed
from recipelang.scoring.ranking import RemovalStep
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Removal:
    """The removal of ranked parts from one network.

    Attributes:
        network: what loses them.
        unit: what they are.
        offer: what the network offers of it.
        criterion: what ranked them, and evidence: what it saw; a criterion may correct what stays.
    """

    network: Network
    unit: Unit
    offer: Offer
    criterion: Criterion
    evidence: Evidence

    def tried(self, steps: Sequence[RemovalStep]) -> Network:
        """The network without these parts, for a measurement: nothing is compared."""
        return apply_edits(self.network, self.unit.edits(self.network, self.offer, parts_of(steps)), check=False)

    def made(self, steps: Sequence[RemovalStep]) -> tuple[Network, Mapping[str, str]]:
        """The network without these parts, with parity; groups that had to stay after all → why.

        Raises:
            Refusal: RCP0702: it computes something else than the network in which they are neutralised.
        """
        return self.unit.remove(self.network, self.offer, parts_of(steps))

    def remark(self, steps: Sequence[RemovalStep]) -> str:
        """What the criterion itself says of this removal, for the record; empty where it says nothing."""
        criterion = getattr(self.criterion, "coarse", self.criterion)
        said = getattr(criterion, "remark", None)
        return said(listed(self.evidence, criterion), parts_of(steps)) if said and steps else ""


def parts_of(steps: Sequence[RemovalStep]) -> dict[str, list[int]]:
    """Group → the parts that these steps remove, the least important first."""
    gone: dict[str, list[int]] = {}
    for step in steps:
        gone.setdefault(step.group, []).extend(step.parts)
    return gone

"""How ranked parts leave a network: cheaply for the search, and for good, with parity.

What has to happen to the weights that stay *before* parts are cut belongs here, so that the search measures what the
run ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recipelang.kinds import Criterion, Evidence, Offer, RemovalStep, Unit
from recipelang.scoring.compensating import Corrected, corrected
from recipelang.scoring.listed import listed
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
        judged: whether a condition reads the quality of what is tried, so that corrections matter there; costs do not
            depend on values.
    """

    network: Network
    unit: Unit
    offer: Offer
    criterion: Criterion
    evidence: Evidence
    judged: bool = True
    _last: list[tuple[Mapping[str, Sequence[int]], Corrected]] = field(default_factory=list, repr=False)

    def tried(self, steps: Sequence[RemovalStep]) -> Network:
        """The network without these parts, for a measurement: nothing is compared."""
        gone = parts_of(steps)
        network = self._corrected(gone).network if self.judged else self.network
        return apply_edits(network, self.unit.edits(network, self.offer, gone), check=False)

    def made(self, steps: Sequence[RemovalStep]) -> tuple[Network, Mapping[str, str]]:
        """The network without these parts, with parity; groups that had to stay after all → why.

        Where the criterion corrects what stays, the values are corrected first, and parity holds with the corrected
        network.

        Raises:
            Refusal: RCP0702: it computes something else than the network in which they are neutralised. RCP1006: a
                corrected weight is not finite.
        """
        gone = parts_of(steps)
        return self.unit.remove(self._corrected(gone).network, self.offer, gone)

    def remark(self, steps: Sequence[RemovalStep]) -> str:
        """What was corrected, and what the criterion itself says of this removal, for the record."""
        if not steps:
            return ""
        gone = parts_of(steps)
        criterion = getattr(self.criterion, "coarse", self.criterion)
        said = getattr(criterion, "remark", None)
        own = said(listed(self.evidence, criterion), gone) if said else ""
        return "; ".join(filter(None, (str(self._corrected(gone)), own)))

    def _corrected(self, gone: Mapping[str, Sequence[int]]) -> Corrected:
        """The network with corrected values; that of the last removal is kept, since it is often asked for again."""
        if not self._last or self._last[0][0] != gone:
            self._last[:] = [(gone, corrected(self.criterion, self.evidence, self.network, gone))]
        return self._last[0][1]


def parts_of(steps: Sequence[RemovalStep]) -> dict[str, list[int]]:
    """Group → the parts that these steps remove, the least important first."""
    gone: dict[str, list[int]] = {}
    for step in steps:
        gone.setdefault(step.group, []).extend(step.parts)
    return gone


def fitting(steps: Sequence[RemovalStep], goal: int) -> list[RemovalStep]:
    """The steps in their order that together remove at most this many parts: a group whose next step is too large for
    what is left loses nothing more, and other groups with smaller steps go on."""
    taken: list[RemovalStep] = []
    full: set[tuple[str, str]] = set()
    for step in steps:
        key = step.unit, step.group
        if key in full or len(step.parts) > goal:
            full.add(key)
            continue
        taken.append(step)
        goal -= len(step.parts)
    return taken

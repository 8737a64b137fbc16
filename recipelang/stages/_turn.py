"""One ranking of the parts of some units, and the removal of some of them: a round of `prune`, or an update.

what units offer ─ rank ─ allocate ─▶ one order of steps ─ search ─▶ how many ─ remove with parity ─▶ smaller network
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from recipelang.budgets.bench import Told
from recipelang.budgets.held import Division, divided
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.offering import offered, remaining, wanted
from recipelang.budgets.removal import Removal, fitting, parts_of
from recipelang.budgets.search import SearchResult, exactly, smallest
from recipelang.budgets.tally import Tally
from recipelang.budgets.verdict import Verdict
from recipelang.budgets.weighing import usual, weighed
from recipelang.errors import Refusal
from recipelang.kinds import Gone, Offer, Queue, RemovalStep, Unit
from recipelang.plan import Condition
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import Ranking, rank
from recipelang.scoring.shared import Member, held_inside, rank_together, single_scores
from recipelang.stages._explored import explored
from recipelang.stages._pruned import judged
from recipelang.stages.context import Context
from recipelang.surgery.network import Network
from recipelang.training.smoke import few
from recipelang.units import counted
from recipelang.verbs.prune import Prune


@dataclass(frozen=True)
class Turn:
    """One ranking of the parts of some units, and the removal of some of them: a round, or an update of a schedule.

    Attributes:
        operation: the statement, or what it says of one unit.
        turn: its number, from 1.
        network: as the round before left it.
        until: the budget of this round.
        tallies: of the units of `operation`.
        said: what allocations that try have said of their search.
        offers: of each unit, where they are known.
        label: of a turn among several: `round 2`, `update 2`.
    """

    operation: Prune
    context: Context
    turn: int
    network: Network
    until: Condition | None
    tallies: Sequence[Tally]
    said: list[Told] = field(default_factory=list)
    offers: Sequence[Offer] | None = None
    label: str = ""

    def done(self, part: float, totals: dict[str, int]) -> tuple[Network, SearchResult]:
        """The network after the round, and where its search ended.

        Args:
            part: of the whole statement, that this round and those before it are; 0 only ranks.
            totals: unit → the number of parts that the statement removes, from the first round on.
        """
        together, rankings, order, goal = self._ranked(part, totals)
        barred: dict[tuple[str, str], str] = {}
        while True:
            steps = [step for step in order if (step.unit, step.group) not in barred]
            steps = steps if goal is None else fitting(steps, goal)
            found = self._search(together, steps)
            taken = together.surviving(steps[: found.count])
            smaller, stays = together.made(taken)
            if not stays:
                break
            barred |= stays  # rare: these groups had to stay after all, so others are removed
        self._tell(together, rankings, taken, barred)
        return smaller, found

    def exhausted(self, refusal: Refusal) -> SearchResult:
        """Where the search ends of a later round that finds nothing to remove: whether its budget holds all the same.

        Raises:
            Refusal: the one given, where it says something else or there is no budget.
        """
        if refusal.code != "RCP0910" or self.turn == 1 or self.until is None:
            raise refusal
        verdict = self.context.judge(self.until, self.network, True)
        return SearchResult(0, verdict, verdict.holds)

    def weakest(self) -> Sequence[tuple[Offer, Gone]]:
        """What the whole statement would remove now, of each offer."""
        together, _, order, goal = self._ranked(1.0, {})
        steps = list(order) if goal is None else fitting(order, goal)
        taken = together.surviving(steps[: self._search(together, steps).count])
        return [(one.offer, parts_of([s for s in taken if s.unit == one.unit.name])) for one in together.removals]

    def _ranked(
        self, part: float, totals: dict[str, int]
    ) -> tuple[JointRemoval, Sequence[Ranking], Sequence[RemovalStep], int | None]:
        """What removes parts, the ranking of each unit, the order in which they leave, and how many may leave."""
        offers = self.offers or [self._offered(one) for one in self.operation.alone]
        goal = self._goal(offers[0], part, totals) if part else 0
        evidence = [self._evidence(one, offer) for one, offer in zip(self.operation.alone, offers, strict=True)]
        judges = judged(self.operation) or self._explores
        removals = tuple(
            Removal(self.network, one.unit, offer, self.operation.criterion, seen, judges)
            for one, offer, seen in zip(self.operation.alone, offers, evidence, strict=True)
            if offer.groups
        )
        if not removals:
            raise Refusal("RCP0910", "nothing is left to remove", "ask for less, or for fewer rounds")
        rankings, order, together = self._order(JointRemoval(removals, self._found), part)
        return together, rankings, order, goal

    def _offered(self, one: Prune) -> Offer:
        """What the network offers of a unit; nothing where an earlier round has removed all of it."""
        several = self.turn > 1 and len(self.operation.amounts) > 1
        return remaining(one, self.network) if several else offered(one, self.network)

    def _found(self, unit: Unit, network: Network) -> Offer:
        """What a network that has lost layers offers of a unit."""
        (one,) = (one for one in self.operation.alone if one.unit == unit)
        return offered(one, network)

    def _goal(self, offer: Offer, part: float, totals: dict[str, int]) -> int | None:
        """How many more parts this round removes; None where a condition decides."""
        if not self.operation.amounts[0].given:
            return None
        name = self.operation.unit.name
        if name not in totals:
            totals[name] = wanted(self.operation, offer) or 0
        return round(totals[name] * part) - self.tallies[0].count

    def _evidence(self, one: Prune, offer: Offer) -> Gathered:
        """What the criterion sees of the network in this round."""
        return Gathered(
            network=self.network,
            data=self._division.rest if self._explores else self.context.data,
            task=self.context.task,
            groups=offer.groups,
            unit=one.unit.ranks,
            needs=one.criterion.needs,
            samples=few(one.samples.count, self.context.smoke),
            seed=self.context.seed + self.turn - 1,
            device=self.context.device,
            progress=self.context.progress,
            edits=partial(one.unit.edits, self.network, offer),
        )

    @property
    def _explores(self) -> bool:
        """Whether the allocation has to try."""
        return hasattr(self.operation.allocation, "explore")

    @cached_property
    def _division(self) -> Division:
        """What such an allocation ranks and trains by, and what it judges by."""
        return divided(self.context.data, self.context.seed, self.context.smoke)

    def _order(
        self, together: JointRemoval, part: float
    ) -> tuple[Sequence[Ranking], Sequence[RemovalStep], JointRemoval]:
        """The ranking of each unit, the order in which their groups lose parts, and what removes them."""
        allocation = self.operation.allocation or usual()
        criterion = self.operation.criterion
        members = [Member(one.unit, one.offer.groups, one.evidence) for one in together.removals]
        summed = allocation.compares and (len(self.operation.amounts) > 1 or allocation.prices)
        scores = single_scores(criterion, members) if summed else ()
        rankings = (
            rank_together(criterion, members, scores)
            if summed
            else tuple(rank(criterion, one.unit, one.evidence, one.groups) for one in members)
        )
        queues = [queue for ranking in rankings for queue in ranking.queues]
        if self._explores:
            if not part:
                return rankings, [], together
            order, together = self._tried(queues, together)
            return rankings, order, together
        if not allocation.prices:
            return rankings, allocation.order(queues, None), together
        if self.until is None:  # only the first update of a schedule: `check` refuses prices without a budget
            return rankings, [], together
        self.context.progress.say("    measuring what each sort of parts wins of the budget")
        inside = held_inside(criterion, members, scores)
        return rankings, weighed(allocation, queues, together, self.until, self.context.read, inside), together

    def _tried(self, queues: Sequence[Queue], together: JointRemoval) -> tuple[Sequence[RemovalStep], JointRemoval]:
        """The steps that an allocation finds by trying, and what removes them."""
        steps, from_there, said = explored(
            self.operation, self.context, self.turn, self.until, self._division, queues, together
        )
        self.said.extend(one.labelled(self.label) if self.label else one for one in said)
        return steps, from_there

    def _search(self, together: JointRemoval, steps: Sequence[RemovalStep]) -> SearchResult:
        """How many of the steps are taken."""
        before = {tally.unit.name: tally for tally in self.tallies}

        def tried(k: int, verdict: Verdict) -> None:
            counts = dict.fromkeys(before, 0)
            for step in together.surviving(steps[:k]):
                counts[step.unit] += len(step.parts)
            said = [counted(tally.count + counts[name], tally.unit.one) for name, tally in before.items()]
            self.context.progress.say(f"    {', '.join(said)} removed: {verdict.text}")

        many = any(one.unit.many for one in self.operation.amounts)
        judge, guard = self.context.judge, self.operation.guard

        def removed(k: int) -> Network:
            return together.tried(steps[:k])

        if getattr(self.operation.allocation, "decides", False):
            return exactly(removed, len(steps), self.until, guard, judge, tried, many)
        return smallest(removed, len(steps), self.until, guard, judge, tried, many, self.context.look)

    def _tell(
        self,
        together: JointRemoval,
        rankings: Sequence[Ranking],
        taken: Sequence[RemovalStep],
        barred: Mapping[tuple[str, str], str],
    ) -> None:
        """Enter the round into the tallies."""
        remark = together.remark(taken)
        tallies = {tally.unit.name: tally for tally in self.tallies}
        for removal, ranking in zip(together.removals, rankings, strict=True):
            name = removal.unit.name
            gone = parts_of([step for step in taken if step.unit == name])
            kept = {group: why for (unit, group), why in barred.items() if unit == name}
            tallies[name].add(removal.offer, ranking, gone, kept, remark)
            remark = ""
        for removal in together.removals:
            tallies[removal.unit.name].vanish(together.vanishing(removal, taken))

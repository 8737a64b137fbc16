"""What a `prune` statement has removed so far, and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recipelang.budgets.iterations import Iterations
from recipelang.kinds import Figure, Offer, Unit
from recipelang.scoring.ranking import Ranking
from recipelang.units import counted

#: more reasons why something stays are not shown
MOST_REASONS = 4


@dataclass
class Tally:
    """What a statement has removed so far, over its rounds.

    Attributes:
        unit: what is removed.
        criterion: the name of what ranks it.
        means: group → mean score in the first round, the least important first.
        sizes: group → parts that it had at first.
        gone: group → parts removed, in order of removal.
        stay: group or layer → why nothing of it is removed.
        remarks: what the criterion says of its removals, each once.
        vanished: groups that were taken along by a removed layer → parts that they had left.
        several: whether the statement removes other units as well.
        iterations: the rankings of all rounds.
    """

    unit: Unit
    criterion: str
    means: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    stay: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    vanished: dict[str, int] = field(default_factory=dict)
    several: bool = False
    iterations: Iterations = field(default_factory=Iterations)

    def add(
        self,
        offer: Offer,
        ranking: Ranking,
        gone: Mapping[str, Sequence[int]],
        barred: Mapping[str, str],
        remark: str = "",
    ) -> None:
        """Add a round: what was offered, its ranking, what was removed, what had to stay after all, and what the
        criterion says of it."""
        self.remarks += [remark] if remark and remark not in self.remarks else []
        if not self.means:
            order = [queue.group.name for queue in ranking.queues]
            self.means = {name: ranking.means[name] for name in sorted(order, key=ranking.means.__getitem__)}
        for group in offer.groups:
            self.sizes.setdefault(group.name, group.size)
        for name, parts in gone.items():
            self.gone[name] = self.gone.get(name, 0) + len(parts)
        self.iterations.add(ranking.queues, gone)
        what = f"`{self.criterion}` finds nothing in it to score"
        self.stay |= {**offer.stay, **dict.fromkeys(ranking.unscored, what), **barred}

    def vanish(self, names: Sequence[str]) -> None:
        """Groups that a removed layer took along: they are not counted among what this unit has, or has lost."""
        for name in names:
            self.vanished[name] = self.sizes.pop(name) - self.gone.pop(name, 0)
            self.means.pop(name, None)
            self.iterations.forget(name)

    @property
    def count(self) -> int:
        """The number of parts removed."""
        return sum(self.gone.values())

    @property
    def reached(self) -> Figure:
        """`2 layers removed`, `412 of 1,344 filters removed`."""
        of = sum(self.sizes.values()) if self.unit.many else None
        return Figure("removed", self.count, noun=self.unit.one, of=of)

    @property
    def agreement(self) -> tuple[Figure, ...]:
        """How far one ranking agrees with ranking again; nothing for a single round."""
        return agreement(self.iterations.correlation, self.unit.name if self.several else "")

    @property
    def edits(self) -> tuple[str, ...]:
        """What was removed of each group."""
        if not self.unit.many:
            return tuple(f"removed `{name}`" for name in self.gone)
        one = self.unit.one
        return tuple(f"removed {n} of {counted(self.sizes[name], one)} of `{name}`" for name, n in self.gone.items())

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """The ranking of the first round and what was removed since; groups of many parts in the network's order."""
        names = [name for name in self.sizes if name in self.means] if self.unit.many else self.means
        return tuple(self._row(name) for name in names)

    def _row(self, name: str) -> Mapping[str, Any]:
        gone = self.gone.get(name, 0)
        row = {"layer": name, "score": self.means[name], "removed": bool(gone)}
        row |= {"unit": self.unit.name} if self.several else {}
        return {**row, "gone": gone, "of": self.sizes[name]} if self.unit.many else row

    @property
    def taken_along(self) -> str:
        """What removed layers held of this unit."""
        if not self.vanished:
            return ""
        what = counted(sum(self.vanished.values()), self.unit.one)
        return f"{what} of {counted(len(self.vanished), 'group')} vanished with the layers"

    @property
    def staying(self) -> str:
        """What stays whole, by reason; empty for a unit whose parts are few: `recipe layers` shows them."""
        if not (self.unit.many and self.stay):
            return ""
        shown = []
        for why, count in Counter(self.stay.values()).most_common(MOST_REASONS):
            first = next(name for name, reason in self.stay.items() if reason == why)
            shown.append(f"`{first}`{f' and {count - 1} more' if count > 1 else ''} ({why})")
        return f"stays whole: {'; '.join(shown)}"


def agreement(correlation: float | None, of: str = "") -> tuple[Figure, ...]:
    """The rank correlation of one ranking with ranking again, as a figure; none where there is none."""
    what = f"rank correlation of one-shot and iterative ranking{' of ' if of else ''}{of}"
    return (Figure(what, float(f"{correlation:.3f}")),) if correlation is not None else ()

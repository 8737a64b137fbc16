"""A lane: one path through the recipe, for one variant and one seed, and what was done on it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recipelang.errors import Diagnostic
from recipelang.kinds import Figure
from recipelang.plan import Reading, Step, Written
from recipelang.run.states import State


@dataclass(frozen=True)
class StepRecord:
    """What a step did, as the report shows it. Numbers and words, no tensors."""

    verb: str
    text: str
    line: int
    implied: bool = False
    seconds: float | None = None  # None if there was nothing to do
    cached: bool = False
    asked: tuple[Figure, ...] | str = ()  # text: stored by an earlier version
    reached: tuple[Figure, ...] | str = ()
    note: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[str, ...] = ()
    ranking: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    unvalidated: str = ""
    plots: tuple[Mapping[str, Any], ...] = ()
    cost: Mapping[str, Any] | None = None  # None if there was nothing to do


@dataclass(frozen=True)
class Left:
    """A network that a step left beside the current one.

    Attributes:
        name: of the state.
        state: the network.
        steps: how many steps of the lane made it.
        parameters: of the lane.
    """

    name: str
    state: State
    steps: int
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Exported:
    """A statement that writes files, and the network that it writes.

    Attributes:
        step, asked: the statement, and the files.
        state: what is written.
        recovered: the network before its hardware restriction; None where it has none.
    """

    step: Step
    asked: Written
    state: State
    recovered: State | None


@dataclass
class Lane:
    """One variant under one seed.

    Attributes:
        path: names of the variants that were entered, outermost first.
        parameters: sweep parameters of this lane, as text.
        seed: for everything random; `seeded` after a `seeds` statement.
        current, healthy, recovered: states; None before they exist.
        named: states by name: `keep as`, second models.
        beside: networks that steps left beside the current one, by their names as rows: where and how each came.
        columns: what `measure` statements ask for.
        steps: records, in order.
        shared: how many of the first steps come before `healthy`; every variant shares those.
        exports: what is to be written of it.
        error: why the lane ended early.
        written: all steps are done and the network is written; an error is then that of an export.
        fits: whether every `expect` that a later `choose` filters by has been met so far.
        chosen, lost: what a `choose` made of it.
        passed: it was chosen, and another lane continues from it.
        origin: the candidate that `choose` picked and this lane continues from.
        control_of: the variants that a control is for.
    """

    path: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    seeded: bool = False
    current: State | None = None
    healthy: State | None = None
    recovered: State | None = None
    named: dict[str, State] = field(default_factory=dict)
    beside: dict[tuple[str, ...], Left] = field(default_factory=dict)
    columns: list[Reading] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    shared: int = 0
    exports: list[Exported] = field(default_factory=list)
    error: Diagnostic | None = None
    written: bool = False
    fits: bool = True
    chosen: bool = False
    lost: bool = False
    passed: bool = False
    origin: Lane | None = None
    control_of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`main` without variants, else the joined names: `criterion=taylor, n=2`."""
        return ", ".join(self.path) or "main"

    @property
    def trace(self) -> tuple[Any, ...]:
        """The training since `healthy` that made the current state, for the control."""
        return self.current.trace if self.current else ()

    @property
    def folder(self) -> str:
        """The folder of its network within the output folder: `main`, `gentle/seed-1`; never outside it."""
        name = self.name.replace(", ", ",")
        safe = "".join(c if c.isalnum() or c in "=._-," else "_" for c in name).lstrip(".")[:100]
        if safe != name:  # two names may differ only in characters that a folder's name cannot hold
            safe = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
        return f"{safe}/seed-{self.seed}" if self.seeded else safe

    def fork(self, **changes: Any) -> Lane:
        """A lane that starts from this one's position; the two share nothing mutable."""
        other = copy.copy(self)
        for name in ("parameters", "named", "beside"):
            setattr(other, name, dict(getattr(self, name)))
        for name in ("columns", "steps", "exports"):
            setattr(other, name, list(getattr(self, name)))
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def leave(self, name: str, state: State) -> None:
        """Note a network that the step under way leaves beside the current one; it is a state from here on."""
        self.named[name] = state
        self.beside[*self.path, name] = Left(name, state, len(self.steps) + 1, dict(self.parameters))

    def become(self, other: Lane) -> None:
        """Take over the position of another lane, under this lane's own name."""
        own = {name: getattr(self, name) for name in ("path", "parameters", "origin", "chosen", "lost", "passed")}
        vars(self).update({**vars(other.fork()), **own})

    def state(self, name: str) -> State | None:
        """A state by the name that a recipe uses; None if this lane has no such state."""
        own = {"current": self.current, "self": self.current, "healthy": self.healthy, "recovered": self.recovered}
        return own[name] if name in own else self.named.get(name)


def beside(lanes: list[Lane], used: set[str]) -> list[Lane]:
    """Lanes that end with the networks that steps left beside the current one, for the report; each once for a seed.

    Args:
        lanes: of the run.
        used: names of the states that the recipe starts from, which have lanes of their own.
    """
    found: dict[tuple[tuple[str, ...], int], Lane] = {}
    for lane in lanes:
        for path, left in lane.beside.items():
            if left.name not in used and (path, lane.seed) not in found:
                healthy = lane.healthy or lane.current
                found[path, lane.seed] = lane.fork(
                    path=path,
                    parameters=dict(left.parameters),
                    current=left.state,
                    healthy=healthy,
                    steps=lane.steps[: left.steps],
                    shared=min(lane.shared, left.steps),
                    exports=[],
                    beside={},
                    error=None,
                    lost=True,
                    chosen=False,
                    passed=False,
                    origin=None,
                )
    return list(found.values())


def by_variant(lanes: list[Lane]) -> dict[str, list[Lane]]:
    """Lanes by the name of their variant, one per seed, in order."""
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.name, []).append(lane)
    return groups

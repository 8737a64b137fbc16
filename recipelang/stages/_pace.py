"""When `prune` removes and when it trains: in rounds, at the updates of a schedule during one training, or after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from recipelang.meaning import schedules
from recipelang.plan import Duration, Training
from recipelang.scoring.softening import Softening, Weakest
from recipelang.stages.context import Context, Outcome, nth_seed
from recipelang.surgery.network import Network
from recipelang.training.history import FitRecord, continued
from recipelang.training.loop import fit
from recipelang.training.rounds import share
from recipelang.training.windows import Window, one_history, steps_of, steps_of_epoch
from recipelang.verbs.prune import Prune

#: a schedule may have more updates; after this many, no group becomes narrower
MOST_TURNS = 16


class Pace(Protocol):
    """Turns of removal, and the training around them.

    Attributes:
        called: what a turn is called: `round`, `update`.
        parts: after each turn, the part of the whole statement that is removed: it does not fall, and ends at 1.
    """

    called: ClassVar[str]

    @property
    def parts(self) -> Sequence[float]: ...

    def before(self, outcome: Outcome) -> Outcome:
        """The training before the first turn."""

    def after(self, outcome: Outcome, turn: int, last: bool) -> Outcome:
        """The training after a turn, counted from 1; all that is left of it after the last one."""


def pace_of(training: Training | None, rounds: int, context: Context, weakest: Weakest) -> Pace:
    """The pace of a statement with this training, if it has one, in this many rounds or over a schedule.

    Args:
        training, rounds: of the statement.
        context: of the stage.
        weakest: what a network in training would lose, for a schedule that only sets parts to zero.

    Raises:
        Refusal: RCP0312: the schedule does not fit into the training as it is written, in a smoke run as well.
    """
    if training is None or training.course is None:
        return Rounds(training, rounds, context)
    if getattr(training.course.schedule, "soft", False):
        return Soft(training, context, weakest)
    per_epoch = steps_of_epoch(context.data, training)
    schedules.fit(training, per_epoch)
    total = steps_of(training.duration, per_epoch, context.smoke)
    updates = ((0, 0.5), (total - 1, 1.0)) if context.smoke else _updates(training, per_epoch)
    return Gradual(training, context, total, per_epoch, updates)


def turns_of(operation: Prune) -> int:
    """How often a statement removes, at most."""
    course = operation.training.course if operation.training else None
    if course is None:
        return operation.rounds
    return 1 if getattr(course.schedule, "soft", False) else MOST_TURNS


def _updates(training: Training, per_epoch: int) -> tuple[tuple[int, float], ...]:
    course = training.course
    assert course is not None
    found = schedules.moments(course, training.duration, per_epoch)
    return tuple((step, target / course.target) for step, target in found)


@dataclass(frozen=True)
class Rounds:
    """Equal parts, each with its share of the training, which is a training of its own."""

    called: ClassVar[str] = "round"

    training: Training | None
    count: int
    context: Context

    @property
    def parts(self) -> Sequence[float]:
        """1/n, 2/n, … 1."""
        return [turn / self.count for turn in range(1, self.count + 1)]

    def before(self, outcome: Outcome) -> Outcome:
        """There is none."""
        return outcome

    def after(self, outcome: Outcome, turn: int, last: bool) -> Outcome:
        """The turn's share."""
        training = share(self.training, turn, self.count) if self.training else None
        if training is None or training.duration.count == 0:
            return outcome
        seed = nth_seed(self.context.seed, len(outcome.training))
        tuned, record = _fit(outcome.network, training, self.context, seed, f"round-{turn}")
        history = continued(outcome.history, record.history)
        told: dict[str, Any] = {"history": history, "unvalidated": outcome.unvalidated or record.unvalidated}
        return replace(outcome, network=tuned, training=(*outcome.training, training), **told)


@dataclass(frozen=True)
class Gradual:
    """One training, interrupted by the updates of its schedule.

    Attributes:
        training: all of it, with its course.
        total, per_epoch: its steps, and those of an epoch.
        updates: the step before which each update is, and the part of the statement that is then removed.
    """

    called: ClassVar[str] = "update"

    training: Training
    context: Context
    total: int
    per_epoch: int
    updates: Sequence[tuple[int, float]]
    _done: list[tuple[int, FitRecord]] = field(default_factory=list, repr=False)

    @property
    def parts(self) -> Sequence[float]:
        """As the schedule says."""
        return [part for _, part in self.updates]

    def before(self, outcome: Outcome) -> Outcome:
        """The steps before the first update."""
        return self._trained(outcome, 0, self.updates[0][0])

    def after(self, outcome: Outcome, turn: int, last: bool) -> Outcome:
        """The steps from one update to the next, or to the end."""
        return self._trained(outcome, self.updates[turn - 1][0], self.total if last else self.updates[turn][0])

    def _trained(self, outcome: Outcome, start: int, stop: int) -> Outcome:
        """The outcome after the steps `start` … `stop` − 1."""
        if start == stop:
            return outcome
        part = replace(self.training, duration=Duration(stop - start, "steps"))
        tuned, record = _fit(
            outcome.network, part, self.context, self.context.seed, f"from-{start}", Window(start, self.total)
        )
        self._done.append((start, record))
        history = one_history(self._done, self.per_epoch)
        told: dict[str, Any] = {"history": history, "unvalidated": outcome.unvalidated or record.unvalidated}
        return replace(outcome, network=tuned, training=(self.training,), **told)


@dataclass(frozen=True)
class Soft:
    """One training, at whose updates the weakest parts are set to zero; all are removed after it."""

    called: ClassVar[str] = "update"

    training: Training
    context: Context
    weakest: Weakest

    @property
    def parts(self) -> Sequence[float]:
        """All at once."""
        return (1.0,)

    def before(self, outcome: Outcome) -> Outcome:
        """All of the training."""
        assert self.training.course
        softening = Softening(self.training.course, self.weakest)
        joined = replace(self.training, companions=(*self.training.companions, softening))
        tuned, record = _fit(outcome.network, joined, self.context, self.context.seed, "softly")
        told: dict[str, Any] = {"history": record.history, "unvalidated": record.unvalidated}
        return replace(outcome, network=tuned, training=(self.training,), **told)

    def after(self, outcome: Outcome, turn: int, last: bool) -> Outcome:
        """There is none."""
        return outcome


def _fit(
    network: Network, training: Training, context: Context, seed: int, name: str, window: Window | None = None
) -> tuple[Network, FitRecord]:
    """The training loop, with a checkpoint of this name."""
    at = context.folder / name
    how = {"checkpoint": at, "window": window, "validate": True, **context.working}
    return fit(network, context.data, training, seed=seed, **how)

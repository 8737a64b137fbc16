"""Ramps and schedules compared with their training: a milestone, a warm-up or an update after its end is a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.meaning import names, trees
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.settings import bind
from recipelang.plan import Course, Duration, Mark, Stretched, Training, parts_of
from recipelang.syntax import nodes
from recipelang.units import show

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader

CODE = "RCP0312"
HELP = "epochs count from 0; train longer, or write earlier milestones and a shorter warm-up"
#: a schedule that updates about so often fits into its training
UPDATES = 10
#: moments of a schedule that a plan shows
SHOWN = 5


def states(reader: Reader, node: Any, schedule: Any) -> None:
    """Note RCP0205 and RCP0501 for the states that a schedule reads and that were not kept.

    Args:
        reader: the statement.
        node: of the schedule.
        schedule: built from it.
    """
    written = {trees.bare_word(argument.value): argument.value for argument in node.arguments}
    for name in getattr(schedule, "states", ()):
        place = written.get(name) or trees.respan(trees.expression(name), node.span)
        if names.state(reader, place, f"`{schedule.name}`") and name in reader.flow.outgrown:
            message = f"`{schedule.name}` cannot go back to `{name}`: parts were removed since"
            kept = "early" if name == "healthy" else name
            help = f"write `keep as {kept}` after the last statement that removes something"
            reader.refuse("RCP0791", message, place.span, help)


def rounds(reader: Reader, node: Any) -> int | None:
    """`over 5 rounds`: how many; None where it is something else. A number with another unit is refused (RCP0302)."""
    found = trees.whole(node, ("rounds",), most=1e6)
    if found is None and not isinstance(node, nodes.Call):
        meant = trees.whole(node, ("number", "times", "steps", "epochs"), most=1e6)
        help = f"write `over {meant} rounds`" if meant else "write, for example, `over 5 rounds`"
        reader.refuse("RCP0302", "`over` takes a number of rounds, or a schedule", node.span, help)
    return found


def check(given: tuple[Any, ...], duration: Duration, rounds: int, refuse: Refuse) -> None:
    """Note marks of ramps and schedules that come after the end of the training (RCP0312), where epochs and steps can
    be compared.

    Args:
        given: the nodes of the clauses `with` and `over`.
        duration: of the training.
        rounds: the number of rounds that share it; each runs the ramps from their start.
        refuse: notes the mistake at the setting.
    """
    part = share(duration, rounds)
    for call in _calls(given):
        for kind, help in (("ramp", HELP), ("schedule", _help_over(part))):
            found = catalogue.find(kind, call.path[0].text) if len(call.path) == 1 else None
            made = bind(call, found, lambda *_: None) if found else None
            for mark in made.marks() if made else ():
                if _late(mark, part, None):
                    refuse(CODE, _message(mark, part, rounds), _span(call, mark), help)


def fit(training: Training, per_epoch: int) -> None:
    """Compare the ramps and the schedule of a training with its length in steps, once that is known.

    Args:
        training: one round, as it runs.
        per_epoch: steps of an epoch.

    Raises:
        Refusal: RCP0312: a milestone, a warm-up or an update comes after its end, or there is only one update.
    """
    course = training.course
    parts = tuple(parts_of(training))
    written = [part.ramp for part in parts if isinstance(part, Stretched)]  # their moments come later
    for part in parts:
        for mark in part.marks() if hasattr(part, "marks") and not any(part is ramp for ramp in written) else ():
            if _late(mark, training.duration, per_epoch):
                steps = f" (an epoch is {per_epoch} step{'s' * (per_epoch != 1)})"
                help = _help_over(training.duration, per_epoch) if course and part is course.schedule else HELP
                raise Refusal(CODE, _message(mark, training.duration, 1) + steps, help)
    least = 1 if course and getattr(course.schedule, "soft", False) else 2  # parts leave after the training as well
    if course and len(moments(course, training.duration, per_epoch)) < least:
        own = "moves nothing: its first update is after its end" if hasattr(course.schedule, "companion") else ""
        message = f"`{course.schedule.name}` {own or 'sets its target at once: there is no second update'}"
        help = _help_over(training.duration, per_epoch)
        raise Refusal(CODE, _message(Mark("", training.duration, message), training.duration, 1), help)


def require_steps(course: Course, part: Duration, per_epoch: int) -> None:
    """Compare the rounds of a schedule with their length in steps, once that is known.

    Args:
        course: whose schedule has rounds.
        part: of the training that one of them gets.
        per_epoch: steps of an epoch.

    Raises:
        Refusal: RCP0312: it is less than a step.
    """
    if round(part.steps(per_epoch)) < 1:
        schedule = course.schedule
        message = f"each of the {schedule.rounds} rounds of `{schedule.name}` trains less than a step: {part}"
        raise Refusal(CODE, f"{message} (an epoch has {per_epoch} steps)", "train longer, or in fewer rounds")


def told(course: Course, duration: Duration, per_epoch: int) -> str:
    """`agp sets the target 55 times: 5.00 % at epoch 2, … 80.00 % at epoch 59.8`.

    Args:
        course: the schedule and its target.
        duration: of the training.
        per_epoch: steps of an epoch.
    """
    if hasattr(course.schedule, "telling"):
        own: str = course.schedule.telling(course.target, round(duration.steps(per_epoch)), per_epoch)
        return own
    updates = moments(course, duration, per_epoch)
    chosen = sorted({round(n * (len(updates) - 1) / (SHOWN - 1)) for n in range(SHOWN)})
    shown = [f"{show(updates[n][1], '%')} at epoch {updates[n][0] / per_epoch:.3g}" for n in chosen]
    return f"{course.schedule.name} sets the target {len(updates)} times: {', '.join(shown)}"


def moments(course: Course, duration: Duration, per_epoch: int) -> list[tuple[int, float]]:
    """(step, target) of every update of a training with this many steps an epoch."""
    total = round(duration.steps(per_epoch))
    found = ((step, course.schedule.target_at(course.target, step, total, per_epoch)) for step in range(total))
    return [(step, target) for step, target in found if target is not None]


def share(duration: Duration, rounds: int) -> Duration:
    """The part of a total that each of `rounds` rounds trains at least; see `training.rounds`."""
    whole = duration.unit == "steps" or (float(duration.count).is_integer() and duration.count >= rounds)
    return Duration(max(1.0, duration.count // rounds) if whole else duration.count / rounds, duration.unit)


def _late(mark: Mark, duration: Duration, per_epoch: int | None) -> bool:
    if mark.when.unit == duration.unit:
        return mark.when.count >= duration.count
    return per_epoch is not None and mark.when.steps(per_epoch) >= round(duration.steps(per_epoch))


def _message(mark: Mark, duration: Duration, rounds: int) -> str:
    lasts = "the training lasts" if rounds == 1 else f"each of {rounds} rounds trains"
    return f"{mark.otherwise}: {lasts} {duration}"


def _help_over(duration: Duration, per_epoch: int | None = None) -> str:
    """What to write instead, with updates that fit into a training of this length, as far as it is known."""
    known = per_epoch is not None or duration.unit == "steps"
    every = max(1, int(duration.steps(per_epoch or 1)) // UPDATES) if known else UPDATES
    return f"train longer, or let the schedule begin earlier and update more often: `every={every} steps`"


def _calls(node: Any) -> Iterator[nodes.Call]:
    """Every call anywhere in some nodes."""
    for part in parts_of(node):
        if isinstance(part, nodes.Call):
            yield part


def _span(call: nodes.Call, mark: Mark) -> Any:
    """The place in a ramp's setting that gives the moment: the item of its list, its value, else the call."""
    for argument in call.arguments:
        if argument.name and argument.name.text == mark.setting:
            items = argument.value.items if isinstance(argument.value, nodes.List) else ()
            here = (i for i in items if isinstance(i, nodes.Number) and i.quantity.value == mark.when.count)
            return next(here, argument.value).span
    return call.span

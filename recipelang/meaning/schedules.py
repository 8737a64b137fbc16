"""Schedules compared with their training: a milestone or a warm-up that ends after it is a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.settings import bind
from recipelang.plan import Duration, Mark, Training, parts_of
from recipelang.syntax import nodes

CODE = "RCP0312"
HELP = "epochs count from 0; train longer, or write earlier milestones and a shorter warm-up"


def check(with_: tuple[Any, ...], duration: Duration, rounds: int, refuse: Refuse) -> None:
    """Note marks of ramps that come after the end of the training (RCP0312), where epochs and steps can be compared.

    Args:
        with_: the nodes of the clause `with`.
        duration: of the training.
        rounds: the number of rounds that share it; each runs the ramps from their start.
        refuse: notes the mistake at the setting.
    """
    part = share(duration, rounds)
    for call in _calls(with_):
        ramp = catalogue.find("ramp", call.path[0].text) if len(call.path) == 1 else None
        made = bind(call, ramp, lambda *_: None) if ramp else None
        for mark in made.marks() if made else ():
            if _late(mark, part, None):
                refuse(CODE, _message(mark, part, rounds), _span(call, mark), HELP)


def fit(training: Training, per_epoch: int) -> None:
    """Compare the ramps of a training with its length in steps, once that is known.

    Args:
        training: one round, as it runs.
        per_epoch: steps of an epoch.

    Raises:
        Refusal: RCP0312: a milestone or a warm-up comes after its end.
    """
    for part in parts_of(training):
        for mark in part.marks() if hasattr(part, "marks") else ():
            if _late(mark, training.duration, per_epoch):
                steps = f" (an epoch is {per_epoch} step{'s' * (per_epoch != 1)})"
                raise Refusal(CODE, _message(mark, training.duration, 1) + steps, HELP)


def share(duration: Duration, rounds: int) -> Duration:
    """The part of a total that each of `rounds` rounds trains at least; see `stages.prune`."""
    whole = duration.unit == "steps" or (float(duration.count).is_integer() and duration.count >= rounds)
    return Duration(max(1.0, duration.count // rounds) if whole else duration.count / rounds, duration.unit)


def _late(mark: Mark, duration: Duration, per_epoch: int | None) -> bool:
    if mark.when.unit == duration.unit:
        return mark.when.count >= duration.count
    return per_epoch is not None and _steps(mark.when, per_epoch) >= round(_steps(duration, per_epoch))


def _steps(duration: Duration, per_epoch: int) -> float:
    return duration.count * (per_epoch if duration.unit == "epochs" else 1)


def _message(mark: Mark, duration: Duration, rounds: int) -> str:
    lasts = "the training lasts" if rounds == 1 else f"each of {rounds} rounds trains"
    return f"{mark.otherwise}: {lasts} {duration}"


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

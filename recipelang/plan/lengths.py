"""A training that lasts longer than it is written, with what it changes over its duration."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from recipelang.plan.values import Duration, Mark, Training


@dataclass(frozen=True)
class Stretched:
    """A ramp over a training that lasts `by` times as long as the one it is written for: a milestone in the middle
    stays in the middle.

    Attributes:
        ramp: as written, a method of kind `ramp`.
        by: the factor, above 0.
    """

    ramp: Any
    by: float

    def value_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Value for the update number `step` (from 0) of `total`."""
        return float(self.ramp.value_at(step / self.by, total / self.by, steps_per_epoch))

    def marks(self) -> tuple[Mark, ...]:
        """The ramp's moments, each as much later."""
        return tuple(replace(mark, when=_longer(mark.when, self.by)) for mark in self.ramp.marks())


def lengthened(training: Training, by: float) -> Training:
    """A training that lasts `by` times as long; its ramps keep their shape."""
    optimizer = replace(training.optimizer, **_ramps(training.optimizer, by))
    losses = tuple(replace(term, **_ramps(term, by)) for term in training.losses)
    return replace(training, duration=_longer(training.duration, by), optimizer=optimizer, losses=losses)


def _longer(duration: Duration, by: float) -> Duration:
    return Duration(duration.count * by, duration.unit)


def _ramps(one: Any, by: float) -> dict[str, Stretched]:
    """The settings of an optimizer or a term that are ramps, stretched."""
    values = {field.name: getattr(one, field.name) for field in fields(one)}
    return {name: Stretched(value, by) for name, value in values.items() if hasattr(value, "value_at")}

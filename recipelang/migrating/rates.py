"""Learning rates of SparseML, and schedulers of torch, which Distiller and torchdistill name as well."""

from __future__ import annotations

import math

from recipelang.migrating.finding import Fields, Findings, shown
from recipelang.migrating.reading import Value, Wrong, number
from recipelang.migrating.timeline import Rate, Timeline


def set_rate(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, end = epochs_of(fields, timeline)
    fields.drop("param_groups", "constant_logging")
    rate = fields.number("learning_rate", low=0)
    if rate is not None:
        timeline.rates.append(Rate(fields.value.line, "constant", start, end, rate, rate))


def rate_function(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, end = epochs_of(fields, timeline)
    fields.drop("param_groups")
    law = fields.take("lr_func")
    first, last = fields.number("init_lr", low=0), fields.number("final_lr", low=0)
    name = law.text.lower() if law else "linear"
    if name.startswith("cyclic"):
        findings.missing(law or fields.value, f"lr_func: {name}", "a ramp has no cycles", f"`{name.split('_')[-1]}`")
        name = name.split("_")[-1]
    if first is None or last is None or name not in ("linear", "cosine"):
        findings.missing(fields.value, fields.name, "it names no rates or no law that is known", "`linear`, `cosine`")
        return
    timeline.rates.append(Rate(fields.value.line, name, start, end, first, last))


def rate_class(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    start, end = epochs_of(fields, timeline)
    rate = fields.number("init_lr", low=0)
    kind, settings = fields.take("lr_class"), fields.take("lr_kwargs")
    stepped = steps_of(kind.text if kind else "", settings, start, end if math.isfinite(end) else timeline.total)
    if rate is None or stepped is None:
        findings.missing(fields.value, fields.name, "no schedule that is known", "`multistep`, `linear` or `cosine`")
        return
    factor, at = stepped
    timeline.rates.append(Rate(fields.value.line, "multistep", start, end, rate, rate, factor, at))


def steps_of(kind: str, settings: Value | None, start: float, end: float) -> tuple[float, tuple[float, ...]] | None:
    """A scheduler of torch as a factor and the epochs at which it is applied; None where it is of another kind.

    `ExponentialLR` multiplies after every epoch, and `StepLR` after every `step_size`, which is the same as naming
    these epochs.
    """
    given = settings.mapping if settings else {}
    gamma = number(given["gamma"].data) if "gamma" in given else 0.1
    if not gamma or gamma <= 0:
        return None
    if kind == "MultiStepLR" and "milestones" in given:
        marks = [number(one.data) for one in given["milestones"].items]
        return gamma, tuple(start + mark for mark in marks if mark)
    size = 1.0 if kind == "ExponentialLR" else number(given["step_size"].data) if "step_size" in given else None
    if kind not in ("ExponentialLR", "StepLR") or not size or size <= 0 or (end - start) / size > 1000:
        return None
    return gamma, tuple(start + size * k for k in range(1, math.ceil((end - start) / size)))


def decay(fields: Fields, timeline: Timeline, findings: Findings) -> None:
    epochs_of(fields, timeline)
    value = fields.number("weight_decay", low=0)
    fields.drop("param_groups", "constant_logging")
    if value is not None:
        timeline.settings = (*timeline.settings, f"weight_decay={shown(value)}")


def epochs_of(fields: Fields, timeline: Timeline) -> tuple[float, float]:
    """Where a modifier begins and ends; infinity where it goes on to the end.

    Raises:
        Wrong: RCP1263: it ends before it begins.
    """
    start = fields.number("start_epoch", "start", low=-1)
    end = fields.number("end_epoch", "end", low=-1)
    begin = max(0.0, start or 0.0)
    stop = math.inf if end is None or end < 0 else end
    if stop < begin:
        message = f"`{fields.name}` ends at epoch {shown(stop)} and begins at {shown(begin)}"
        raise Wrong("RCP1263", message, fields.value, "the end comes after the beginning")
    if math.isfinite(stop):
        timeline.total = max(timeline.total, stop)
    return begin, stop

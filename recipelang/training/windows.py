"""One training in several windows, between which the network may change its shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.kinds import Dataset
from recipelang.plan import Duration, Training
from recipelang.training import smoke as smoking

if TYPE_CHECKING:
    from recipelang.training.history import FitRecord


@dataclass(frozen=True)
class Window:
    """Some steps of a longer training: ramps, companions and the order of the images are those of all of it.

    Attributes:
        start: the number of its first step, from 0.
        total: the steps of the whole training.
    """

    start: int
    total: int


def batches_of_epoch(data: Dataset, samples: int | None = None) -> int:
    """The batches of an epoch, on at most `samples` images of the training split."""
    images = min(samples or data.size("train"), data.size("train"))
    return images // min(data.batch, images)


def steps_of_epoch(data: Dataset, training: Training, samples: int | None = None) -> int:
    """The optimizer steps of an epoch, on at most `samples` images of the training split: the last one of an epoch has
    the batches that are left."""
    return math.ceil(batches_of_epoch(data, samples) / training.batches)


def groups_of_epoch(data: Dataset, training: Training, samples: int | None = None) -> str:
    """How the batches of an epoch become steps, in words; "" where each batch is one."""
    if training.batches == 1:
        return ""
    batches, steps = batches_of_epoch(data, samples), steps_of_epoch(data, training, samples)
    size = min(training.batches, batches)
    images = size * min(data.batch, samples or data.size("train"))
    whole = f"an epoch has {batches} batch{'es' * (batches != 1)}"
    grouped = f"{steps} step{'s' * (steps != 1)} of {size} ({images} samples)"
    rest = batches % size
    return f"{whole}: {grouped}{f', the last of {rest}' if rest else ''}"


def steps_of(duration: Duration, per_epoch: int, smoke: bool = False) -> int:
    """The optimizer steps of a training; in a smoke run no more than two."""
    steps = round(duration.steps(per_epoch))
    return min(steps, smoking.STEPS) if smoke else steps


def one_history(windows: Sequence[tuple[int, FitRecord]], per_epoch: int) -> tuple[Mapping[str, Any], ...]:
    """The rows of windows as one training has them: where an epoch was cut, the mean over its steps.

    Args:
        windows: the first step and the record of each, in order.
        per_epoch: steps of an epoch.
    """
    epochs: dict[float, list[tuple[int, Mapping[str, Any]]]] = {}
    for start, record in windows:
        at = start
        for row in record.history:
            end = min(start + record.steps, round(row["epoch"] * per_epoch))
            epochs.setdefault(row["epoch"], []).append((end - at, row))
            at = end
    return tuple(_mean(rows) for rows in epochs.values())


def _mean(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """One row of several: what is a mean over images is averaged, the rest is that of the last."""
    if len(rows) == 1:
        return rows[0][1]
    last, steps = rows[-1][1], sum(count for count, _ in rows)
    means = {
        name: sum(count * row[name] for count, row in rows) / steps
        for name in last
        if name not in ("epoch", "lr", "validation", "unvalidated")
    }
    return {**last, **means}

"""The points of a training curve, as a record holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recipelang.report.decode import NAME


@dataclass(frozen=True)
class Validation:
    """How a network in training does on samples that it is not trained with.

    Attributes:
        loss: the task's own loss, the mean over the samples.
        score: the task's score, such as the share of right answers; null where the task has none.
        name: of the score: `accuracy`.
        better: which direction of the score is better.
        n: how many samples of the validation split, the same at each point.
    """

    loss: float | None
    score: float | None = None
    name: str = field(default="", metadata=NAME)
    better: Literal["lower", "higher"] = "higher"
    n: int = 0


@dataclass(frozen=True)
class Epoch:
    """One point of a training curve.

    Attributes:
        epoch: how many epochs were done; not always a whole number.
        loss: mean training loss since the point before.
        lr: learning rate at the end.
        score: the task's score since the point before, on the augmented training samples; null where it has none.
        validation: of the network at this point; null where the training did not validate.
    """

    epoch: float
    loss: float | None
    lr: float | None = None
    score: float | None = None
    validation: Validation | None = None

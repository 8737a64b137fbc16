"""The history of a training: the loss and the task's score per epoch, and the record at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from torch import Tensor

from recipelang.kinds import Figure, Finished
from recipelang.plan import Term
from recipelang.training.checkpoint import TrainingState
from recipelang.training.curve import Curve
from recipelang.training.explosion import exploded

#: of one epoch
Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class FitRecord:
    """What a training did.

    Attributes:
        steps, images: optimizer steps and images seen.
        epochs: passes over the training data, possibly fractional.
        precision: `float32` or `bfloat16`, for matrix products and convolutions.
        resumed_at: the step at which a checkpoint was resumed, 0 without one.
        history: per epoch: `epoch` (from 1), `loss` and the task's score, such as `accuracy`, under its name (both
            means over the augmented samples), `lr` of its last step; `validation`, where the training validated then.
        unvalidated: why it did not validate; "" where it did, or was not asked to.
        left: what its companions leave, with the trained network.
        cut: whether it ended before its duration.
        beside: name → a network that it leaves beside the one that it trained.
    """

    steps: int
    images: int
    epochs: float
    precision: str
    resumed_at: int
    history: tuple[Row, ...]
    unvalidated: str = ""
    left: Finished = field(default=Finished(None), compare=False, repr=False)
    cut: bool = False
    beside: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """How long it was, and the loss of its last epoch."""
        length = (Figure(value=self.epochs, noun="epoch"), Figure(value=self.steps, noun="step"))
        if not self.history:
            return length
        return (*length, Figure("training loss", float(f"{self.history[-1]['loss']:.3g}")))


def continued(history: tuple[Row, ...], rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of a training after those of the ones before it; epochs go on counting."""
    done = history[-1]["epoch"] if history else 0
    return (*history, *({**row, "epoch": done + row["epoch"]} for row in rows))


def together(records: Sequence[FitRecord]) -> FitRecord:
    """The record of trainings that followed one another, at least one."""
    steps, images, epochs = (sum(getattr(record, name) for record in records) for name in ("steps", "images", "epochs"))
    history: tuple[Row, ...] = ()
    for record in records:
        history = continued(history, record.history)
    unvalidated = next((record.unvalidated for record in records if record.unvalidated), "")
    last = replace(records[-1], unvalidated=unvalidated)
    return replace(last, steps=steps, images=images, epochs=round(epochs, 3), history=history)


class EpochTally:
    """Loss and score of the epoch so far; reads the numbers only every few steps, since that makes a GPU wait.

    Args:
        state: what the numbers are added to.
        every: steps between two readings.
        losses: the terms of the loss; an error names the one that made it infinite.
        curve: hears of each step; None where nobody does.
    """

    def __init__(
        self, state: TrainingState, every: int, losses: Sequence[Term] = (), curve: Curve | None = None
    ) -> None:
        self.state, self.every, self.last, self.losses, self.curve = state, every, math.nan, losses, curve
        self.before: Mapping[str, Tensor] = {}  # the terms of the step before
        self.name = ""  # of the score; "" where the task has none
        self.waiting: list[tuple[Tensor, Tensor | None, int, int, float, Mapping[str, Tensor]]] = []

    def add(
        self,
        loss: Tensor,
        score: tuple[str, Tensor] | None,
        images: int,
        lr: float,
        terms: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Add the numbers of one step: its mean loss, name and sum of the task's score, how many images, and the terms
        of the loss for its curves."""
        self.name, total = score or ("", None)
        self.waiting.append((loss, total, images, self.state.step, lr, terms))
        if len(self.waiting) >= self.every:
            self.look()

    def look(self) -> None:
        """Add up the waiting numbers.

        Raises:
            Refusal: RCP0811: a loss is not finite.
        """
        for loss, score, images, step, lr, terms in self.waiting:
            self.last = float(loss)
            if not math.isfinite(self.last):
                raise exploded(self.last, step + 1, lr, self.losses, terms, self.before)
            self.before = terms
            self.state.loss += self.last * images
            self.state.score += score.item() if score is not None else 0
            self.state.seen += images
            if self.curve is not None:
                self.curve.add(step + 1, lr, self.last, terms)
        self.waiting.clear()

    def close(self, lr: float, per_epoch: int) -> None:
        """Finish an epoch: add one row of history."""
        self.look()
        state = self.state
        score = {self.name: state.score / state.seen} if self.name else {}
        row = {"loss": state.loss / state.seen, **score, "lr": lr}
        state.history.append({"epoch": math.ceil(state.step / per_epoch), **row})
        state.loss, state.score, state.seen = 0.0, 0, 0

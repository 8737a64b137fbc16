"""The history of a training: loss and accuracy per epoch, and the record at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.training.checkpoint import State
from recipelang.units import counted


@dataclass(frozen=True)
class FitRecord:
    """What a training did.

    Attributes:
        steps, images: optimizer steps and images seen.
        epochs: passes over the training data, possibly fractional.
        precision: `float32` or `bfloat16`, for matrix products and convolutions.
        resumed_at: the step at which a checkpoint was resumed, 0 without one.
        history: per epoch: `epoch` (from 1), `loss`, `accuracy` (both means over the augmented
            images), `lr` of its last step.
    """

    steps: int
    images: int
    epochs: float
    precision: str
    resumed_at: int
    history: tuple[dict[str, float], ...]

    @property
    def summary(self) -> str:
        """One phrase for the report."""
        end = f", training loss {self.history[-1]['loss']:.3g}" if self.history else ""
        return f"{self.epochs:g} epoch{'s' * (self.epochs != 1)}, {counted(self.steps, 'step')}{end}"


class Tally:
    """Loss and accuracy of the epoch so far; reads the numbers only every few steps, since that makes a GPU wait."""

    def __init__(self, state: State, every: int) -> None:
        self.state, self.every, self.last = state, every, math.nan
        self.waiting: list[tuple[Tensor, Tensor, int, int, float]] = []

    def add(self, loss: Tensor, correct: Tensor, images: int, lr: float) -> None:
        """Add the numbers of one step."""
        self.waiting.append((loss, correct, images, self.state.step, lr))
        if len(self.waiting) >= self.every:
            self.look()

    def look(self) -> None:
        """Add up the waiting numbers.

        Raises:
            Refusal: RCP0811: a loss is not finite.
        """
        for loss, correct, images, step, lr in self.waiting:
            self.last = float(loss)
            if not math.isfinite(self.last):
                raise Refusal(
                    "RCP0811",
                    f"the loss became {self.last} at step {step + 1}, with the learning rate {lr:g}",
                    f"write a lower learning rate, as in `lr={lr / 10:.2g}`, or warm it up: "
                    f"`lr=cosine({lr:.2g}, warmup=1 epochs)`",
                )
            self.state.loss += self.last * images
            self.state.correct += int(correct)
            self.state.seen += images
        self.waiting.clear()

    def close(self, lr: float, per_epoch: int) -> None:
        """Finish an epoch: add one row of history."""
        self.look()
        state = self.state
        row = {"loss": state.loss / state.seen, "accuracy": state.correct / state.seen, "lr": lr}
        state.history.append({"epoch": math.ceil(state.step / per_epoch), **row})
        state.loss, state.correct, state.seen = 0.0, 0, 0

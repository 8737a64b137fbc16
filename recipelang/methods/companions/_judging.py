"""What companions share that follow how a training does on validation samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.kinds import Companion, Moment
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import nn

SCORE, LOSS = "score", "loss"
BY = "What is compared: the task's own score (accuracy), or its loss."


class Judging(Companion):
    """A companion whose state knows the best validation so far: its value, its epoch, and how many epochs it is ago."""

    judges: ClassVar[bool] = True

    by: str

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """Nothing seen yet."""
        state = torch.nn.Module()
        state.register_buffer("value", torch.tensor(torch.nan, dtype=torch.float64))
        state.register_buffer("epoch", torch.zeros((), dtype=torch.float64))
        state.register_buffer("seen", torch.zeros((), dtype=torch.float64))  # the last epoch
        return state

    def after_validation(
        self, network: Any, state: nn.Module | None, validation: Mapping[str, Any], epoch: float
    ) -> None:
        """Note whether this is the best so far."""
        known: Any = state
        known.seen.fill_(epoch)
        if improved(float(known.value), validation, self.by):
            known.value.fill_(value_of(validation, self.by))
            known.epoch.fill_(epoch)
            self.found(network, known)

    def found(self, network: Any, state: Any) -> None:
        """What to do with a network that is the best so far."""


def improved(best: float, validation: Mapping[str, Any], by: str) -> bool:
    """Whether a validation is better than the best so far, NaN where there was none. A loss that is not finite is not.

    Args:
        validation: as `training/validating.py` gives it.
        by: `score` or `loss`; a task without a score is judged by its loss.
    """
    value = value_of(validation, by)
    if value != value:
        return False
    return best != best or (value > best if higher(validation, by) else value < best)


def value_of(validation: Mapping[str, Any], by: str) -> float:
    """The number that is compared; NaN where the loss is not finite."""
    value = validation["score"] if by == SCORE and "score" in validation else validation["loss"]
    return float("nan") if value is None else float(value)


def higher(validation: Mapping[str, Any], by: str) -> bool:
    """Whether more is better."""
    return by == SCORE and "score" in validation and validation["better"] == "higher"

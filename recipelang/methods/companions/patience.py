"""`with patience(5)`: training ends when the validation split says that it gets no better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Finished
from recipelang.methods.companions._judging import BY, LOSS, SCORE, Judging

if TYPE_CHECKING:
    from torch import nn


@method("companion", "patience")
@dataclass(frozen=True)
class Patience(Judging):
    """Early stopping: training ends when it has not become better for some epochs.

    What: the duration that a recipe writes is then the longest, and a training takes as long as it needs.
    Formula: after every epoch e the whole validation split gives v_e; training ends after epoch e if the best v is of
        epoch e − `epochs` or before.
    Shapes: any.
    Measured: the validation split is read after every epoch, in evaluation mode, which takes a third of the time of as
        many training samples.
    Control: is trained for as many updates as the network was, without it.
    When it misleads: a learning rate that falls over the written duration has not fallen when training ends, and is
        often why nothing became better; write a constant one, or a short duration. The network ends with its last
        weights: add `best` for the best ones.
    Source: Prechelt 1998, "Early Stopping - But When?", criterion UP.
    """

    epochs: int = setting(5, type="integer", low=1, positional=True, help="How many epochs without becoming better.")
    by: str = setting(SCORE, type="word", choices=(SCORE, LOSS), help=BY)

    def stops(self, state: nn.Module | None) -> bool:
        """Whether nothing became better for that long."""
        known: Any = state
        return bool(known.seen - known.epoch >= self.epochs)

    def finish(self, network: Any, state: nn.Module | None) -> Finished:
        """The network, and when it ended."""
        known: Any = state
        if not self.stops(state):
            return Finished(network)
        best = f"epoch {float(known.epoch):g}" if known.epoch else "the start"
        return Finished(network, note=f"`patience`: ended after epoch {float(known.seen):g}, no better since {best}")

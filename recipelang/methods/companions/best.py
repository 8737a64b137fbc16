"""`with best`: the network ends with the weights that did best on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Finished, Moment
from recipelang.lazy import torch
from recipelang.methods.companions._judging import BY, LOSS, SCORE, Judging

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("companion", "best")
@dataclass(frozen=True)
class Best(Judging):
    """The best weights in the place of the last: those of the epoch that did best on the validation split.

    What: a training that gets worse at its end, since it overfits or its learning rate is large, ends with its best
        epoch.
    Formula: after every epoch e the whole validation split gives v_e; the network ends with the weights and statistics
        of the first e with the best v_e.
    Shapes: any.
    Measured: the validation split is read after every epoch, in evaluation mode, which takes a third of the time of as
        many training samples.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: the best of many epochs is partly luck, so that its validation accuracy is too good; that of the
        test split is not. With a learning rate that ends small, the last epoch is as good, and no choice.
    Source: Prechelt 1998, "Early Stopping - But When?".
    """

    ordinary: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    by: str = setting(SCORE, type="word", choices=(SCORE, LOSS), help=BY)

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """Nothing seen yet; the network as it begins."""
        state = super().begin(network, moment)
        for number, tensor in enumerate(numbers(network.module)):
            state.register_buffer(f"kept{number}", tensor.detach().clone())
        return state

    def found(self, network: Any, state: Any) -> None:
        """Keep these weights."""
        with torch.no_grad():
            for kept, tensor in zip(_kept(state), numbers(network.module), strict=True):
                kept.copy_(tensor)

    def finish(self, network: Any, state: nn.Module | None) -> Finished:
        """The network with the best weights, and from which epoch they are."""
        from recipelang.surgery.restricting import hold

        known: Any = state
        if known.value.isnan():  # every validation was refused: the record says why
            return Finished(network)
        with torch.no_grad():
            for tensor, kept in zip(numbers(network.module), _kept(known), strict=True):
                tensor.copy_(kept)
        hold(network.module, network.restrictions)
        last = "" if known.epoch < known.seen else ", the last"
        return Finished(network, note=f"`best`: the weights after epoch {float(known.epoch):g}{last}")


def numbers(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers, what is shared once."""
    return list(chain(module.parameters(), module.buffers()))


def _kept(state: Any) -> list[Tensor]:
    return [tensor for name, tensor in state.named_buffers() if name.startswith("kept")]

"""`with ema(0.999)`: the network ends with the average of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Moment
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("companion", "ema")
@dataclass(frozen=True)
class Ema(Companion):
    """An exponential moving average of the weights, which is what the network ends with.

    What: the average of the last steps is less noisy than the last step, the more so where the learning rate is not
        small at the end.
    Formula: after step t, from 0: a ← d·a + (1 − d)·w, d = min(decay, (1 + t) / (10 + t)), for weights and for the
        statistics of BatchNorm; w itself trains on as without it. At the end w = a; masks and grids hold.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: an average over more steps than the training has is still near the start: 1 / (1 − decay) steps
        should be a small part of it. The curve of the training shows w, not a. Where a training changes the shape of
        the network, the average begins again after each change.
    Source: Polyak and Juditsky 1992; the growing decay as in TensorFlow's `ExponentialMovingAverage` and in timm.
    """

    ordinary: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    decay: float = setting(0.999, type="number", low=0, high=0.999999, positional=True, help="Memory of the average.")

    def too_short(self, steps: int, per_epoch: int) -> str:
        """An average over more steps than there are."""
        reach = 1 / (1 - self.decay)
        return f"too short: `ema` averages over about {reach:,.0f} steps" if reach > steps else ""

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The average, which begins at the network."""
        state = torch.nn.Module()
        for number, tensor in enumerate(averaged(network.module)):
            state.register_buffer(f"average{number}", tensor.detach().clone())
        return state

    def after_step(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """One more step in the average."""
        if state is None:
            return
        decay = min(self.decay, (1 + moment.step) / (10 + moment.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(state.buffers()), averaged(network.module), 1 - decay)

    def finish(self, network: Any, state: nn.Module | None) -> Any:
        """The network with the average."""
        from recipelang.surgery.restricting import hold

        if state is not None:
            with torch.no_grad():
                for tensor, average in zip(averaged(network.module), state.buffers(), strict=True):
                    tensor.copy_(average)
            hold(network.module, network.restrictions)
        return network


def averaged(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers of floating-point numbers, what is shared once: trained ones and statistics."""
    return [t.detach() for t in chain(module.parameters(), module.buffers()) if t.is_floating_point()]

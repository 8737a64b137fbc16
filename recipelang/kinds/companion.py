"""What accompanies a training: gradual and dynamic sparsity, penalties, learned masks, averages of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from recipelang.kinds.seen import Moment, Seen

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Companion(Protocol):
    """Something that accompanies the one training loop, step by step.

    A companion is a frozen dataclass, like every method: it holds settings and no state. Its state is the module that
    `begin` returns: parameters in it are trained with the network by the same optimizer, buffers are its own numbers.
    Both are in the checkpoint, so that a training that is killed and continued ends with the same bytes; nothing else
    that a companion remembers survives. After `finish` the module is discarded.

    A clause or a verb names companions by putting them into `plan.Training.companions`: the loop runs what is
    there, in that order. The control of a variant trains without them, and a training's key includes them. A
    companion that a stage makes for itself (a schedule that follows a target, say) goes in the same way:
    `fit(network, data, replace(training, companions=(*training.companions, Follow(…))), …)`.

    One step of the loop:

        before_step → batch → outputs → loss + penalties → gradients → optimizer → restrictions hold → after_step

    Inherit from this class: what does not concern a companion then does nothing.
    """

    def require_network(self, network: Any) -> None:
        """Raise a Refusal where a `Network` has nothing for it to do; asked by `plan` too, before anything runs."""
        return None

    def begin(self, network: Any, moment: Moment) -> nn.Module | None:
        """Prepare, before the first step and again when a checkpoint is continued; its state is loaded afterwards.

        Args:
            network: a `Network` whose `module` is the one that trains, on its device, and whose restrictions hold.
                Hooks that are registered on it must be removed in `finish`; the returned module may keep their handles.
            moment: the first step: 0, or that of a window where the network changes its shape during the training
                (`training/windows.py`); each window begins and finishes its companions.

        Returns:
            the state, created from seeded random numbers; None where there is none. It is moved to the device.
        """
        return None

    def penalty(self, seen: Seen, state: nn.Module | None, moment: Moment) -> Tensor | None:
        """A scalar that is added to the loss, also in the history; None adds nothing."""
        return None

    def before_step(self, network: Any, state: nn.Module | None, moment: Moment) -> None:
        """Before the network computes; the network is that of `begin`."""

    def after_step(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """After the optimizer; gradients of this step are still in `parameter.grad`, restrictions of the network hold.

        What a companion masks itself, it masks here, also in the optimizer's state (`Restriction.hold`).
        """

    def finish(self, network: Any, state: nn.Module | None) -> Any:
        """The trained `Network`, on the CPU, with what stays of this companion: masks, grids, averaged weights."""
        return network

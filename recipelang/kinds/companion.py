"""What accompanies a training: gradual and dynamic sparsity, penalties, learned masks, averages of weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recipelang.kinds.data import Batch, Labels
from recipelang.kinds.figure import Figure
from recipelang.kinds.seen import Moment, Seen
from recipelang.kinds.unit import Offer, Unit

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from recipelang.plan import Selection

#: what a companion may leave in a network (`Companion.leaves`)
MASKS, PARTS = "masks", "parts"


@dataclass(frozen=True)
class Decided:
    """What a training has decided about the parts of a unit: which of them its network no longer depends on.

    The stage removes those physically, with parity, as far as the widths of the unit allow; the least number of a
    group (one channel) always stays.

    Attributes:
        unit: what they are, with its settings.
        offer: what the network offers of it, as `Unit.find` told when the training began.
        scores: group → one finite number for each part. Of those that may go, the ones with the smallest leave first.
        gone: group → one bool for each part: whether it may go. The network computes the same without it.
    """

    unit: Unit
    offer: Offer
    scores: Mapping[str, Tensor]
    gone: Mapping[str, Tensor]


@dataclass(frozen=True)
class Finished:
    """What a companion leaves, where that is more than a network.

    Attributes:
        network: on the CPU, with what stays of the companion; the parts of `decided` are still in it.
        decided: the parts that are to be removed from it.
        reached: what became of what, as figures: `21 of 22 weights are 80% sparse`.
        edits: what was masked, in words, a line for each.
        ranking: a row for each unit or group: `layer`, `score`, `removed`, and of groups of parts `gone`, `of`.
        note: one sentence for the user.
    """

    network: Any
    decided: tuple[Decided, ...] = ()
    reached: tuple[Figure, ...] = ()
    edits: tuple[str, ...] = ()
    ranking: tuple[Mapping[str, Any], ...] = ()
    note: str = ""


class Companion(Protocol):
    """Something that accompanies the one training loop, step by step.

    A companion is a frozen dataclass, like every method: it holds settings and no state. Its state is the module that
    `begin` returns: parameters in it are trained with the network by the same optimizer, buffers are its own numbers.
    Both are in the checkpoint, so that a training that is killed and continued ends with the same bytes; nothing else
    that a companion remembers survives. After `finish` the module is discarded.

    A clause or a verb names companions by putting them into `plan.Training.companions`: the loop runs what is
    there, first those that are `ordinary`, else in that order. The control of a variant trains without the others, and
    a training's key includes all of them. A
    companion that a stage makes for itself (a schedule that follows a target, say) goes in the same way:
    `fit(network, data, replace(training, companions=(*training.companions, Follow(…))), …)`.

    One step of the loop:

        before_step → batch → outputs → loss + penalties → gradients → before_update → optimizer
                              └ inside `computing`                     → restrictions hold → after_step

    `batch` may change what the network and its teachers are given. Where a step has several batches (`gathers`), all
    from `batch` to the gradients is done for each of them, at the same moment, and their gradients are averaged.

    Inherit from this class: what does not concern a companion then does nothing.

    Attributes:
        leaves: what remains of it in the network: `masks`, `parts` that are gone, or "" where the network has the same
            architecture as before and no restriction more. A training that leaves something compresses: `healthy` is
            the network before it, and the rules for removal and masks hold.
        units: the names of the units that it decides about, where it leaves parts; `prune UNIT by NAME for …` is then a
            training with it, and `of` is asked.
        excludes: the hardware restrictions (`plan.Needs.restriction`) of networks that it cannot train.
        mixes: whether it makes targets shares of several classes.
        ordinary: whether it belongs to how a network trains (clipping, averages), and not to what is done to make it
            smaller: a control trains with it too.
        settles: whether it decides which weights the network ends with; a training takes one that does.
        several: whether a training may have more than one of it, with other settings.
        precision: in which matrix products and convolutions are computed, `float32` or `bfloat16`; "" where the device
            decides. A training takes one.
        compiles: whether the network that trains is compiled (`torch.compile`); see `training/compiling.py`.
        caches: whether teachers answer about every training sample once, before the first step, and no more; `holds`
            says how large their answers may be. See `meaning/caching.py`.
        judges: whether it follows how the network does on the whole validation split after every epoch; only `train`,
            `finetune` and `distill` take one.
    """

    leaves: ClassVar[str] = ""
    units: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[tuple[str, ...]] = ()
    mixes: ClassVar[bool] = False
    ordinary: ClassVar[bool] = False
    settles: ClassVar[bool] = False
    several: ClassVar[bool] = False
    precision: ClassVar[str] = ""
    compiles: ClassVar[bool] = False
    caches: ClassVar[bool] = False
    judges: ClassVar[bool] = False

    def of(self, unit: Unit, selection: Selection) -> Companion:
        """The same companion, deciding about this unit of `prune`, in these modules; asked where it has `units`."""
        raise TypeError(f"{type(self).__name__} decides about no unit")

    def gathers(self) -> int:
        """How many batches of the data make one step; of several companions the most counts."""
        return 1

    def holds(self) -> int:
        """How many bytes the answers of teachers may have; asked where it `caches`."""
        return 0

    def rates(self, network: Any) -> Mapping[str, float]:
        """The parameters of a `Network` that train with another learning rate: name → factor of the optimizer's, at
        every step. Of several companions the last one that names a parameter counts.

        Raises:
            Refusal: it names modules that the network does not have.
        """
        return {}

    def decays(self, network: Any) -> Mapping[str, float]:
        """The parameters of a `Network` that have another weight decay: name → factor of the optimizer's. Of several
        companions the last one that names a parameter counts.

        Raises:
            Refusal: it names modules that the network does not have.
        """
        return {}

    def require_network(self, network: Any) -> None:
        """Raise a Refusal where a `Network` has nothing for it to do; asked by `plan` too, before anything runs."""
        return None

    def foresee(self, network: Any) -> tuple[str, ...]:
        """What it finds on a `Network`, in words, for the plan: which parts it may remove."""
        return ()

    def too_short(self, steps: int, per_epoch: int) -> str:
        """What to say where a training of this many steps is too short for it to do anything, for the plan; else ""."""
        return ""

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
        return None

    def batch(
        self, network: Any, batch: Batch, labels: Labels | None, state: nn.Module | None, moment: Moment
    ) -> Batch:
        """What the network and its teachers are given instead of a batch; its targets as the task's loss takes them.

        Args:
            batch: on the device; is not changed.
            labels: the classes of the data, where it has any.
        """
        return batch

    def computing(self, network: Any, state: nn.Module | None, moment: Moment) -> AbstractContextManager[None]:
        """The block in which the network computes its outputs in a step: what multiplies there, gates or masks, does so
        here, and has gradients. Outside of it the module is as it was."""
        return nullcontext()

    def before_update(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """After the gradients and before the optimizer: what it updates need not be what the network computed with."""
        return None

    def after_step(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """After the optimizer; gradients of this step are still in `parameter.grad`, restrictions of the network hold.

        What a companion masks itself, it masks here, also in the optimizer's state (`Restriction.hold`).
        """
        return None

    def after_validation(
        self, network: Any, state: nn.Module | None, validation: Mapping[str, Any], epoch: float
    ) -> None:
        """After an epoch, where it `judges`; `validation` as `report.curves.Validation` has it."""
        return None

    def stops(self, state: nn.Module | None) -> bool:
        """Whether the training ends here, before its duration; asked after every epoch, and when it is continued."""
        return False

    def finish(self, network: Any, state: nn.Module | None) -> Any:
        """The trained `Network`, on the CPU, with what stays of this companion: masks, grids, averaged weights; or a
        `Finished` with more to say."""
        return network

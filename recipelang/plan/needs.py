"""What a run asks of an operation. It asks nothing else: `meaning/` and `run/` know no verb by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from recipelang.plan.effects import MADE, Effect
from recipelang.plan.values import Condition, FewValues, Samples, Selection, Training, Zeros, later


@dataclass(frozen=True)
class Closes:
    """What may not follow a step, and why.

    Attributes:
        why: continues "`prune` cannot follow `share` (line 4): …".
        verbs: these verbs.
        roles: operations of these roles.
    """

    why: str
    verbs: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What an operation needs and what it leaves; a field that is not given is not needed.

    Attributes:
        writes: what it leaves: a network that its stage makes, or one of the other effects.
        training: its training, as a total; `rounds` share it.
        trains_on: the part of the training split that it trains on; None is all of it.
        criterion: a method of kind `criterion` that ranks for it. `unit`: what it ranks, a method of kind `unit`.
        samples: the data that the criterion looks at.
        until: its budget; `guard`: what must still hold.
        looks: on how many networks it measures its budget, about. `glances`: on how many more it looks briefly.
        searches: what tries networks before it decides, in words, which takes time that nobody knows before; "" for
            nothing.
        rounder: what rounds the weights of `selection` piece by piece, a method of kind `rounder`; None: nothing.
        selection: the modules that it works on; None where it selects none.
        states: names of the states that it reads: teachers, and where it starts. `teachers`: those that teach.
        beside: the names of the networks that it leaves beside the current one; they are states afterwards.
        spends: the state whose FLOPs for the written duration its training spends, and so lasts longer on a network
            that needs fewer for an image; "" where it lasts as long as it says.
        restriction: the hardware restriction that it imposes (`2:4`, `8 bits`); "" for none. `recovered` is the
            network before the last one that begins.
        sparse: whether weights are in a pattern that kernels know afterwards.
        across: whether weights are afterwards in a pattern across channels, which removing channels would break; None:
            as before.
        zeros: the masks that it leaves; None where those of before stay.
        few: the weights that hold few values afterwards; None where it makes none.
        grids: the parts that it gives grids in the modules of `selection`, in place of those that they have.
        repeated: whether a control repeats the step as it is, and not only its training.
        scratch: whether its training starts from new random weights, as that of a control then does.
        closes: what may not follow it, until another state becomes the current one.
    """

    writes: Effect = MADE
    training: Training | None = None
    trains_on: Samples | None = None
    rounds: int = 1
    criterion: Any = None
    unit: Any = None
    samples: Samples | None = None
    until: Condition | None = None
    guard: Condition | None = None
    looks: int = 5
    glances: int = 0
    searches: str = ""
    rounder: Any = None
    selection: Selection | None = None
    states: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    spends: str = ""
    restriction: str = ""
    sparse: bool = False
    across: bool | None = None
    zeros: Zeros | None = None
    few: FewValues | None = None
    grids: tuple[str, ...] = ()
    repeated: bool = False
    scratch: bool = False
    closes: Closes | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Everything that it judges networks by."""
        return tuple(condition for condition in (self.until, self.guard) if condition is not None)


@runtime_checkable
class Operation(Protocol):
    """What a step does: a frozen dataclass that a verb file defines. Class attributes say what kind of thing it is.

    Attributes:
        verb: the verb's name; `stages/<verb>.py` does the work.
        version: increased by hand when the stage's results change; enters the key.
        role: `setup`, `training`, `surgery`, `execution`, `structure` or `outcome`.
        before_healthy: whether the step may come before `healthy` is taken (model, data, train, …).
    """

    verb: ClassVar[str]
    version: ClassVar[int]
    role: ClassVar[str]
    before_healthy: ClassVar[bool]

    def needs(self) -> Needs:
        """What a run asks of it."""


@dataclass(frozen=True)
class Finetune:
    """Train the network after surgery.

    The verb `finetune`; and what a control repeats of the training of any other step.
    """

    verb: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    training: Training
    samples: Samples | None = None
    scratch: bool = later(False)  # from new random weights: what a control repeats of a step that trains so

    def needs(self) -> Needs:
        """Its training."""
        chosen = self.training.selected
        return Needs(
            training=self.training,
            trains_on=self.samples,
            scratch=self.scratch,
            selection=chosen,
            beside=self.training.beside(),
        )


def compresses(operation: Operation) -> bool:
    """Whether `healthy` is taken before a step at the latest: it changes the network for good, or may only follow what
    does; so does a training whose companions leave masks, or remove parts."""
    training = operation.needs().training
    return not operation.before_healthy or bool(training and training.leaves)


def alters(operation: Operation) -> bool:
    """Whether a step changes what the network is, and not only its weights."""
    training = operation.needs().training
    return operation.role == "surgery" or bool(training and training.leaves)


def repeated(operation: Operation, trained: tuple[Training, ...]) -> tuple[Operation, ...]:
    """What a control repeats of a step: its trainings with the task's own loss, or the whole step.

    Args:
        operation: of the step.
        trained: the trainings that were really made.
    """
    needs = operation.needs()
    if needs.repeated:
        return (operation,)
    return tuple(
        Finetune(training, needs.trains_on, needs.scratch and not number)
        for number, training in enumerate(trained if needs.training else ())
    )

"""Losses: what a training minimises, and what it looks at to say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recipelang.kinds.edit import Edit
    from recipelang.kinds.points import Pairing, Points
    from recipelang.kinds.seen import Moment, Seen
    from recipelang.kinds.task import Task

#: as many teachers as a statement may name, for a loss that averages over them
SEVERAL = 9


class Loss(Protocol):
    """`with NAME(…)`: one term of a training loss.

    Inherit from `OutputLoss` for a loss of outputs alone, else from this class.

    Attributes:
        teachers: (least, most) number of teachers that it compares with.
        complete: whether it trains on its own; incomplete terms get `1 * task` added to them.
        tasks: names of the tasks that it is for; () is every task.
        compares: what it looks at. `outputs`: the teachers' outputs have the student's shape, their classes are in
            the student's order. `features`: activations at the positions that `points` asks for; without `outputs`
            beside it, a teacher may be of any shape and have any classes.
        chooses: whether it asks its teacher about some samples of a batch alone, which `asks` says; no other term of a
            sum then compares with a teacher.
        peers: whether its teachers train along with the network: they are in training mode, and have gradients.
        attends: whether it looks at the self-attention of networks (`Points.attention`).
        input_gradients: whether it differentiates activations by the inputs (`torch.autograd.grad(…, seen.inputs)`):
            `inputs` of student and teachers then have gradients, and those of the student can be differentiated again.
        remembers: whether it keeps something for each training sample: `memory` is then asked in place of `parts`, and
            `student.samples` says which samples a batch holds. Data that cannot tell is refused by `plan`.

    Optional:
        for_task(task: str) -> Loss: the same loss with the defaults of a task where a recipe gives no settings. Raises
            SettingError where a setting has no meaning in it.
    """

    teachers: ClassVar[tuple[int, int]]
    complete: ClassVar[bool]
    tasks: ClassVar[tuple[str, ...]] = ()
    compares: ClassVar[tuple[str, ...]] = ("features",)
    chooses: ClassVar[bool] = False
    peers: ClassVar[bool] = False
    input_gradients: ClassVar[bool] = False
    attends: ClassVar[bool] = False
    remembers: ClassVar[bool] = False

    def wants_classes(self, task: Task) -> bool:
        """Whether a target must be one class: not where images are mixed, or a task has several labels, or none."""
        return False

    def consults(self, moment: Moment, count: int) -> tuple[int, ...]:
        """Which of its teachers it compares with in a step, by number; the others do not compute.

        Args:
            moment: the step; the answer depends on it alone, its seed included.
            count: number of teachers that it has.
        """
        return tuple(range(count))

    def asks(self, outputs: Any, targets: Any, task: Task) -> Tensor:
        """The network's outputs and the targets of a batch → bool B, which samples the teacher is asked about."""
        raise NotImplementedError

    def told(self, parts: nn.Module | None, seconds: float | None) -> str:
        """What is said of it after the training, "" for nothing.

        Args:
            parts: what `parts` returned.
            seconds: that the teachers take for a sample; None where it is not known.
        """
        return ""

    def adds(self, network: Any) -> tuple[Edit, ...]:
        """The edits that a network needs before a training with it, which stay in it; () where it has all.

        Args:
            network: the `Network` that is to train.

        Raises:
            Refusal: the network cannot be edited so; asked by `plan` too.
        """
        return ()

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The positions whose activations it looks at; asked by `plan` too, which shows them.

        Raises:
            Refusal: RCP0821 … RCP0823: nothing can be compared.
        """
        return ()

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module | None:
        """What it trains along with the network: adapters, a memory. None where there is nothing.

        They are created from seeded random numbers, trained by the same optimizer, part of the checkpoint, and
        discarded after the training.
        """
        return None

    def parts_for(self, pairings: tuple[Pairing, ...], network: Any) -> nn.Module | None:
        """As `parts`, for a loss whose parts depend on more of the network than positions, such as its classes.

        Args:
            network: the `Network` that trains.
        """
        return self.parts(pairings)

    def memory(self, pairings: tuple[Pairing, ...], samples: int) -> nn.Module:
        """What `parts` returns, with something for each of this many training samples; asked where it `remembers`."""
        raise NotImplementedError

    def leaves(self, teachers: int) -> tuple[str, ...]:
        """The names of the networks that a training with it leaves beside the one that it trains, as recipes use them.

        Args:
            teachers: how many the statement names.
        """
        return ()

    def left(
        self, parts: nn.Module | None, pairings: tuple[Pairing, ...], network: Any, teachers: tuple[Any, ...]
    ) -> Mapping[str, Any]:
        """The networks of `leaves` by name, each a `Network` on the CPU; asked once, after the training.

        Args:
            parts: what `parts` returned, on the CPU.
            pairings: what `points` returned.
            network: the trained `Network`, as the training leaves it.
            teachers: the `Network` of each teacher; those of a loss with `peers` are trained.
        """
        return {}

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            student: the network that trains. `student.features[k]` belongs to pairing k.
            teachers: those that `consults` names, of at most `self.teachers[1]`; without gradients, but for those to
                the inputs. `teachers[i].features[k]` belongs to pairing k.
            targets: of the batch; labels B for classification.
            task: its loss and what its outputs mean.
            parts: what `parts` or `memory` returned.
            moment: where the training is.
        """


class OutputLoss(Loss, Protocol):
    """A loss that compares outputs: it fills in everything but `compare`.

    A network with several outputs in training mode (auxiliary classifiers) is compared output by output.
    """

    compares: ClassVar[tuple[str, ...]] = ("outputs",)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """`compare` of the outputs."""
        return self.compare(student.outputs, targets, tuple(teacher.outputs for teacher in teachers), task)

    def compare(self, outputs: Any, targets: Any, teachers: tuple[Any, ...], task: Task) -> Tensor:
        """outputs of the student (B×C), targets (labels B), outputs of each teacher (B×C) → scalar."""

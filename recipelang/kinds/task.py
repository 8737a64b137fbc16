"""What a task must offer: it owns the shape of outputs and of targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds.data import Labels

#: the task of a recipe that names none, and of a network that was saved without one
DEFAULT_TASK = "classification"


class Task(Protocol):
    """`task NAME(…)`: what outputs and targets mean.

    The *raw* output of a network becomes an *answer* by `answer`; everything else works on answers. Answers and
    targets have the samples of the batch along axis 0.

    Attributes:
        name: as in a recipe; it is saved with a network unless it is classification.
        metrics: default columns of a report, the most important first.
        target: what a data set must offer: `class`, `labels`, `image`, …
        labelled: whether an answer has one value per class of the data along axis 1.
        gives: what a network gives for each sample, in words: "one score per class".
        form: the shape of an answer, in words: "B×C".
        stand_in: recipe text of the data and the model used where a recipe names neither.

    Optional:
        tuning, from_scratch: recipe text of the optimizer used where a recipe names none, for a trained network and for
            random weights.
        softens: whether answers are scores that a temperature divides before they become probabilities; default false.
        score_better: `higher` (default) or `lower`: which of two of what `score` gives is the better one.
        refuses(data) -> str: why the task cannot work with the settings of this data method; "" where it can.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    target: ClassVar[str]
    labelled: ClassVar[bool]
    gives: ClassVar[str]
    form: ClassVar[str]
    stand_in: ClassVar[tuple[str, str]]

    def answer(self, raw: Any, targets: Any = None, labels: Labels | None = None) -> Any:
        """What the network gave, understood, in float32.

        Args:
            raw: the output of a network, or one tensor of it.
            targets: of the same samples; None where they are not at hand.
            labels: of the data, where it has classes and they are known.

        Raises:
            Refusal: it is not an answer of this task, or not one to these targets or for these classes.
        """

    def loss(self, answer: Any, targets: Any) -> Tensor:
        """Answer and targets → scalar, mean over the batch."""

    def divergence(self, student: Any, teacher: Any) -> Tensor:
        """How far two answers are apart → scalar, mean over the batch; gradients flow into the student's."""

    def labels(self, answer: Any) -> Any:
        """The answer as targets: what a network that is trained without labels takes from its teacher."""

    def score(self, answer: Any, targets: Any) -> tuple[str, Tensor] | None:
        """Name and sum over the batch (scalar) of what the history of a training shows; None: nothing is shown."""


def serves(method: Any, task: str) -> bool:
    """Whether a method (a metric, loss, criterion, model) has this task among its `tasks`; () is every task."""
    tasks = getattr(method, "tasks", ())
    return not tasks or task in tasks

"""How a removal is divided among groups of parts: the order in which they lose parts, or exactly which parts go.

An allocation either knows an order at once (`Allocation.order`), or it has to try (`Explorer.explore`). What it may try
is its `Bench`. This is a whole allocation that tries, `recipelang/methods/allocations/gentle.py`:

    @method("allocation", "gentle")
    @dataclass(frozen=True)
    class Gentle:
        \"\"\"Of groups that lose one step each, the one whose step costs least of the score loses it first.\"\"\"

        compares: ClassVar[bool] = False
        prices: ClassVar[bool] = False
        whole: ClassVar[bool] = False     # not for layers, which are removed or stay
        decides: ClassVar[bool] = False   # its steps are an order: the budget decides how many are taken

        def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
            taken, order = [0] * len(queues), []
            while open := [q for q, queue in enumerate(queues) if taken[q] < len(queue.steps)]:

                def loss(q: int) -> float:
                    more = [count + (q == k) for k, count in enumerate(taken)]
                    return bench.remember(f"loss {more}", lambda: bench.score(more).loss)

                best = min(open, key=loss)
                order.append(queues[best].steps[taken[best]])
                taken[best] += 1
            bench.tell(note=f"{len(order)} steps were tried")
            return order

With `decides = True` it would return the steps of one `taken` for which `bench.met(taken)` holds, and `budget = True`
would have `check` ask for an `until`. What it draws comes from `bench.seed`; what takes long is `bench.remember`ed, so
that a search that is killed goes on where it was; nothing else may change what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from recipelang.kinds.unit import Group

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from recipelang.kinds.data import Batch, Dataset
    from recipelang.kinds.evidence import Ablation
    from recipelang.kinds.figure import Figure
    from recipelang.kinds.plot import Plot
    from recipelang.kinds.progress import Progress
    from recipelang.kinds.task import Task
    from recipelang.plan import Duration

#: how many steps of each queue are taken, in the order of the queues
Taken: TypeAlias = Sequence[int]


@dataclass(frozen=True)
class RemovalStep:
    """Parts of a group that are removed together.

    Attributes:
        group: its name.
        parts: their numbers.
        score: the mean of their scores; no step of a group is below the one before it.
        unit: the name of the unit whose group it is; "" for pieces of weights.
    """

    group: str
    parts: Sequence[int]
    score: float
    unit: str = ""


@dataclass(frozen=True)
class Queue:
    """The steps of one group: they are taken in this order, and each leaves a width that the group may have.

    Under `sparsify` a group is a weight and its parts are the pieces of the pattern (`scoring/dividing.py`).

    Attributes:
        group: that loses parts.
        scores: of its parts, by number; () for pieces of weights.
        steps: the least important parts first.
        unit: the name of the unit whose group it is.
    """

    group: Group
    scores: tuple[float, ...]
    steps: tuple[RemovalStep, ...]
    unit: str = ""

    def gone(self, count: int) -> int:
        """How many parts the first `count` steps remove."""
        return sum(len(step.parts) for step in self.steps[:count])


class Ledger(Protocol):
    """What each step costs and wins, while steps are taken one after another."""

    def lost(self, step: RemovalStep) -> float:
        """The importance that is lost with it now: what was removed before is not lost again."""

    def won(self, step: RemovalStep) -> float:
        """The part of the way to the budget that it wins now; 0 where it wins nothing."""

    def void(self, step: RemovalStep) -> bool:
        """Whether nothing is left of it: the layer that holds its parts was removed."""

    def take(self, step: RemovalStep) -> frozenset[tuple[str, str]]:
        """Take it; (unit, group) of which a step may now cost or win something else."""


class Allocation(Protocol):
    """`prune … with NAME(…)`: one order of the steps of all groups; a budget decides how many of them are taken.

    Attributes:
        compares: whether scores of different groups are compared. Where several units are removed, the criterion's
            scores must then add up on one scale.
        prices: whether it weighs importance against what is won of a budget, and so needs one, and scores that add up.
        whole: whether it can order groups of a single part, which are layers.

    Optional, read by `check`:
        parts: whether it divides what `prune` removes; default true.
        patterns: whether it divides the zeros of `sparsify` among weights; default false.
        budget: whether it needs an `until`; default `prices`.
        several: whether it takes several units in one statement; default true.
        units: names of the units whose groups it can divide; () or none is every unit.
    """

    compares: ClassVar[bool]
    prices: ClassVar[bool]
    whole: ClassVar[bool]

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """The steps of all queues, those of a queue in their order; steps that are void may be left out.

        Args:
            queues: in the order of the statement's units and of the network.
            ledger: for an allocation that `prices`, else None.
        """


class Explorer(Protocol):
    """An allocation that has to try: `prune … with netadapt`.

    Attributes:
        compares, prices, whole: as of `Allocation`, with its optional attributes; `prices` is false.
        decides: whether exactly the steps that it returns are taken, and the budget is then measured; else they are an
            order, and the budget decides how many are taken.

    Optional, read by `check`:
        tunes: whether it trains (`Bench.tuned`), so that the statement has an optimizer for it even without `for`.
        adopts: whether it leaves trained values (`Bench.adopt`); a criterion that corrects what stays is then refused,
            since its corrections are for the values before.
        looks: about how many networks it has timed briefly where a clock is in the budget, for `recipe plan`.
    """

    compares: ClassVar[bool]
    prices: ClassVar[bool]
    whole: ClassVar[bool]
    decides: ClassVar[bool]

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps to take, those of a queue in their order and from its first one.

        Where it decides and nothing meets the budget, those that come nearest: the statement is then refused as out of
        reach, with what they reach.

        Args:
            queues: in the order of the statement's units and of the network.
            bench: for this network and this budget.
        """


def searching(allocation: Any) -> str:
    """The name of an allocation that has to try; "" for one that knows its order, and for none."""
    return str(allocation.name) if hasattr(allocation, "explore") else ""


class Bench(Protocol):
    """What an allocation may try, with one network and one budget; a statement with rounds has one in each round.

    Networks are `surgery.network.Network`, on the CPU; none that is returned may be changed.

    Attributes:
        whole: the network before anything is removed; `adopt` gives it other values.
        data: the training split without the part that `score` uses, as a data set: `train` alone.
        task: of the recipe.
        optimizer: of `tuned`: that of the statement's training, or the one that `with` names, else the usual one for
            tuning; None for an explorer that does not say that it `tunes`.
        folder: of the step, for files that survive a kill.
        seed, device, progress, smoke: as of every step; in a smoke run a few batches are enough.
        measurements: how many clock measurements this search has asked for so far, those of tables included.
    """

    @property
    def whole(self) -> Any: ...
    @property
    def data(self) -> Dataset: ...
    @property
    def task(self) -> Task: ...
    @property
    def optimizer(self) -> Any: ...
    @property
    def folder(self) -> Path: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def smoke(self) -> bool: ...
    @property
    def measurements(self) -> int: ...

    def steps(self, taken: Taken) -> tuple[RemovalStep, ...]:
        """The steps that are taken, queue by queue: what `explore` may return."""

    def network(self, taken: Taken) -> Any:
        """The network without them, cut and not compared: for measuring and tuning."""

    def cost(self, taken: Taken) -> float:
        """The largest reading/bound over the budget's tests of costs (bound/reading where more is better; of tests that
        `or` joins, the smallest): 1 or less meets it. Computed costs are exact; those of clocks are estimated from the
        tables of the queues (`budgets.costs`), and read where all steps are taken."""

    def measured(self, taken: Taken) -> float:
        """The same with clocks that are read, briefly."""

    def table(self, queue: int) -> Sequence[float]:
        """`cost` with 0, 1, … steps of one queue and the others whole. Clocks are looked at briefly, at some widths of
        a long table, for groups that are alike (`budgets.sorts`) together; kept in the step's folder."""

    def met(self, taken: Taken) -> bool:
        """Whether the budget surely holds, all of it, measured."""

    def score(self, given: Taken | Any, *, recalibrated: bool = False) -> Ablation:
        """Loss and score on the part of the training split that is left out of `data`.

        Args:
            given: what is taken, or a network.
            recalibrated: whether BatchNorm's statistics are estimated again before, on some of `data`.
        """

    def tuned(
        self, given: Taken | Any, duration: Duration, *, companions: Sequence[Any] = (), key: str = "", seed: int = 0
    ) -> Any:
        """The network after a training on `data` with `optimizer` and the task's own loss, through the one loop.

        Args:
            given: what is taken, or a network.
            duration: in steps or epochs; in a smoke run two steps.
            companions: of the training (`kinds.Companion`).
            key: keeps a checkpoint under this name, for trainings long enough to be continued; "" keeps none: a
                training that is done again ends with the same bytes.
            seed: is added to `seed`, so that trainings differ in what they draw.
        """

    def adopt(self, tuned: Any, taken: Taken) -> None:
        """Let `whole` have the values of a network where that has them: one made from `network(taken)` by training.
        What is removed afterwards is removed from these, and so is what the statement removes at the end."""

    def batches(self) -> Iterator[Batch]:
        """The part of the training split that `score` uses, on the device."""

    def answer_loss(self, raw: Any, targets: Any) -> Tensor:
        """The task's loss of what a network gave: scalar, mean over the batch, with gradients."""

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, as JSON: kept in the step's folder as it comes, and not made again after a kill.

        Args:
            key: names everything that `make` depends on, within this search.
        """

    def tell(self, figures: Sequence[Figure] = (), note: str = "", plots: Sequence[Plot] = ()) -> None:
        """Add to what record and report say of the step: numbers, a sentence, curves."""

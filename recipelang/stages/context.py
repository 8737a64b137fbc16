"""What a stage receives and what it returns. A stage is one function: `run(operation, context) -> Outcome`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from recipelang.budgets.conditions import Value
from recipelang.budgets.conditions import judge as judged
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Figure, Plot, Progress, Task
from recipelang.plan import Condition, Reading, Training
from recipelang.surgery.network import Network


def nth_seed(seed: int, n: int) -> int:
    """The seed of training number `n` (from 0) of a branch: no two of them shuffle and augment in the same way.

    A control's trainings come in the same order, so each sees the same batches as its variant's.
    """
    return seed + 1_000_003 * n


@dataclass(frozen=True)
class Context:
    """What a stage may use. Nothing here knows the language or the store.

    Attributes:
        network: the current network; read-only, stages work on clones.
        data: the recipe's data set. `task`: the network's task.
        seed: of this step. device, threads: fixed for the run.
        folder: where unfinished work of this step is stored: checkpoints survive a kill, and the step finds them again.
        state: a network by name: `healthy`, `recovered`, `self`, a kept state or a second model.
        judge: whether a condition holds for a network; `surely` uses the far end of the interval.
        read: a reading of a network, as a point estimate.
        progress: receives the progress of the work.
        smoke: whether a few batches are enough.
        glance: a reading with its interval, of a clock from a few pairs; None where there are only sure ones.
    """

    network: Network
    data: Dataset
    task: Task
    seed: int
    device: str
    threads: int
    folder: Path
    state: Callable[[str], Network]
    judge: Callable[[Condition, Network, bool], Verdict]
    read: Callable[[Reading, Network], float]
    progress: Progress
    smoke: bool = False
    glance: Callable[[Reading, Network], Value] | None = None

    @property
    def working(self) -> dict[str, Any]:
        """What a training or a search of the step is given as it is, by the names of its arguments."""
        names = ("task", "device", "threads", "progress", "smoke")
        return {name: getattr(self, name) for name in names}

    @property
    def look(self) -> Callable[[Condition, Network], Verdict] | None:
        """Whether a condition may hold for a network, whose clocks are read briefly; None where `glance` is."""
        if (glance := self.glance) is None:
            return None

        def looked(condition: Condition, network: Network) -> Verdict:
            def value(reading: Reading) -> Value:
                if reading.subject.kind == "current":
                    return glance(reading, network)
                return Value.exactly(self.read(reading, network))

            return judged(condition, value, "possibly")

        return looked


@dataclass(frozen=True)
class Outcome:
    """What a stage returns.

    Attributes:
        network: the new current network.
        asked, reached: what the statement asks for, where that is a number or a budget, and what was reached.
        note: one sentence for the user.
        edits: what was removed or masked, as text.
        ranking: (unit, score, removed) from the most to the least important, where something was ranked.
        history: per epoch of training: epoch, loss, learning rate, validation.
        unvalidated: why the history has no validation; "" where it has, or is empty.
        training: the training done, for the control.
        plots: curves for the report.
        beside: name → a network that the step leaves beside the current one (`plan.Needs.beside`).
    """

    network: Network
    asked: tuple[Figure, ...] = ()
    reached: tuple[Figure, ...] = ()
    note: str = ""
    edits: tuple[str, ...] = ()
    ranking: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    unvalidated: str = ""
    training: tuple[Training, ...] = ()
    plots: tuple[Plot, ...] = ()
    beside: Mapping[str, Network] = field(default_factory=dict)


#: a state's network by name, as far as its architecture is known before the run; None where it is not
Known: TypeAlias = Callable[[str], Network | None]


@dataclass(frozen=True)
class Foresight:
    """What a stage says before it runs.

    Attributes:
        found: what it finds on the network, in words.
        limit: the network at the furthest that it can reach; None if there is no such limit, or cannot say.
    """

    found: tuple[str, ...] = ()
    limit: Network | None = None


class OutOfReach(Refusal):
    """A budget that cannot be met; `outcome` is the best one found, kept under `OUT/partial/`."""

    def __init__(self, code: str, message: str, help: str, outcome: Outcome) -> None:
        super().__init__(code, message, help)
        self.outcome = outcome

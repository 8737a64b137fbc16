"""What a stage is given and what it gives back. A stage is one function: `run(operation, context) -> Outcome`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Progress, Task
from recipelang.plan import Condition, Reading, Training
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds, and by what numbers.

    Attributes:
        holds: as the caller asked: surely (`until`), by the point estimate (`while`) or possibly (`expect`).
        text: the readings with their intervals: "latency 0.68 (0.67–0.69)".
        value: the reading of a single test; None for `and` / `or`.
        marginal: the bound lies inside an interval, so noise decides.
    """

    holds: bool
    text: str
    value: float | None = None
    marginal: bool = False


def nth_seed(seed: int, n: int) -> int:
    """The seed of the training number `n` (from 0) on a way: no two of them shuffle and augment alike.

    A control's trainings come in the same order, so each sees the batches that its variant's saw.
    """
    return seed + 1_000_003 * n


@dataclass(frozen=True)
class Context:
    """What a stage may use. Nothing here knows the language or the store.

    Attributes:
        network: the current network; read-only, stages work on clones.
        data: the recipe's data set. `task`: what the network is for.
        seed: of this step. device, threads: fixed for the run.
        folder: where unfinished work of this step lies: checkpoints survive a kill, and the same step finds them again.
        state: a network by its name: `healthy`, `recovered`, `self`, one that was kept, or a second model.
        judge: whether a condition holds for a network; `surely` decides by the interval's far end.
        read: a reading of a network, by its point estimate.
        progress: where to say how far the work is.
        smoke: a few batches are enough.
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


@dataclass(frozen=True)
class Outcome:
    """What a stage gives back.

    Attributes:
        network: the new current network.
        asked, reached: budget and measured value, in words, for the report.
        note: one sentence worth knowing.
        edits: what was removed or masked, in words.
        ranking: (unit, score, removed) from the most to the least important, where something was ranked.
        history: per epoch of training: epoch, loss, learning rate.
        training: the training that was done, for the control.
    """

    network: Network
    asked: str = ""
    reached: str = ""
    note: str = ""
    edits: tuple[str, ...] = ()
    ranking: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    training: tuple[Training, ...] = ()


class OutOfReach(Refusal):
    """A budget that cannot be met; `outcome` is the best that was found, kept under `OUT/partial/`."""

    def __init__(self, code: str, message: str, help: str, outcome: Outcome) -> None:
        super().__init__(code, message, help)
        self.outcome = outcome

"""What a run is told to while it works: trackers of experiments, such as MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

#: how a run ended; one that was interrupted or failed may be continued by the same command
FINISHED, FAILED, INTERRUPTED = "finished", "failed", "interrupted"


class Scalar(NamedTuple):
    """One point of a curve.

    Attributes:
        name: of the curve: `train/validation loss`, `prune/seconds`.
        value: finite, in base units: seconds, bytes, joules; shares are fractions.
        step: its place on the axis: an optimizer step, an epoch, or the number of a statement; from 0.
        time: when it was seen, in seconds since 1970.
    """

    name: str
    value: float
    step: int
    time: float


@dataclass(frozen=True)
class TrackedRun:
    """A run, as a tracker is told of it when it begins.

    Attributes:
        recipe: the name of the recipe. name: of the run: that of its output folder.
        text: of the recipe.
        folder: the output folder.
        params: what was asked for: statement by statement, and the options of the run.
        tags: machine, versions, the digest of the recipe, names of states.
        token: the `Session.token` of an earlier attempt at this run that did not finish; "" where there is none.
    """

    recipe: str
    name: str
    text: str
    folder: Path
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


class Session(Protocol):
    """A run that a tracker has begun. All of it is called from one thread, which is not that of the run.

    A network is named as in reports: `healthy`, `gentle`, `control`, `gentle, seed 1`; "" is the run itself.

    Attributes:
        token: what finds the run again if it is interrupted, as `TrackedRun.token`; text of any form.
        where: where the user finds it, in words.
        unended: what it remains there if `finish` never succeeds, and how the user ends it; "" where nothing is to do.
    """

    token: str
    where: str
    unended: str

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        """Add points to curves, at most a few thousand. No point comes twice, and steps of a curve only rise."""

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """What a network is at the end: its parameters (variant, seed, sweep), its measurements, what became of it."""

    def file(self, path: Path, name: str, network: str = "") -> None:
        """Keep a file, under a path relative to the place of the run's files, which ends with the file's own name."""

    def finish(self, status: str) -> None:
        """The run has ended: `FINISHED`, `FAILED` or `INTERRUPTED`. Nothing follows.

        Asked once more, from another thread, at the end of a run in which something of the session raised an exception.
        """


class Tracker(Protocol):
    """`tracking: NAME` of a profile, `--track NAME`. A frozen dataclass whose settings say where it writes.

    Whatever an exception or a wait of it or of its session ends is tracking, never the run.

    Attributes:
        networks: whether it is given the files of the networks as well; without it, not.
    """

    @property
    def networks(self) -> bool: ...

    def require(self) -> None:
        """Refuse a machine that lacks its library, before any work.

        Raises:
            Refusal: RCP1027: a library is not installed; the help says how to install it.
        """

    def load(self) -> None:
        """Import its library; asked in the thread of the run, before `begin` is in that of the tracker.

        An import changes `sys.modules`, which others may be walking. What it raises ends tracking.
        """

    def placed(self, folder: Path) -> Any:
        """This tracker, with relative paths of its settings starting at a folder."""

    def begin(self, run: TrackedRun) -> Session:
        """Begin a run, or continue the one of `run.token` where it can be found."""

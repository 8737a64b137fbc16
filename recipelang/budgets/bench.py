"""The bench of an allocation that tries: networks without some steps, what they cost, and how well they do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from recipelang.budgets.conditions import Value
from recipelang.budgets.costs import Costs
from recipelang.budgets.held import Division
from recipelang.budgets.memory import Memory, memory_of
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal
from recipelang.images.batches import moved
from recipelang.kinds import Ablation, Batch, Dataset, Figure, Plot, Progress, Queue, Quiet, RemovalStep, Taken, Task
from recipelang.plan import Condition, Duration, Reading, Samples, Training, canonical
from recipelang.scoring.ablation import measured_on
from recipelang.surgery.edits import left
from recipelang.surgery.network import Network
from recipelang.surgery.simulated import running
from recipelang.training.batchnorm import recalibrate
from recipelang.training.loop import fit
from recipelang.training.machine import reproducible, to_device
from recipelang.units import counted

#: how many samples BatchNorm's statistics are estimated on
RECALIBRATED = 512
#: what the memory's keys of brief readings and of sure ones begin with
BRIEF, SURE = "glance ", "sure "


@dataclass(frozen=True)
class Told:
    """What a search adds to the record of its step."""

    figures: tuple[Figure, ...] = ()
    note: str = ""
    plots: tuple[Plot, ...] = ()

    def labelled(self, label: str) -> Told:
        """The same, told apart from what other searches of the step say: `round 2`."""
        return Told(
            tuple(replace(figure, what=f"{figure.what} ({label})".lstrip()) for figure in self.figures),
            f"{label}: {self.note}" if self.note else "",
            tuple(replace(plot, title=f"{plot.title} ({label})") for plot in self.plots),
        )


class Cutter(Protocol):
    """What removes steps from a network for a search: parts (`budgets.joint`), or pieces (`scoring.dividing`)."""

    @property
    def network(self) -> Network: ...

    def tried(self, steps: Sequence[RemovalStep]) -> Network:
        """The network without these."""

    def on(self, network: Network) -> Any:
        """The same, of a network with other values."""


@dataclass
class Workbench:
    """See `kinds.Bench` for what the attributes and methods guarantee.

    Attributes:
        together: removes steps; `adopt` gives its network other values.
        until: the budget of this round; None without one.
        read, judge: a reading of a network, and whether a condition holds for it.
        division: of the data.
        name: of this search within the step: its round.
        glance: a reading with its interval, of a clock from a few pairs; None where there are only sure ones.
        told: what the search has said.
    """

    queues: Sequence[Queue]
    together: Cutter
    until: Condition | None
    read: Callable[[Reading, Network], float]
    judge: Callable[[Condition, Network, bool], Verdict]
    division: Division
    task: Task
    optimizer: Any
    seed: int
    device: str
    threads: int
    folder: Path
    progress: Progress
    smoke: bool
    allocation: Any
    name: str = "1"
    glance: Callable[[Reading, Network], Value] | None = None
    told: list[Told] = field(default_factory=list)

    def __enter__(self) -> Workbench:
        self.memory  # noqa: B018 (of the network as it is now: `adopt` changes it)
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was found out, also where the search was interrupted."""
        self.progress.stop()
        self.memory.save()

    # -- the network and its steps ---------------------------------------------------------------------

    @property
    def whole(self) -> Network:
        """The network before anything is removed."""
        return self.together.network

    @property
    def data(self) -> Dataset:
        """The training split without what `score` uses."""
        return self.division.rest

    def steps(self, taken: Taken) -> tuple[RemovalStep, ...]:
        """The steps that are taken, queue by queue."""
        return tuple(step for queue, count in zip(self.queues, taken, strict=True) for step in queue.steps[:count])

    def network(self, taken: Taken) -> Network:
        """The network without them."""
        return self.together.tried(self.steps(taken)) if any(taken) else self.whole

    def adopt(self, tuned: Network, taken: Taken) -> None:
        """Let the whole network have the values of a trained one where that has them."""
        edits = self.network(taken).edits[len(self.whole.edits) :]
        adopted, values = self.whole.clone(), tuned.module.state_dict()
        with torch.no_grad():
            for name, tensor in adopted.module.state_dict().items():
                places = left(edits, name, torch.arange(tensor.numel()).reshape(tensor.shape))
                if places is not None:
                    tensor.view(-1)[places.flatten()] = values[name].flatten()
        self.together = self.together.on(adopted)

    # -- what it costs ---------------------------------------------------------------------------------

    def cost(self, taken: Taken) -> float:
        """The largest reading/bound, clocks by tables."""
        return self._costs.of(taken)

    def measured(self, taken: Taken) -> float:
        """The largest reading/bound, clocks read."""
        return self._costs.measured(taken)

    def table(self, queue: int) -> Sequence[float]:
        """The costs with 0, 1, … steps of a queue."""
        return self._costs.table(queue)

    def met(self, taken: Taken) -> bool:
        """Whether the budget surely holds."""
        assert self.until is not None, "an allocation that needs a budget says so (`budget`)"
        if self._costs.hopeless(taken):
            return False
        if self._costs.clocks:
            self.remember(f"{SURE}{list(taken)}", lambda: True)
        return self.judge(self.until, self.network(taken), True).holds

    @property
    def measurements(self) -> int:
        """How many networks were timed, each counted once."""
        return len({key[key.index("[") :] for key in self._clocked})

    @property
    def _clocked(self) -> list[str]:
        return [key for key in self.memory.known if key.startswith((BRIEF, SURE))]

    def _looked(self, reading: Reading, taken: Taken) -> Value:
        """What a clock says of a network, briefly where it can; kept, so that a search that goes on decides alike."""

        def look() -> tuple[float, float, float]:
            network = self.network(taken)
            found = self.glance(reading, network) if self.glance else Value.exactly(self.read(reading, network))
            return found.value, found.low, found.high

        name = json.dumps(canonical(reading), sort_keys=True).replace("[", "(")
        return Value.between(self.remember(f"{BRIEF}{name} {list(taken)}", look))

    def tell_clocks(self) -> None:
        """Add how often clocks were read, and how sure they were."""
        brief = [self.memory.known[key] for key in self._clocked if key.startswith(BRIEF)]
        if not brief:
            return
        sure, widths = len(self._clocked) - len(brief), [(high - low) / 2 / value for value, low, high in brief]
        note = (
            f"clocks: {counted(len(brief), 'brief measurement')}, ± {100 * median(widths):.1f} % (median, 95 %), and "
            f"{counted(sure, 'sure one', 'sure ones')}"
        )
        self.tell(note=note)

    @cached_property
    def _costs(self) -> Costs:
        assert self.until is not None, "an allocation that needs a budget says so (`budget`)"
        return Costs(self.queues, self.whole, self.network, self.until, self.read, self._looked, self.progress)

    # -- how well it does ------------------------------------------------------------------------------

    def score(self, given: Taken | Network, *, recalibrated: bool = False) -> Ablation:
        """Loss and score on the samples that are held out; a loss that is not a number is infinite."""
        network = self._given(given)
        if recalibrated:
            network = self._recalibrated(network)
        module = to_device(network.clone().module.eval(), self.device)
        with reproducible(self.seed, self.device, self.threads), torch.no_grad():
            live = running(replace(network, module=module))
            found = measured_on(live, self.batches(), self.task, self.data.labels)
        return found if math.isfinite(found.loss) else found._replace(loss=math.inf)

    def batches(self) -> Iterator[Batch]:
        """The samples that are held out, on the device."""
        yield from self._held

    @cached_property
    def _held(self) -> list[Batch]:
        return [
            Batch(moved(inputs, self.device), moved(targets, self.device))
            for inputs, targets in self.division.held.batches("train")
        ]

    def answer_loss(self, raw: Any, targets: Any) -> Tensor:
        """The task's loss of what a network gave."""
        return self.task.loss(self.task.answer(raw, targets, self.data.labels), targets)

    def tuned(
        self,
        given: Taken | Network,
        duration: Duration,
        *,
        companions: Sequence[Any] = (),
        key: str = "",
        seed: int = 0,
    ) -> Network:
        """The network after a training."""
        trained, _ = fit(
            self._given(given),
            self.data,
            Training(duration, self.optimizer, companions=tuple(companions)),
            task=self.task,
            seed=self.seed + seed,
            device=self.device,
            threads=self.threads,
            checkpoint=self.folder / f"search-{self.name}-{key}" if key else None,
            progress=self.progress if key else Quiet(),
            smoke=self.smoke,
        )
        return trained

    def _given(self, given: Taken | Network) -> Network:
        return given if isinstance(given, Network) else self.network(given)

    def _recalibrated(self, network: Network) -> Network:
        """With BatchNorm's statistics of the samples that are trained by; as it is where it has none."""
        how = {"seed": self.seed, "progress": Quiet(), "device": self.device, "smoke": self.smoke}
        try:
            with reproducible(self.seed, self.device, self.threads):
                return recalibrate(network, self.data, Samples("train", RECALIBRATED), **how)  # type: ignore[arg-type]
        except Refusal as refusal:
            if refusal.code != "RCP0813":
                raise
            return network

    # -- what stays of it ------------------------------------------------------------------------------

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, as JSON, kept in the step's folder."""
        return self.memory.of(key, make)

    def tell(self, figures: Sequence[Figure] = (), note: str = "", plots: Sequence[Plot] = ()) -> None:
        """Add to what the record says of the step."""
        self.told.append(Told(tuple(figures), note, tuple(plots)))

    @cached_property
    def memory(self) -> Memory:
        """What the search has found out so far."""
        own = {
            "allocation": canonical(self.allocation),
            "queues": [
                [queue.unit, queue.group.name, [str(step.parts) for step in queue.steps]] for queue in self.queues
            ],
            "optimizer": canonical(self.optimizer),
        }
        return memory_of(self, f"search-{self.name}.json", own)

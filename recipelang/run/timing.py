"""How long work takes on this machine: measured by doing a little of it and remembered, else guessed.

    training      a few steps of the real loop, on the recipe's own data
    a criterion   from a forward pass: a guess
    rounding      a few steps of the rounder on three pieces, times steps and pieces (`run.timing_rounders`)
    a clock       a short measurement of the two networks, alternately, as in a full one

Training and clocks are remembered (`run.remembered`), by the networks' structure and everything else that determines
them, so that only the first plan of a recipe spends time on it, a few seconds at most.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.kinds import Compensator, Dataset, Measurement, Progress, Quiet, Solver, Task, voters
from recipelang.meaning import schedules
from recipelang.measuring.clock import check_device
from recipelang.plan import Duration, Needs, Operation, Training, canonical, tests_of
from recipelang.run.options import Options
from recipelang.run.remembered import Remembered, positive
from recipelang.run.states import architecture
from recipelang.run.tasks import deciding
from recipelang.run.timing_rounders import rounding_seconds
from recipelang.runtimes.layers import plain
from recipelang.stages.context import Known
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of
from recipelang.surgery.raised import raised_by
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example_input
from recipelang.training.loop import fit
from recipelang.training.machine import choose_precision
from recipelang.training.positions import compares_outputs
from recipelang.training.spending import settled
from recipelang.training.teachers import Teacher, all_translated
from recipelang.training.windows import steps_of_epoch

LATENCY_SECONDS = 6.0  # one interleaved measurement of a small network; at most 30 s
GLANCE_SECONDS = 1.0  # a brief one
STEP_SECONDS = 1.0  # a training step that takes longer is not tried
CALL_SECONDS = 0.3  # a network that takes longer for one image is not timed
TRAINING, CLOCK = "a training step", "the emptied network"
TRAINED = 3  # forward passes that a step of training takes as long as, where nothing was measured
STEPS = 6  # tried at most; the first one warms up


@dataclass(frozen=True)
class Estimate:
    """How long a step takes.

    Attributes:
        seconds: of the whole step.
        guess: whether any of it was not measured.
    """

    seconds: float
    guess: bool


@dataclass
class Times:
    """Times of this machine, for one plan.

    Attributes:
        options: device, threads, `smoke`.
        progress: where to say that something is being timed.
        task: of the recipe.
    """

    options: Options
    progress: Progress = field(default_factory=Quiet)
    task: Task = field(default_factory=task_named)
    _per_image: dict[str, float] = field(default_factory=dict)
    _remembered: Remembered = field(init=False)

    def __post_init__(self) -> None:
        self._remembered = Remembered(self.progress)

    def of(
        self, operation: Operation, network: Network, data: Dataset | None, known: Known = lambda _: None
    ) -> Estimate | None:
        """How long a step takes on a network; None if nothing is known. `known` gives its teachers."""
        if data is None:
            return None
        if self.options.smoke:
            return Estimate(1.0, True)
        with contextlib.suppress(Refusal), raised_by(network, operation.verb):  # what fails here, the run will report
            needs = operation.needs()
            needs = settled(needs, network, known(needs.spends) if needs.spends else None)
            teachers = tuple(Teacher(name, known(name) or network) for name in needs.teachers)
            return self._of(needs, network, data, teachers)
        return None

    def _of(self, needs: Needs, network: Network, data: Dataset, teachers: tuple[Teacher, ...]) -> Estimate:
        known = Estimate(0.0, False)
        if needs.training is not None:
            known = self._training(needs.training, teachers, network, data)
        images = 0.0
        if needs.criterion is not None:
            there = data.size("train")
            samples = (needs.samples.count if needs.samples else None) or there
            parts = _parts(needs, network) if any(each.unit == "part" for each in voters(needs.criterion)) else 0
            images = images_seen(needs.criterion, min(samples, there), network, data, parts)
            if needs.training is not None and needs.training.course is not None:
                per_epoch = max(1, steps_of_epoch(data, needs.training))
                images *= 1 + len(schedules.moments(needs.training.course, needs.training.duration, per_epoch))
        clocks = [test.reading.metric for test in tests_of(needs.until) if test.reading.metric.source == "clock"]
        timed = needs.looks * sum(getattr(clock, "seconds", LATENCY_SECONDS) for clock in clocks)
        timed += needs.glances * GLANCE_SECONDS * len(clocks)
        if needs.grids and needs.samples is not None and needs.samples.source is None:
            there = data.size(needs.samples.split)
            images += 2 * min(needs.samples.count or there, there)  # activations are observed, at most twice
        rounding = 0.0
        if needs.rounder is not None:
            how = self.task, self.options.device, self._remembered, self.seconds_per_image
            with _threads(self.options.threads):
                rounding = rounding_seconds(needs, network, data, *how)
        more = rounding + (images * self.seconds_per_image(network) if images else 0.0) + timed
        return Estimate(known.seconds + more, known.guess or more > 0 or bool(needs.searches))

    # training -----------------------------------------------------------------------------------

    def _training(self, training: Training, teachers: tuple[Teacher, ...], network: Network, data: Dataset) -> Estimate:
        """Seconds of all steps, from a few of them, or from three forward passes for each if that takes too long."""
        steps = training.duration.steps(max(1, steps_of_epoch(data, training)))
        images = steps * training.batches * data.batch
        measured = self._step(training, network, data, teachers)
        if measured is not None and not training.caching:
            return Estimate(steps * measured, False)
        asked = sum(self.seconds_per_image(teacher.network) for teacher in teachers)
        if training.caching:  # steps are measured with their teachers, which then answer once about each image
            own = images * self.seconds_per_image(network)
            left = own * TRAINED if measured is None else max(own, steps * measured - images * asked)
            return Estimate(left + min(images, data.size("train")) * asked, True)
        peers = any(getattr(term.loss, "peers", False) for term in training.losses)
        return Estimate(images * (TRAINED * self.seconds_per_image(network) + asked * (TRAINED if peers else 1)), True)

    def _step(self, training: Training, network: Network, data: Dataset, teachers: tuple[Teacher, ...]) -> float | None:
        """Seconds of one training step, remembered or measured; None if that would take too long or fails."""
        decides = {
            "of": TRAINING,
            "network": architecture(network),
            "restrictions": len(network.restrictions),
            "data": data.fingerprint,
            "batch": data.batch,
            "optimizer": spell(training.optimizer),
            "losses": [spell(term.loss) if term.loss else "" for term in training.losses],
            "companions": canonical(training.companions),
            "teachers": [architecture(teacher.network) for teacher in teachers],
            **deciding(self.task),
            "device": self.options.device,
            "threads": self.options.threads,
            "precision": choose_precision(training.precision, self.options.device),
        }

        def measure() -> Mapping[str, Any] | None:
            guess = TRAINED * training.batches * data.batch * self.seconds_per_image(network)
            if guess > STEP_SECONDS:
                return None
            marks = _Marks(self._remembered.left(TRAINING), self.options.device)
            with contextlib.suppress(Refusal, RuntimeError, _Enough), raised_by(network, "train"):
                ready, _ = all_translated(teachers, network, outputs=compares_outputs(training))
                asking = tuple(one for one in training.companions if not one.caches)  # a pass would take too long
                brief = replace(training, duration=Duration(STEPS, "steps"), optimizer=_plain(training.optimizer))
                fit(
                    network,
                    data,
                    replace(brief, course=None, companions=asking),
                    task=self.task,
                    seed=0,
                    progress=marks,
                    teachers=ready,
                    device=self.options.device,
                    threads=self.options.threads,
                )
            return {"seconds": marks.step} if marks.step else None

        found = self._remembered.numbers(decides, measure, TRAINING)
        return positive(found.get("seconds")) if found else None

    def seconds_per_image(self, network: Network) -> float:
        """Time of a forward pass per image: the least of three, since other processes only add to it."""
        name = architecture(network)
        if name not in self._per_image:
            module, images = deployed(network), torch.zeros_like(example_input(network, 4).cpu())
            with _threads(self.options.threads), torch.no_grad():
                marks = [time.perf_counter()]
                for _ in range(3):
                    module(images)
                    marks.append(time.perf_counter())
                    if marks[-1] - marks[0] > STEP_SECONDS:
                        break
            self._per_image[name] = min(after - before for before, after in pairwise(marks)) / len(images)
        return self._per_image[name]

    # clocks -------------------------------------------------------------------------------------

    def glance(self, metric: Any, network: Network, healthy: Network) -> Measurement | None:
        """A clock's metric of a network and its ratio to healthy, measured briefly; None if only the run can tell."""
        look: Callable[..., Measurement] | None = getattr(metric, "glance", None)
        if look is None or metric.deployment.compiled or not (plain(network) and plain(healthy)):
            return None
        runtime, how = metric.runtime, metric.deployment
        if not runtime.brief:
            return None
        decides = {
            "of": spell(metric),
            "networks": [architecture(network), architecture(healthy)],
            "device": how.device,
        }

        def measure() -> Mapping[str, Any] | None:
            with contextlib.suppress(Refusal, RuntimeError), raised_by(network, "measure"):
                check_device(how.device)
                if self.seconds_per_image(healthy) * how.batch > CALL_SECONDS:
                    return None
                return asdict(look(runtime.prepare(network, how), runtime.prepare(healthy, how), network.input_shape))
            return None

        found = self._remembered.numbers(decides, measure, CLOCK)
        names = ("value", "low", "high", "ratio", "ratio_low", "ratio_high")
        numbers = {name: number for name in names if found and (number := positive(found.get(name)))}
        return Measurement(**numbers) if len(numbers) == len(names) else None  # type: ignore[arg-type]


def _plain(optimizer: Any) -> Any:
    """The optimizer at a fixed learning rate: a schedule may be longer than a few steps."""
    return replace(optimizer, lr=1e-3) if hasattr(optimizer, "lr") else optimizer


class _Enough(Exception):
    """The time for measuring has passed."""


class _Marks(Quiet):
    """A progress that notes when each step was done, and ends the training when the time has passed."""

    def __init__(self, budget: float, device: str) -> None:
        self.marks: list[float] = []
        self.until = time.perf_counter() + budget
        self.device = torch.device(device)

    def advance(self, parts: int = 1, note: str = "") -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.marks.append(time.perf_counter())
        if self.marks[-1] > self.until:
            raise _Enough

    @property
    def step(self) -> float:
        """Seconds of a step: the median of all but the first, which warms up; 0 if there are none."""
        steps = sorted(after - before for before, after in pairwise(self.marks[1:]))
        return steps[len(steps) // 2] if steps else 0.0


@contextlib.contextmanager
def _threads(count: int | None) -> Any:
    """Inside: this many threads of torch; restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parts(needs: Needs, network: Network) -> int:
    """How many parts a statement ranks."""
    size: int = needs.unit.find(network, needs.selection).size if needs.unit is not None else 0
    return size


def images_seen(criterion: Any, samples: int, network: Network, data: Dataset, parts: int = 0) -> float:
    """Forward passes of single images that a criterion costs; a gradient costs two more. What the members of a
    criterion gather, one pass gathers; `parts` may be left out, one after another."""
    images = 0.0
    alone = [each for each in voters(criterion) if isinstance(each, Solver)]
    images += len(alone) * samples * len(products_of(network)) / 2  # for each weight a pass, up to that weight
    images += samples * (1 + parts) * sum(each.unit == "part" for each in voters(criterion))
    looking = [each for each in voters(criterion) if each not in alone and "activations" in each.needs]
    if any(need.endswith("gradients") for each in voters(criterion) for need in each.needs):
        images += 3 * samples
    elif looking:
        images += samples
    if any(each.unit == "layer" for each in looking):
        images += data.size("val")
    corrects = isinstance(criterion, Compensator) and "activations" in criterion.needs
    return images + samples * corrects  # what stays is corrected in a pass of its own

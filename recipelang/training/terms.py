"""The terms of a training's loss: where each looks, what it trains along, and its value on a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipelang.contracts import refuse_broken
from recipelang.errors import Refusal
from recipelang.images.batches import count, detached
from recipelang.kinds import Loss, Moment, Pairing, Point, Seen, Task
from recipelang.plan import Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.points import Capture
from recipelang.surgery.replaced import replaced
from recipelang.surgery.restricting import gather, hold
from recipelang.surgery.unrectified import Rectified
from recipelang.training.explosion import named
from recipelang.training.heads import Head, mean_answer
from recipelang.training.positions import asks_for_gradients, compares_outputs, pairings
from recipelang.training.teachers import Teacher, untranslated


@dataclass(frozen=True)
class _Looking:
    """One term of the sum, where it looks, and what it trains along."""

    term: Term
    pairings: tuple[Pairing, ...]
    parts: nn.Module | None


@dataclass(frozen=True)
class _Step:
    """What is the same for all terms of one step."""

    images: Tensor
    taught: Sequence[Any]
    targets: Any
    moment: Moment
    found: Sequence[Mapping[Point, Tensor]]
    asked: Tensor | None
    samples: Tensor | None
    again: Callable[[], Any] | None


class Terms:
    """The sum that a training minimises, on one student and its teachers.

    Args:
        training: its loss terms; without terms, the task's own loss.
        task: of the recipe.
        student: the network that trains, on its device.
        teachers: on the same device, in the order of the recipe.
        samples: how many samples there are to train on, where a loss `remembers`.

    Raises:
        Refusal: RCP0821 … RCP0823 from a loss that finds nothing to compare, RCP0713.
    """

    def __init__(
        self, training: Training, task: Task, student: Network, teachers: Sequence[Teacher], samples: int = 0
    ) -> None:
        self.task, self.student, self.teachers = task, student, tuple(teachers)
        terms = training.losses or (Term(1.0, None),)
        found = pairings(training, student, teachers) or ((),) * len(terms)
        self._terms = tuple(
            _Looking(term, places, _parts(term.loss, places, student, samples) if term.loss else None)
            for term, places in zip(terms, found, strict=True)
        )
        self._images: Any = None  # the last batch
        self._values: list[tuple[Term, Tensor]] = []  # of the last batch
        self.compares_outputs = compares_outputs(training)
        self.differentiates = any(asks_for_gradients(term) for term in terms)
        every = [pairing for one in self._terms for pairing in one.pairings]
        unrectified = any(point.unrectified for pairing in every for point in (pairing.student, *pairing.teachers))
        self._rectified = Rectified() if unrectified else None

        def capture(module: nn.Module, points: Iterable[Point]) -> Capture:
            return Capture(module, tuple(dict.fromkeys(points)), self._rectified)

        self._captures = (
            capture(student.module, (pairing.student for pairing in every)),
            *(
                capture(untranslated(t.network.module), (p.teachers[n] for p in every if n < len(p.teachers)))
                for n, t in enumerate(self.teachers)
            ),
        )

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Name → what a loss trains along, teachers that are peers among it."""
        peers = {f"peer{n}": one.network.module for n, one in enumerate(self.teachers) if one.trains}
        return {**{f"loss{n}": one.parts for n, one in enumerate(self._terms) if one.parts is not None}, **peers}

    @property
    def learn(self) -> bool:
        """Whether teachers are given gradients: those by their inputs, or peers that train along."""
        return self.differentiates or any(teacher.trains for teacher in self.teachers)

    def gather(self) -> None:
        """Before the optimizer: what restricts the gradients of peers."""
        for one in self.teachers:
            if one.trains:
                gather(untranslated(one.network.module), one.network.restrictions)

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """After the optimizer: what restricts peers holds again."""
        for one in self.teachers:
            if one.trains:
                hold(untranslated(one.network.module), one.network.restrictions, optimizer)

    def given(self, images: Any) -> Any:
        """What student and teachers are given: leaves with gradients where a loss differentiates by the inputs."""
        return images.detach().requires_grad_() if self.differentiates else images

    def consulted(self, moment: Moment) -> Set[int]:
        """The numbers of the teachers that a term compares with in this step."""
        return {n for one in self._terms if one.term.loss for n in self._of(one, moment)}

    def _of(self, one: _Looking, moment: Moment) -> tuple[int, ...]:
        """The teachers of a term in this step."""
        loss = one.term.loss
        count = min(loss.teachers[1], len(self.teachers))
        consults = getattr(loss, "consults", None)  # a plug-in need not inherit from the Protocol
        return consults(moment, count) if consults else tuple(range(count))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what the losses look at while student and teachers compute."""
        with ExitStack() as stack:
            if self.differentiates:  # fused kernels of attention have no second derivative
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self._rectified:
                stack.enter_context(self._rectified)
            for capture in self._captures:
                if capture.points:
                    stack.enter_context(capture.watching())
            yield

    def asked(self, heads: Sequence[Head], targets: Any) -> Tensor | None:
        """Which samples of a batch the teachers are asked about, bool B; None: all of them."""
        chooser = next((one.term.loss for one in self._terms if getattr(one.term.loss, "chooses", False)), None)
        return chooser.asks(mean_answer(heads).detach(), targets, self.task) if chooser else None

    def told(self) -> tuple[str, ...]:
        """What the losses say after the training."""
        told = [one for one in self._terms if getattr(type(one.term.loss), "told", Loss.told) is not Loss.told]
        seconds = self.teachers_take() if told else None
        return tuple(text for one in told if (text := one.term.loss.told(one.parts, seconds)))

    def left(self, trained: Network) -> dict[str, Network]:
        """The networks that the losses leave beside the trained one, by name; their parts are moved to the CPU."""
        found: dict[str, Network] = {}
        for one in self._terms:
            if one.term.leaves(len(self.teachers)):
                parts = one.parts.cpu() if one.parts is not None else None
                teachers = tuple(one.trained() if one.trains else one.network for one in self.teachers)
                found |= one.term.loss.left(parts, one.pairings, trained, teachers)
        return found

    def teachers_take(self) -> float | None:
        """Seconds that the teachers take for a sample of the last batch, about; None where there was none."""
        if self._images is None:
            return None

        def look() -> float:
            start = time.perf_counter()
            for teacher in self.teachers:
                teacher.answer(self._images)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return time.perf_counter() - start

        with torch.no_grad():
            return min(look() for _ in range(3)) / count(self._images)

    def value(
        self,
        images: Tensor,
        heads: Sequence[Head],
        taught: Sequence[Any],
        targets: Any,
        moment: Moment,
        asked: Tensor | None = None,
        samples: Tensor | None = None,
        again: Callable[[], Any] | None = None,
    ) -> Tensor:
        """The sum on a batch, a scalar.

        Args:
            images: that student and teachers were given.
            heads: the outputs of the student. Losses of outputs alone see each, with its weight; others the answer.
            taught: the outputs of the teachers; None of those that are not consulted in this step.
            targets: of the batch.
            moment: where the training is.
            asked: which samples the teachers answered, bool B; None: all of them.
            samples: which training samples these are, int64 B, where a loss remembers.
            again: runs the student once more, as in this step.

        Raises:
            Refusal: RCP0815: a teacher's outputs have another shape; RCP0825: a position was skipped in this step.
        """
        consulted = self.consulted(moment)
        found = [capture.features() if not n or n - 1 in consulted else {} for n, capture in enumerate(self._captures)]
        total = heads[0].answer.new_zeros(())
        self._images, self._values = images, []
        seen = _Step(images, taught, targets, moment, found, asked, samples, again)
        for head in heads:
            for one in self._terms:
                if not one.pairings:
                    value = head.weight * self._term(one, head.answer, seen)
                    total = total + value
                    self._values.append((one.term, value.detach()))
        for one in self._terms:
            if one.pairings:
                value = self._term(one, mean_answer(heads), seen)
                total = total + value
                self._values.append((one.term, value.detach()))
        return total

    def last(self) -> dict[str, Tensor]:
        """The terms of the last batch by name, weights included, where there are several; those of one name, and those
        of several heads, are added up."""
        found: dict[str, Tensor] = {}
        for term, value in self._values if len(self._terms) > 1 else ():
            name = named(term)
            found[name] = found[name] + value if name in found else value
        return found

    def _term(self, one: _Looking, outputs: Tensor, step: _Step) -> Tensor:
        loss = one.term.loss
        if loss is None:
            return self.task.loss(outputs, step.targets)
        consulted = self._of(one, step.moment)
        if "outputs" in loss.compares:
            _require_alike(outputs, [step.taught[n] for n in consulted])
        gradients = asks_for_gradients(one.term)
        inputs = step.images if gradients else detached(step.images)
        mine = tuple(step.found[0][p.student] for p in one.pairings)
        again = partial(self._again, one, step.again) if step.again is not None and one.pairings else None
        student = Seen(inputs, outputs, mine, self.student, samples=step.samples, again=again)

        def seen(n: int) -> Seen:
            features = tuple(step.found[n + 1][p.teachers[n]] for p in one.pairings if p.teachers)
            kept = detached(features) if self.differentiates and not gradients else features
            return Seen(inputs, step.taught[n], kept, self.teachers[n].network, step.asked)

        teachers = tuple(seen(n) for n in consulted)
        value = loss(student, teachers, step.targets, self.task, one.parts, step.moment)
        if not isinstance(value, Tensor) or value.ndim:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            refuse_broken("loss", loss.name, type(loss), [f"it returns {got} instead of one number as a tensor"])
        return step.moment.value(one.term.weight) * value

    def _again(self, one: _Looking, run: Callable[[], Any], instead: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the student computes at the positions of a term, with these activations in place of its own."""
        points = [pairing.student for pairing in one.pairings]
        with replaced(self.student.module, dict(zip(points, instead, strict=True))) as found:
            run()
        return tuple(found[point] for point in points)


def _parts(loss: Loss, places: tuple[Pairing, ...], student: Network, samples: int) -> nn.Module | None:
    return loss.memory(places, samples) if loss.remembers else loss.parts_for(places, student)


def _require_alike(outputs: Tensor, taught: Sequence[Any]) -> None:
    for answer in taught:
        if answer is not None and answer.shape[1:] != outputs.shape[1:]:
            message = f"a teacher gives {answer.shape[1]} outputs, the network {outputs.shape[1]}"
            raise Refusal("RCP0815", message, "use a teacher trained on the same classes")

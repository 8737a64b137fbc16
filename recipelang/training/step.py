"""One step of the training loop: the gradients of its batches, the optimizer, and what comes around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recipelang.images.batches import chosen, copied, count, detached, moved
from recipelang.kinds import Moment, Seen
from recipelang.surgery.restricting import gather, hold
from recipelang.surgery.simulated import simulated
from recipelang.training.checkpoint import TrainingState
from recipelang.training.heads import mean_answer
from recipelang.training.job import Given, Job
from recipelang.training.machine import autocast
from recipelang.training.teachers import Teacher, untranslated
from recipelang.training.trainable import nothing_trains

#: of a step or a batch: loss (scalar), name and sum of the task's score, number of samples, terms of the loss by name
Taken = tuple[Tensor, tuple[str, Tensor] | None, int, dict[str, Tensor]]


def step(job: Job, state: TrainingState, given: Iterator[Given]) -> Taken:
    """One optimizer step on some batches: their gradients are averaged, and so is what is told of them."""
    moment = job.moment(state.step)
    job.companions.before_step(moment)
    of = job.seen(state.step + 1) - job.seen(state.step)
    taken = [_gradients(job, state, one, moment, of, first=not number) for number, one in enumerate(given)]
    job.companions.before_update(state.optimizer, moment)
    gather(state.module, job.restrictions)
    job.terms.gather()
    state.optimizer.step()
    hold(state.module, job.restrictions, state.optimizer)
    job.terms.hold(state.optimizer)
    job.learning.after_step(state.optimizer, moment)
    job.companions.after_step(state.optimizer, moment)
    return taken[0] if of == 1 else _averaged(taken)


def _averaged(taken: Sequence[Taken]) -> Taken:
    """What is told of a step: losses and terms are means over its batches, which are equally large."""
    losses, scores, images, terms = zip(*taken, strict=True)
    scored = [score for score in scores if score is not None]
    score = (scored[0][0], torch.stack([total for _, total in scored]).sum()) if scored else None
    means = {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}
    return torch.stack(losses).mean(), score, sum(images), means


def _gradients(job: Job, state: TrainingState, one: Given, moment: Moment, of: int, *, first: bool) -> Taken:
    """Add the gradients of one of `of` batches to those of the step."""
    batch, numbers = one
    images, targets = job.companions.batch(batch, job.data.labels, moment)
    images = job.terms.given(images)
    # A network may change its input images in training mode only; teachers and companions use them afterwards.
    copies = job.terms.teachers or job.companions.running or job.terms.differentiates
    given = copied(images) if copies else images
    with autocast(job.device, job.precision), job.terms.watching():
        job.heads.look(state.module, given, targets)
        instead = job.learning.instead(moment)
        with simulated(state.module, job.restrictions, instead), job.companions.computing(moment):
            outputs = job.heads.outputs(state.module, given, targets, job.run)
        asked = job.terms.asked(outputs, targets)
        consulted = job.terms.consulted(moment)
        with torch.set_grad_enabled(job.terms.learn):
            taught = [
                _taught(n, images, targets, asked, numbers, job) if n in consulted else None
                for n in range(len(job.terms.teachers))
            ]

    def again() -> None:
        computing = job.companions.computing(moment)
        with autocast(job.device, job.precision), simulated(state.module, job.restrictions, instead), computing:
            state.module(copied(detached(images)))

    loss = job.terms.value(images, outputs, taught, targets, moment, asked, moved(numbers, job.device), again)
    if job.companions.running:
        seen = Seen(detached(images), mean_answer(outputs), (), job.companions.network)
        loss = sum(job.companions.penalties(seen, moment), loss)
    loss = sum(job.learning.penalties(moment), loss)
    if not loss.requires_grad:
        raise nothing_trains("nothing that the loss depends on has gradients")
    if first:
        state.optimizer.zero_grad(set_to_none=True)
    (loss if of == 1 else loss / of).backward()
    score = job.task.score(mean_answer(outputs).detach(), targets)
    return loss.detach(), score, count(targets), job.terms.last()


def _taught(n: int, images: Any, targets: Any, asked: Tensor | None, numbers: Tensor | None, job: Job) -> Any:
    """Output of teacher `n`: that of before the first step where answers are kept."""
    if job.answers is not None and numbers is not None:
        return job.answers.of(n, numbers, job.device)
    return _answered(job.terms.teachers[n], images, targets, asked, job)


def _answered(teacher: Teacher, images: Any, targets: Any, asked: Tensor | None, job: Job) -> Any:
    """A teacher's output, as an answer of the task where a loss compares it; None where it is asked about nothing."""
    if asked is not None:
        if not asked.any():
            return None
        images, targets = chosen(images, asked), chosen(targets, asked)
    if teacher.trains:  # what it returns in training mode may be several answers, as that of the network itself
        with simulated(untranslated(teacher.network.module), teacher.network.restrictions):
            return mean_answer(job.peer_heads[teacher.name].outputs(teacher.network.module, copied(images), targets))
    raw = teacher.answer(images)
    raw = detached(raw) if job.terms.differentiates else raw
    return job.task.answer(raw, targets, job.data.labels) if job.terms.compares_outputs else raw

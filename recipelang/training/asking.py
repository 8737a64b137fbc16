"""The pass in which teachers answer about every training sample before the first step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from recipelang.errors import Refusal
from recipelang.images.batches import count, moved
from recipelang.kinds import Dataset, Progress
from recipelang.meaning.caching import why_not
from recipelang.plan import Training
from recipelang.surgery.chance import random_numbers
from recipelang.training.answers import Answers, Writing, found, require_room
from recipelang.training.job import Job
from recipelang.training.machine import autocast
from recipelang.training.numbering import of_batches, require_as_many


def require_cacheable(training: Training, data: Dataset, samples: int | None = None, teachers: int = 1) -> None:
    """Refuse to keep answers about samples that are others in each epoch.

    Args:
        samples: training samples at most.
        teachers: how many there are.

    Raises:
        Refusal: RCP1523; RCP1524: the answers are larger than the recipe allows.
    """
    if training.caching is None:
        return
    if why := why_not(training):
        raise Refusal("RCP1523", why, "leave `cached` out")
    augments = getattr(data, "augments", None)
    if augments is not False:
        what = "augments its samples" if augments else "does not say whether it augments its samples"
        still = getattr(data, "unaugmented", f"write `data {data.name}(augment=none)`")
        raise Refusal(
            "RCP1523",
            f"`cached` keeps one answer about each training sample, and the data `{data.name}` {what}",
            f"{still}, or leave `cached` out" if augments else "leave `cached` out",
        )
    if data.labels is not None:
        size = min(samples or data.size("train"), data.size("train"))
        require_room(4 * teachers * size * len(data.labels.names), training.caching.holds())


@contextmanager
def answered(job: Job, identity: str, checkpoint: Path | None, progress: Progress) -> Iterator[Answers | None]:
    """The answers of a job's teachers, where its training keeps them; found again beside a checkpoint, else asked.

    Args:
        identity: of the training.
        checkpoint: of the training; without one, answers are in a temporary folder.

    Raises:
        Refusal: RCP1524: there is no room for them.
    """
    if job.training.caching is None or job.members is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as aside:
        folder = checkpoint.with_name(f"{checkpoint.name}-answers") if checkpoint else Path(aside) / "answers"
        if (answers := found(folder, identity)) is None:
            _ask(job, folder, identity, progress)
            answers = found(folder, identity)
        assert answers is not None
        yield answers


def _ask(job: Job, folder: Path, identity: str, progress: Progress) -> None:
    """One pass over the training samples, in order and without augmentation."""
    assert job.members is not None and job.training.caching is not None
    writing = Writing(folder, len(job.members), job.training.caching.holds())
    given = job.data.batches("train", batch=job.batch, samples=job.samples, seed=job.seed)
    order = of_batches(job.data, job.samples, None, job.seed, job.batch, 0, job.members)
    progress.start("teachers", -(-len(job.members) // job.batch))
    seconds = 0.0
    try:
        with torch.no_grad(), random_numbers(device=torch.device(job.device)):
            for (inputs, targets), numbers in zip(given, order, strict=True):
                require_as_many(job.data, numbers, count(inputs))
                begun = time.perf_counter()
                images = moved(inputs, job.device, channels_last=job.channels_last)
                places = moved(targets, job.device)
                with autocast(job.device, job.precision):
                    raw = [teacher.answer(images) for teacher in job.terms.teachers]
                    answers = [job.task.answer(one, places, job.data.labels) for one in raw]
                writing.put(numbers, answers)
                seconds += time.perf_counter() - begun
                progress.advance()
        writing.done(identity, seconds)
    finally:
        progress.stop()

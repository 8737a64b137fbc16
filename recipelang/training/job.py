"""One training: what stays the same from step to step, its batches, and what its checkpoints are known by."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recipelang.images.batches import count, moved
from recipelang.kinds import Batch, Dataset, Moment, Task
from recipelang.plan import Training, canonical
from recipelang.surgery.network import Network, Restrictions, content
from recipelang.training.answers import Answers
from recipelang.training.companions import Companions
from recipelang.training.heads import Heads
from recipelang.training.numbering import of_batches, require_as_many
from recipelang.training.quantized import Learning
from recipelang.training.teachers import Teacher
from recipelang.training.terms import Terms
from recipelang.training.validating import Validating


@dataclass(frozen=True)
class Job:
    """What stays the same from step to step.

    Attributes:
        samples: training images at most. `batch`: images of a batch. `batches`: batches of an epoch.
        per_epoch: steps of an epoch.
        total, end: steps of the whole training; the step at which this part of it ends.
        still: layers whose statistics stay as they are.
        peer_heads: name of a teacher that trains along → what reads its answers.
        run: what computes in the place of the module, where the training is compiled.
        answers: of the teachers, where they answered before the first step.
    """

    data: Dataset
    training: Training
    task: Task
    restrictions: Restrictions
    seed: int
    device: str
    precision: str
    samples: int | None
    batch: int
    batches: int
    per_epoch: int
    total: int
    end: int
    channels_last: bool
    heads: Heads
    terms: Terms
    companions: Companions
    learning: Learning
    validating: Validating | None
    still: tuple[nn.Module, ...]
    members: np.ndarray | None = None  # the samples that it takes, where something is kept for each
    peer_heads: Mapping[str, Heads] = field(default_factory=dict)
    run: Callable[[Tensor], Any] | None = None
    answers: Answers | None = None

    def moment(self, step: int) -> Moment:
        return Moment(step, self.total, self.per_epoch, self.seed)

    def seen(self, step: int) -> int:
        """How many batches there are before a step: those of whole epochs, and those of the steps of its own."""
        epochs, within = divmod(step, self.per_epoch)
        return epochs * self.batches + min(within * self.training.batches, self.batches)


#: a batch on the device, and which samples it holds (int64 B, on the CPU) where something is kept for each
Given = tuple[Batch, Tensor | None]


def identity_of(job: Job, first: int, network: Network, teachers: Sequence[Teacher]) -> str:
    """Everything that determines the result: a checkpoint is continued only where all of it is the same."""
    decides = {
        "training": canonical(job.training),
        "task": canonical(job.task),
        "total": job.total,
        **({"window": [first, job.end]} if (first, job.end) != (0, job.total) else {}),
        "data": [job.data.fingerprint, job.batch, job.samples],
        "seed": job.seed,
        "machine": [torch.device(job.device).type, job.precision, torch.get_num_threads(), torch.__version__],
        "networks": [content(one) for one in (network, *(teacher.network for teacher in teachers))],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def batches(job: Job, done: int) -> Iterator[Iterator[Given]]:
    """The batches of each remaining step, epoch after epoch, on the device; each is read when it is used.

    Args:
        done: the number of steps before.
    """
    first, start = divmod(job.seen(done), job.batches)
    epochs = (_of_epoch(job, epoch, start if epoch == first else 0) for epoch in itertools.count(first))
    every = itertools.chain.from_iterable(epochs)
    for step in range(done, job.end):
        yield itertools.islice(every, job.seen(step + 1) - job.seen(step))


def _of_epoch(job: Job, epoch: int, start: int) -> Iterator[Given]:
    """The batches of an epoch from batch `start` on, with their samples where something is kept for each."""
    given = job.data.batches("train", samples=job.samples, epoch=epoch, seed=job.seed, start=start)
    order: Iterator[Tensor | None] = itertools.repeat(None)
    if job.members is not None:
        order = of_batches(job.data, job.samples, epoch, job.seed, job.batch, start, job.members)
    for (inputs, targets), numbers in zip(given, order, strict=False):
        if numbers is not None:
            require_as_many(job.data, numbers, count(inputs))
        batch = Batch(moved(inputs, job.device, channels_last=job.channels_last), moved(targets, job.device))
        yield batch, numbers

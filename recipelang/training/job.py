"""One training: what stays the same from step to step, its batches, and what its checkpoints are known by."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from recipelang.images.batches import moved
from recipelang.kinds import Batch, Dataset, Moment, Task
from recipelang.plan import Training, canonical
from recipelang.surgery.network import Network, Restrictions, content
from recipelang.training.companions import Companions
from recipelang.training.heads import Heads
from recipelang.training.quantized import Learning
from recipelang.training.teachers import Teacher
from recipelang.training.terms import Terms
from recipelang.training.validating import Validating


@dataclass(frozen=True)
class Job:
    """What stays the same from step to step."""

    data: Dataset
    training: Training
    task: Task
    restrictions: Restrictions
    seed: int
    device: str
    precision: str
    samples: int | None
    batch: int
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

    def moment(self, step: int) -> Moment:
        return Moment(step, self.total, self.per_epoch, self.seed)


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


def batches(job: Job, done: int) -> Iterator[Batch]:
    """The remaining batches, epoch after epoch, on the device."""

    def endless() -> Iterator[Batch]:
        for epoch in itertools.count(done // job.per_epoch):
            start = done % job.per_epoch if epoch == done // job.per_epoch else 0
            yield from job.data.batches("train", samples=job.samples, epoch=epoch, seed=job.seed, start=start)

    for inputs, targets in itertools.islice(endless(), job.end - done):
        yield Batch(moved(inputs, job.device, channels_last=job.channels_last), moved(targets, job.device))

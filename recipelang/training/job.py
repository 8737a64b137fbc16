"""One training: what stays the same from step to step, its batches, and what its checkpoints are known by."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recipelang.images.batches import count, moved
from recipelang.kinds import Batch, Dataset, Moment, Task
from recipelang.plan import Training, canonical
from recipelang.surgery.network import Network, Restrictions, content
from recipelang.training.companions import Companions
from recipelang.training.heads import Heads
from recipelang.training.numbering import of_batches, require_as_many
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
    members: np.ndarray | None = None  # the samples that it takes, where a loss remembers

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


def batches(job: Job, done: int) -> Iterator[tuple[Batch, Tensor | None]]:
    """The remaining batches, epoch after epoch, on the device; with their samples (int64 B) where a loss remembers."""

    def endless() -> Iterator[tuple[Batch, Tensor | None]]:
        for epoch in itertools.count(done // job.per_epoch):
            start = done % job.per_epoch if epoch == done // job.per_epoch else 0
            given = job.data.batches("train", samples=job.samples, epoch=epoch, seed=job.seed, start=start)
            if job.members is None:
                yield from ((batch, None) for batch in given)
            else:
                order = of_batches(job.data, job.samples, epoch, job.seed, job.batch, start, job.members)
                for batch, numbers in zip(given, order, strict=False):
                    yield batch, require_as_many(job.data, numbers, count(batch.inputs))

    for (inputs, targets), numbers in itertools.islice(endless(), job.end - done):
        batch = Batch(moved(inputs, job.device, channels_last=job.channels_last), moved(targets, job.device))
        yield batch, None if numbers is None else numbers.to(job.device)

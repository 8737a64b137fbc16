"""Samples that a source makes from a network, as a data set; each batch is stored once it is done."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipelang.catalogue import spell
from recipelang.kinds import Batch, Dataset, Labels, Preprocessing, Source
from recipelang.stages import _sealed
from recipelang.stages.context import Context
from recipelang.surgery.weights import digest
from recipelang.training.smoke import few
from recipelang.units import counted

FORMAT = "recipelang.made/1"


@dataclass(frozen=True)
class Made:
    """Inputs N×… with the network's own answers as targets: the same in every split.

    Attributes:
        like: the data set in whose place it stands.
        batch: samples per batch.
    """

    name: str
    like: Dataset
    inputs: Tensor
    targets: Any
    fingerprint: str
    batch: int

    @property
    def target(self) -> str:
        """What it offers: as the data set."""
        return self.like.target

    @property
    def labels(self) -> Labels | None:
        """The classes of the data set."""
        return self.like.labels

    @property
    def preprocessing(self) -> Preprocessing | None:
        """None: there are no images from which these were made."""
        return None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self.inputs.shape[1:])

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Of one target, as in the data set."""
        return self.like.target_shape

    @property
    def augments(self) -> bool:
        """What is made is the same in every epoch."""
        return False

    def size(self, split: str) -> int:
        """How many samples were made."""
        return len(self.inputs)

    def drawn(self, *, samples: int | None = None, epoch: int | None = None, seed: int = 0) -> np.ndarray:
        """All numbers in order, as `batches` has them."""
        return np.arange(min(samples or len(self.inputs), len(self.inputs)))

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[Batch]:
        """All samples in order: no two of them are of the same kind, so there is nothing to draw."""
        size, total = batch or self.batch, min(samples or len(self.inputs), len(self.inputs))
        for at in range(start * size, total, size):
            part = slice(at, min(at + size, total))
            yield Batch(self.inputs[part], self.targets[part])


def made(source: Source, context: Context) -> tuple[Made, str]:
    """The samples that a source makes from the context's network, and a sentence about them.

    A run that is killed repeats one batch at most. The network computes in float32 with the weights that it holds.

    Raises:
        Refusal: RCP1439: none can be made of this network; RCP1010: a number is NaN or infinite.
    """
    module = copy.deepcopy(context.network.module).float().to(context.device).eval()
    source.require_network(context.network)
    parts, ends = [], []
    total = few(source.samples, context.smoke) or source.samples
    # the last batch has the others' size: one image alone has no statistics
    counts = [min(source.together, total)] * -(-total // source.together)
    steps = int(getattr(source, "steps", 1))
    context.progress.start(f"making {counted(total, 'sample')}", len(counts) * steps)
    try:
        for number, count in enumerate(counts):
            path = context.folder / "made" / f"{number:04}.safetensors"
            identity = json.dumps([spell(source), number, count, context.seed, context.smoke])
            known = _sealed.read(path, FORMAT, identity)
            if known is None:
                generator = torch.Generator().manual_seed(context.seed * 1_000_003 + number)
                start = torch.randn(count, *context.network.input_shape, generator=generator)
                inputs, *far = source.make(module, start.to(context.device), context.progress, context.smoke)
                found = {"inputs": inputs.cpu().contiguous(), "far": torch.tensor(far, dtype=torch.float64)}
                _sealed.write(path, FORMAT, identity, found)
            else:
                found, _ = known
                context.progress.advance(steps)
            parts.append(found["inputs"])
            ends.append(found["far"])
    finally:
        context.progress.stop()
    inputs = torch.cat(parts)[:total]
    before, after = torch.stack(ends).mean(0).tolist()
    name = str(getattr(source, "name", "made"))
    data = Made(
        name,
        context.data,
        inputs,
        _targets(module, inputs, context, source.together),
        digest({"inputs": inputs}, of=name),
        source.together,
    )
    return data, f"`{name}` made {counted(total, 'sample')}: distance to the statistics {before:.3g} → {after:.3g}"


@torch.no_grad()
def _targets(module: Any, inputs: Tensor, context: Context, size: int) -> Any:
    """What the network itself answers, as targets."""
    found = []
    for part in inputs.split(size):
        raw = module(part.to(context.device))
        found.append(context.task.labels(context.task.answer(raw, None, context.data.labels)).cpu())
    return torch.cat(found)

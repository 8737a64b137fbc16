"""Data sets of a user's own code: every sample is checked once, then given in batches (`kinds.Dataset`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipelang.images.dataset import fingerprint, no_images
from recipelang.images.draws import AUGMENT, bits, course, fingerprint_of_part
from recipelang.images.looking import MOST_CLASSES, Fetch, IndexedSamples, died, digest_of, ids_in, look_at
from recipelang.images.samples import Refuse, read_sample, shape_of
from recipelang.images.several_labels import NONE, require_varied, strata
from recipelang.images.splits import SPLITS, divide
from recipelang.images.steady import first_that_varies
from recipelang.images.workers import at, in_processes, require_processes
from recipelang.kinds import FLOATING, Batch, Inputs, Labels, Preprocessing, Task

LONGEST_TEXT = 1_000  # characters, of the name of a class
#: by fingerprint: the training sample that is found to vary first; None where none does
VARYING: dict[str, int | None] = {}


@dataclass(frozen=True)
class OwnDataset:
    """The data of a user's code; see `kinds.Dataset` for what the attributes and methods guarantee.

    Attributes:
        sources: split → its samples.
        fetch: reads a sample.
        refuse: makes refusals in which the user's function is named.
        workers: how many processes read samples; 0 is this one. It decides nothing.
    """

    name: str
    target: str
    labels: Labels | None
    fingerprint: str
    batch: int
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...] | None
    sources: Mapping[str, IndexedSamples]
    fetch: Fetch
    refuse: Refuse
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None  # the code does it itself
    workers: int = 0
    inputs: Inputs = FLOATING

    def part(self, chosen: np.ndarray) -> OwnDataset:
        """The same with only these training samples (sorted numbers)."""
        key = fingerprint_of_part(self.fingerprint, chosen)
        return replace(self, fingerprint=key, sources={**self.sources, "train": self.sources["train"].take(chosen)})

    @property
    def augments(self) -> bool:
        """Whether a training sample may be another one in each epoch: all are read again, once in a process."""
        if self.fingerprint not in VARYING:

            def read(whole: Any, k: int, draw: int) -> bytes:
                return digest_of(*self._sample(replace(source, whole=whole), k, draw))

            source = self._split("train")
            VARYING[self.fingerprint] = first_that_varies(source, read, self.refuse, self.workers)
        return VARYING[self.fingerprint] is not None

    @property
    def unaugmented(self) -> str:
        """What to do instead where samples vary."""
        return f"give `train` samples without random transforms: sample {VARYING.get(self.fingerprint)} has some"

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""
        return len(self._split(split).indices)

    def drawn(self, *, samples: int | None = None, epoch: int | None = None, seed: int = 0) -> np.ndarray:
        """The numbers of the training samples in the order of `batches`; see `kinds.Dataset`."""
        return course(seed, self.size("train"), samples, epoch, self.batch)

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
        """Batches of inputs and targets; see `kinds.Dataset.batches`. Samples of different shapes come in different
        batches.

        Random numbers that the user's code draws for a sample depend on the seed, the epoch and the sample alone.

        Raises:
            Refusal: RCP0818 the split is empty; RCP0845 a sample is not as it was.
        """
        source = self._split(split)
        count = batch or self.batch
        chosen = course(seed, len(source.indices), samples, epoch, count)
        if epoch is not None:
            count = min(count, len(chosen))
        draws = bits((seed, AUGMENT, epoch) if epoch is not None else (0, AUGMENT), source.indices)

        def read(run: np.ndarray) -> Batch:
            some = [self._sample(source, int(k), int(draws[k])) for k in run]
            inputs = torch.stack([sample for sample, _ in some])
            if self.target == "class":
                return Batch(inputs, torch.from_numpy(source.labels[run]))
            return Batch(inputs, torch.stack([target for _, target in some]))

        cuts = range(start * count, len(chosen), count)
        runs = (run for first in cuts for run in _alike(source, chosen[first : first + count]))
        workers = min(self.workers, len(cuts) // 2)  # a process takes longer to start than a batch
        yield from in_processes(read, runs, workers, lambda sample, why: died(split, sample, why, self.refuse))

    def _split(self, split: str) -> IndexedSamples:
        source = self.sources[split]
        if not len(source.indices):
            raise no_images(self.name, split)
        return source

    def _sample(self, source: IndexedSamples, k: int, draw: int) -> tuple[Tensor, Any]:
        index = int(source.indices[k])
        at(index)
        sample, target = read_sample(self.fetch(source.whole, index, draw), index, self.target, self.refuse)
        if (tuple(sample.shape), shape_of(target)) != source.shapes[k]:
            message = f"sample {index} has another shape than when the data was opened"
            raise self.refuse(message, "give every sample the same shape each time")
        if sample.is_floating_point() == self.inputs.whole or ids_in(sample) > (self.inputs.ids or 0):
            message = f"sample {index} holds other numbers than when the data was opened, which were {self.inputs}"
            raise self.refuse(message, "give every sample numbers of the same kind each time")
        return sample, target


def open_own(
    given: Mapping[str, Any],
    *,
    code: str,
    batch: int,
    shares: tuple[float, ...],
    seed: int,
    names: tuple[str, ...] | None,
    naming: str,
    task: Task,
    fetch: Fetch,
    refuse: Refuse,
    notes: tuple[str, ...] = (),
    workers: int = 0,
) -> OwnDataset:
    """Look at every sample of a user's data sets, and divide the training samples among the splits that are missing.

    Args:
        given: split → the user's data set; `train` at least.
        code: digest of the code.
        shares: of train, val and test; a missing split is cut from train by its share.
        names: of the classes; None: as the data says, else numbers.
        naming: how the user names them, for messages.
        task: whose targets the samples must have.
        fetch: reads a sample; raises what `refuse` makes where the user's code raises.
        refuse: makes refusals in which the user's function is named.
        workers: how many processes read samples; 0 is this one. The samples are the same for any number.

    Raises:
        Refusal: RCP0845: a sample is invalid; RCP0808: too few samples to be divided; RCP0856: a worker died; as
            `refuse`.
    """
    if workers:
        require_processes()
    sources = {split: look_at(data, split, task.target, fetch, refuse, workers) for split, data in given.items()}
    named = {"class": _classes, "labels": _labels}.get(task.target)
    classes = named(sources, given, names, naming, refuse) if named else None
    missing = [split for split in SPLITS if split not in sources]
    if missing:
        sources |= _cut(sources["train"], ("train", *missing), shares, seed, classes)
    if classes is not None and task.target == "labels":
        require_varied(sources["train"].labels, classes, "the data")
    shape, goal = _shape_of_training(sources, task.target, refuse)
    inputs = _kind_of_inputs(sources, refuse)
    key = fingerprint(
        {split: list(sources[split].digests) for split in SPLITS},
        code=code,
        batch=batch,
        classes=classes,
        target=task.target,
        **inputs.json(),
    )
    return OwnDataset(
        "python",
        task.target,
        Labels(classes) if classes is not None else None,
        key,
        batch,
        shape,
        goal,
        {split: sources[split] for split in SPLITS},
        fetch,
        refuse,
        notes,
        workers=workers,
        inputs=inputs,
    )


def _classes(
    sources: Mapping[str, IndexedSamples],
    given: Mapping[str, Any],
    names: tuple[str, ...] | None,
    naming: str,
    refuse: Refuse,
) -> tuple[str, ...]:
    """The names of the classes; every label must have one."""
    own = names or _named(given["train"])
    for split, source in sources.items():
        if len(wrong := np.flatnonzero(source.labels < 0)):
            message = f"the label of sample {int(wrong[0])} of `{split}` is not one of 0 to {MOST_CLASSES - 1:,}"
            raise refuse(message, "number the classes from 0 up")
    most = max(int(source.labels.max(initial=0)) for source in sources.values())
    found = own or tuple(str(k) for k in range(most + 1))
    _require_printable(found, refuse)
    if len(found) < 2 or len(set(found)) != len(found):
        message = f"the number of different classes is {len(set(found))}: {', '.join(found[:5])}"
        raise refuse(message, "two classes at least, each with a name of its own")
    for split, source in sources.items():
        wrong = np.flatnonzero(source.labels >= len(found))
        if len(wrong):
            message = f"the label of sample {int(wrong[0])} of `{split}` is not one of 0 to {len(found) - 1}"
            raise refuse(message, f"number the classes from 0 up, or name them all: {naming}")
    return found


def _labels(
    sources: Mapping[str, IndexedSamples],
    given: Mapping[str, Any],
    names: tuple[str, ...] | None,
    naming: str,
    refuse: Refuse,
) -> tuple[str, ...]:
    """The names of the labels: one for each number of a target."""
    widths = {split: source.labels.shape[1] for split, source in sources.items() if len(source.labels)}
    width = widths["train"]
    if odd := next((split for split, other in widths.items() if other != width), None):
        message = f"the samples of `{odd}` have {widths[odd]} labels, those of `train` {width}"
        raise refuse(message, "give every sample a 0 or 1 for each label, in the same order")
    if width < 2:
        raise refuse("there is one label", "write `task classification`: with or without it are two classes, 0 and 1")
    found = names or _named(given["train"]) or tuple(str(k) for k in range(width))
    _require_printable(found, refuse)
    if len(found) != width or len(set(found)) != width:
        message = f"the number of different names is {len(set(found))}, and targets have {width} labels"
        raise refuse(message, f"name them all, in their order: {naming}")
    return found


def _require_printable(names: tuple[str, ...], refuse: Refuse) -> None:
    if odd := next((name for name in names if not name.isprintable() or not 0 < len(name) <= LONGEST_TEXT), None):
        raise refuse(f"a class has the name {odd!r:.60}", f"name classes in 1 to {LONGEST_TEXT:,} printable characters")


def _named(whole: Any) -> tuple[str, ...] | None:
    """The attribute `classes` of a data set, or of the one that it is a part of."""
    names = getattr(whole, "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    inner = getattr(whole, "dataset", None)
    return _named(inner) if inner is not None and inner is not whole else None


def _cut(
    train: IndexedSamples,
    splits: tuple[str, ...],
    shares: tuple[float, ...],
    seed: int,
    classes: tuple[str, ...] | None,
) -> dict[str, IndexedSamples]:
    """Divide the training samples among splits, class by class; equal samples stay together."""
    wanted = [shares[SPLITS.index(split)] for split in splits]
    total = sum(wanted) or 1
    labels = np.zeros(len(train.indices), np.int64) if classes is None else train.labels
    if labels.ndim == 2:
        labels = strata(labels)
    of = (*classes, NONE) if classes else ("samples",)
    parts = divide(train.digests, labels.tolist(), [w / total for w in wanted], seed, of)
    return {split: train.take(part) for split, part in zip(splits, parts, strict=True)}


def _shape_of_training(
    sources: Mapping[str, IndexedSamples], target: str, refuse: Refuse
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shape of every input of `train`, and of every target that is neither classes nor labels."""
    shapes = sources["train"].shapes
    odd = next((k for k, one in enumerate(shapes) if one != shapes[0]), None)
    if odd is not None:
        side = 0 if shapes[odd][0] != shapes[0][0] else 1
        here, there = ("×".join(map(str, shapes[k][side])) for k in (odd, 0))
        message = f"the {('input', 'target')[side]} of one sample of `train` is {here}, of another {there}"
        raise refuse(message, "resize or cut the samples, so that batches can be made of them")
    return shapes[0][0], None if target in ("class", "labels") else shapes[0][1]


def _kind_of_inputs(sources: Mapping[str, IndexedSamples], refuse: Refuse) -> Inputs:
    """What the inputs of all samples are."""
    kinds = {bool(one) for source in sources.values() for one in source.ids}
    if len(kinds) > 1:
        message = "some inputs are floating-point numbers, others whole numbers"
        raise refuse(message, "give every sample numbers of one kind: `tensor.float()`, or `tensor.long()` for ids")
    most = max(int(source.ids.max(initial=0)) for source in sources.values())
    return Inputs(most) if most else FLOATING


def _alike(source: IndexedSamples, chosen: np.ndarray) -> list[np.ndarray]:
    """The runs of equal shapes."""
    ends = [k for k in range(1, len(chosen)) if source.shapes[chosen[k]] != source.shapes[chosen[k - 1]]]
    return np.split(chosen, ends)

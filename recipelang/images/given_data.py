"""Data that a program gives, understood: torch data sets, loaders, tensors, by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from recipelang import identity
from recipelang.errors import Refusal
from recipelang.given import SHORT, Given
from recipelang.images.splits import SPLITS

HELP = (
    "give a data set, a loader, tensors `(inputs, targets)`, a list of samples `[(input, target), …]`, or "
    "`{'train': …, 'val': …, 'test': …}` of these"
)


@dataclass(frozen=True)
class GivenData:
    """The data sets of a program.

    Attributes:
        splits: split → data set.
        batch: samples per training batch, as the loader of `train` says; None where there is none.
        workers: how many processes its loader has.
    """

    splits: Mapping[str, Any]
    batch: int | None = None
    workers: int = 0


def given_data(value: Any, name: str = "") -> tuple[str, Given]:
    """Data of a program, ready to be named in a recipe: (digest of its code, what is known about it).

    Args:
        value: a data set that can be indexed, a DataLoader, a pair of tensors or arrays, a list of samples; or several
            of these as `{"train": …, "val": …, "test": …}`, `(train, test)` or `(train, val, test)`.
        name: for messages; default that of the class of the training data.

    Raises:
        Refusal: RCP0844: it is nothing of this kind, or has no length, or a loader whose samples are chosen elsewhere.
    """
    found = _splits(value)
    loaders = {split: one for split, one in found.items() if isinstance(one, DataLoader)}
    sets = {split: _data_set(one, split) for split, one in found.items()}
    train = loaders.get("train")
    given = GivenData(sets, train.batch_size if train else None, train.num_workers if train else 0)
    content = identity.of_data({split: _named(one) for split, one in sets.items()}).digest[:SHORT]
    return content, Given(name or type(sets["train"]).__name__, given, code=content)


def _named(dataset: Any) -> Any:
    """What counts of a data set beside its samples; of a part of one, the whole."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset


def _splits(value: Any) -> dict[str, Any]:
    """Split → what was given for it."""
    if isinstance(value, Mapping):
        found = {str(split): one for split, one in value.items()}
    elif isinstance(value, tuple | list) and len(value) in (2, 3) and not _pair(value) and not _samples(value):
        found = dict(zip(SPLITS if len(value) == 3 else ("train", "test"), value, strict=True))
    else:
        found = {"train": value}
    if unknown := sorted(set(found) - set(SPLITS)):
        raise _refused(f"`data` has a split `{unknown[0]}`", f"the splits are {', '.join(SPLITS)}; {HELP}")
    if "train" not in found:
        raise _refused("`data` has no split `train`", HELP)
    return found


def _data_set(value: Any, split: str) -> Any:
    """The data set of a split: what can be indexed and has a length."""
    what = "`data`" if split == "train" else f"`{split}` of `data`"
    if isinstance(value, DataLoader):
        return _of_loader(value, what)
    if _pair(value):
        inputs, targets = map(torch.as_tensor, value)
        if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
            shapes = " and ".join(str(tuple(one.shape)) for one in (inputs, targets))
            raise _refused(f"{what} has inputs and targets of shapes {shapes}", "give as many targets as inputs")
        return TensorDataset(inputs, targets)
    if _samples(value):
        return value
    plain = isinstance(value, Tensor | np.ndarray | Mapping | str | bytes | tuple | list)
    if isinstance(value, IterableDataset) or (not plain and hasattr(value, "__iter__") and not _indexable(value)):
        raise _only_iterated(what)
    if plain or not _indexable(value):
        raise _refused(f"{what} is of the class `{type(value).__name__}`, not a data set", HELP)
    return value


def _of_loader(loader: DataLoader[Any], what: str) -> Any:
    """The data set of a loader, with the samples that its sampler picks."""
    dataset: Any = loader.dataset
    sampler = loader.sampler
    if isinstance(dataset, IterableDataset) or not _indexable(dataset):
        raise _only_iterated(what)
    if type(loader.batch_sampler) not in (BatchSampler, type(None)):
        raise _own_sampler(what, loader.batch_sampler)
    if type(sampler) is SubsetRandomSampler:
        return Subset(dataset, sorted(int(k) for k in sampler.indices))
    whole = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(dataset)
    if type(sampler) is not SequentialSampler and not whole:
        raise _own_sampler(what, sampler)
    return dataset


def _pair(value: Any) -> bool:
    """Whether something is inputs and targets as tensors or arrays."""
    several = isinstance(value, tuple | list) and len(value) == 2
    return several and all(isinstance(one, Tensor | np.ndarray) for one in value)


def _samples(value: Any) -> bool:
    """Whether something is a list of samples, (input, target), which are looked at later as those of any data set.

    Two or three pairs of tensors are the splits of `(train, test)` or `(train, val, test)`.
    """
    if not isinstance(value, tuple | list) or not value or (len(value) <= 3 and all(map(_pair, value))):
        return False
    return all(isinstance(one, tuple | list) and len(one) == 2 and not _holds_sets(one) for one in value)


def _holds_sets(value: Sequence[Any]) -> bool:
    """Whether a pair is two data sets, as of splits, and no sample."""
    return any(isinstance(one, DataLoader | Dataset) for one in value)


def _indexable(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _only_iterated(what: str) -> Refusal:
    return _refused(
        f"{what} can only be iterated over: it has no length and no `__getitem__`",
        "samples are looked at, divided and shuffled by their number: give a data set with `__len__` and `__getitem__`",
    )


def _own_sampler(what: str, sampler: Any) -> Refusal:
    return _refused(
        f"{what} is a loader whose samples are chosen by a `{type(sampler).__name__}`",
        "training draws its own order: give the data set of the loader, `loader.dataset`, or a `Subset` of it",
    )


def _refused(message: str, help: str) -> Refusal:
    return Refusal("RCP0844", message, help)

"""Which samples of its data a training's batches hold, for losses that keep something for each sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from recipelang.contracts import refuse_broken
from recipelang.errors import Refusal
from recipelang.kinds import Dataset
from recipelang.plan import Training


def remembers(training: Training) -> str:
    """The name of the first loss or companion of a training that keeps something for each sample; "" where none
    does."""
    losses = (term.loss for term in training.losses)
    caching = training.caching.name if training.caching else ""
    return next((loss.name for loss in losses if getattr(loss, "remembers", False)), caching)


def require_numbers(training: Training, data: Dataset) -> None:
    """Refuse a training with a part that keeps something for each sample of data that does not number them.

    Raises:
        Refusal: RCP1500.
    """
    name = remembers(training)
    if name and not hasattr(data, "drawn"):
        raise Refusal(
            "RCP1500",
            f"`{name}` keeps something for each training sample, and the data `{data.name}` does not say which samples "
            "a batch holds",
            f"leave `{name}` out, or use data in a folder or a table; the package of the data may add `drawn`",
        )


def members(data: Dataset, samples: int | None, seed: int) -> np.ndarray:
    """The numbers of the samples that a training takes from its data, sorted (int64 N)."""
    found: np.ndarray = data.drawn(samples=samples, epoch=None, seed=seed)  # type: ignore[attr-defined]
    return np.sort(found)


def of_batches(
    data: Dataset, samples: int | None, epoch: int | None, seed: int, batch: int, start: int, taken: np.ndarray
) -> Iterator[Tensor]:
    """Of each batch of an epoch, from batch `start` on: which of `taken` it holds, int64 B."""
    order = data.drawn(samples=samples, epoch=epoch, seed=seed)  # type: ignore[attr-defined]
    places = torch.from_numpy(np.searchsorted(taken, order))
    return iter(places[start * batch :].split(batch))


def require_as_many(data: Dataset, numbers: Tensor, there: int) -> Tensor:
    """The numbers of a batch; an error in the data where it holds another number of samples.

    Raises:
        Refusal: RCP0255.
    """
    if len(numbers) != there:
        wrong = [f"`drawn` gives {len(numbers)} numbers for a batch of {there} samples"]
        refuse_broken("data", data.name, type(data), wrong)
    return numbers

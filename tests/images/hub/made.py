"""Data sets of the library `datasets`, made by it, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from recipelang.errors import Refusal

CLASSES = ("dog", "cat", "bird")  # not in the order of the alphabet
Opens = Callable[..., Any]


def refused(opens: Opens, where: str = "photos", **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        opens(where, **settings)
    assert caught.value.help and caught.value.message.isprintable()
    return caught.value


def images(count: int, seed: int = 0) -> list[Image.Image]:
    draws = np.random.default_rng(seed)
    return [Image.fromarray(draws.integers(0, 256, (20, 18, 3), dtype=np.uint8)) for _ in range(count)]


def table(count: int = 30, seed: int = 0, label: Any = None, labels: Sequence[Any] | None = None, **more: Any) -> Any:
    """A data set of images with the columns `image` and `label`, and more of them: name → (feature, values)."""
    columns = {"image": images(count, seed), "label": [k % 3 for k in range(count)] if labels is None else list(labels)}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES)) if label is None else label}
    for name, (kind, values) in more.items():
        columns[name], kinds[name] = values, kind
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def save(path: Path, form: str, **splits: Any) -> None:
    """The splits in one of the forms that are read."""
    path.mkdir()
    if form == "saved":
        datasets.DatasetDict(splits).save_to_disk(path)
    for name, rows in splits.items() if form == "parquet" else ():
        rows.to_parquet(path / f"{name}-00000-of-00001.parquet")
    for name, rows in splits.items() if form == "imagefolder" else ():
        for k, row in enumerate(rows):
            file = path / name / CLASSES[row["label"]] / f"{k:02d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            row["image"].save(file)


def whole(data: Any, split: str) -> tuple[torch.Tensor, list[str]]:
    """All inputs, and the names of all classes."""
    found = list(data.batches(split))
    names = [data.labels.names[k] for batch in found for k in batch.targets.tolist()]
    return torch.cat([batch.inputs for batch in found]), names

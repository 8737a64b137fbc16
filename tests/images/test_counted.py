"""What is read of a data set is noted, whoever reads, and the data set is as it was."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from recipelang.images.counted import Counted, Read, counted
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.images.parts import part
from recipelang.images.view import seen_by
from recipelang.kinds import Preprocessing


@pytest.fixture
def data() -> ImageDataset:
    """70 training images, 20 to validate."""
    draws = np.random.default_rng(0)
    splits = {
        split: ArrayImages(draws.integers(0, 255, (count, 8, 8, 1), np.uint8), np.arange(count) % 2)
        for split, count in {"train": 70, "val": 20, "test": 5}.items()
    }
    return ImageDataset("toy", ("a", "b"), Preprocessing((8, 8), (0.5,), (0.5,)), "f", 16, splits)


def test_batches_are_those_of_the_data_and_are_counted(data: ImageDataset) -> None:
    read = Read()
    noted = counted(data, read)
    for mine, theirs in zip(
        noted.batches("val", samples=10, seed=3), data.batches("val", samples=10, seed=3), strict=True
    ):
        assert all(a.equal(b) for a, b in zip(mine, theirs, strict=True))
    assert (read.samples, read.sizes, read.epochs) == ({"val": 10}, {"val": 20}, 0.0)


def test_an_epoch_of_training_is_one_although_its_last_batch_is_dropped(data: ImageDataset) -> None:
    read = Read()
    noted = counted(data, read)
    for epoch in range(3):
        list(noted.batches("train", epoch=epoch))
    assert read.epochs == pytest.approx(3.0) and read.samples["train"] == 3 * 64
    list(noted.batches("train", epoch=3, samples=32))
    assert read.epochs == pytest.approx(4.0) and read.samples["train"] == 3 * 64 + 32


def test_only_what_is_taken_is_counted(data: ImageDataset) -> None:
    read = Read()
    list(islice(counted(data, read).batches("train"), 2))
    assert read.samples == {"train": 32}


def test_what_is_made_from_it_counts_in_the_same_place(data: ImageDataset) -> None:
    """A part of the training split is no split of its own: passes are those over the whole."""
    read = Read()
    noted = counted(data, read)
    list(noted.batches("train"))
    list(part(noted, np.arange(30)).batches("train"))
    list(seen_by(noted, ("a", "b"), Preprocessing((8, 8), (0.1,), (0.2,))).batches("val"))
    list(seen_by(noted, ("c", "b", "a"), None).batches("val"))
    assert read.samples == {"train": 100, "val": 40} and read.sizes == {"train": 70, "val": 20}


def test_another_data_set_has_places_of_its_own(data: ImageDataset) -> None:
    read = Read()
    list(counted(data, read, "photos").batches("test"))
    assert read.samples == {"test of photos": 5}


def test_it_has_what_the_data_has_and_nothing_else(data: ImageDataset) -> None:
    noted = counted(data, Read())
    assert (noted.name, noted.batch, noted.fingerprint, noted.labels) == ("toy", 16, "f", data.labels)
    assert hasattr(noted, "prepared") == hasattr(data, "prepared") and not hasattr(noted, "weather")
    assert not hasattr(Counted.__new__(Counted), "_data")

"""Which samples a training batch holds: `drawn` of every data set against its batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.catalogue import find
from recipelang.images.access import reading
from recipelang.images.counted import Read, counted
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.images.draws import course, subset
from recipelang.images.pairs import ArrayWholes, PairDataset
from recipelang.images.parts import Picked, part
from recipelang.images.texts import TextDataset, Texts
from recipelang.images.view import seen_by
from recipelang.kinds import Inputs, Preprocessing
from recipelang.stages._made import Made

COUNT, BATCH = 21, 4
OWN = """
import torch
def build():
    return torch.utils.data.TensorDataset(torch.arange(60.0)[:, None].repeat(1, 3), torch.arange(60) % 2)
"""


def pixels(side: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, side, side, 1)).astype(np.uint8)


def images() -> ImageDataset:
    splits: Any = {split: ArrayImages(pixels(), np.arange(COUNT) % 3) for split in ("train", "val", "test")}
    return ImageDataset("toy", ("a", "b", "c"), Preprocessing((4, 4), (0.5,), (0.5,)), "f" * 64, BATCH, splits)


def texts() -> TextDataset:
    ids = np.random.default_rng(0).integers(0, 900, (COUNT, 7))
    splits = {split: Texts(ids, np.arange(COUNT) % 2) for split in ("train", "val", "test")}
    return TextDataset("words", ("a", "b"), "f" * 64, BATCH, Inputs(900), splits)


def pairs() -> PairDataset:
    splits = {split: ArrayWholes(pixels(8)) for split in ("train", "val", "test")}
    return PairDataset("pairs", Preprocessing((4, 4), (0.5,), (0.5,)), "f" * 64, BATCH, splits, 2, 8, False)


def own(tmp_path: Path) -> Any:
    (tmp_path / "data.py").write_text(OWN)
    with reading(trust=True):
        return find("data", "python")("data.py:build", batch=BATCH).open(lambda text: tmp_path / text)  # type: ignore[misc]


CHOSEN = np.array([1, 2, 5, 6, 7, 11, 14, 20])
SETS: dict[str, Any] = {
    "images": lambda _: images(),
    "part": lambda _: images().part(CHOSEN),
    "picked": lambda _: Picked(texts(), tuple(map(int, CHOSEN))),
    "texts": lambda _: texts(),
    "part of texts": lambda _: part(texts(), CHOSEN),
    "pairs": lambda _: pairs(),
    "own": own,
    "relabelled": lambda _: seen_by(images(), ("c", "a", "b"), None),
    "counted": lambda _: counted(images(), Read()),
    "small": lambda _: replace(images(), batch=50),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("samples", [None, 7])
def test_a_batch_holds_the_samples_that_are_drawn(name: str, samples: int | None, tmp_path: Path) -> None:
    data = SETS[name](tmp_path)
    every = torch.cat([inputs for inputs, _ in data.batches("train", batch=1)])
    there = len(every)
    assert there == data.size("train") and len(torch.unique(every, dim=0)) == there  # all different: told apart
    orders = set()
    for epoch in (None, 0, 1):
        order = data.drawn(samples=samples, epoch=epoch, seed=3)
        given = torch.cat([inputs for inputs, _ in data.batches("train", samples=samples, epoch=epoch, seed=3)])
        assert torch.equal(given, every[torch.from_numpy(order)])
        orders.add(tuple(order.tolist()))
    assert len(orders) == 3 or there < 2


def test_samples_that_were_made_are_in_order() -> None:
    data = Made("made", images(), torch.rand(9, 1, 4, 4), torch.arange(9), "f" * 64, BATCH)
    order = data.drawn(samples=6, epoch=2, seed=1)
    given = torch.cat([inputs for inputs, _ in data.batches("train", samples=6, epoch=2, seed=1)])
    assert torch.equal(given, data.inputs[torch.from_numpy(order)])


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 40), st.none() | st.integers(1, 50), st.integers(0, 5), st.integers(1, 50))
def test_an_epoch_takes_whole_batches_of_different_samples(
    seed: int, count: int, samples: int | None, epoch: int, batch: int
) -> None:
    there = subset(seed, count, samples)
    order = course(seed, count, samples, epoch, batch)
    size = min(batch, len(there))
    assert len(order) == len(there) // size * size == len(set(order.tolist())) and set(order) <= set(there)
    assert course(seed, count, samples, None, batch).tolist() == there.tolist()

"""Data of a program: what may be given, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import recipelang
from recipelang.errors import Refusal
from recipelang.given import giving
from recipelang.images.given_data import given_data
from recipelang.kinds import Dataset
from recipelang.methods.data.given import Given
from tests.api.program import Net, Shades

INPUTS, TARGETS = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
SAMPLES = list(zip(INPUTS, TARGETS, strict=True))


def opened(value: Any, **settings: Any) -> Dataset:
    """The data set as a run opens it."""
    content, given = given_data(value)
    with giving({content: given}):
        return Given(given.name, content, **settings).open(lambda text: None)  # type: ignore[arg-type,return-value]


def sizes(data: Dataset) -> list[int]:
    return [data.size(split) for split in ("train", "val", "test")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Shades(40), [32, 4, 4]),
        ((Shades(40), Shades(10, 100)), [36, 4, 10]),
        ((Shades(40), Shades(8, 100), Shades(10, 200)), [40, 8, 10]),
        ({"train": Shades(40), "test": DataLoader(Shades(10, 100))}, [36, 4, 10]),
        ((INPUTS, TARGETS), [32, 4, 4]),
        ((INPUTS.numpy(), TARGETS.numpy()), [32, 4, 4]),
        ({"train": (INPUTS, TARGETS), "val": TensorDataset(INPUTS[:4] + 1, TARGETS[:4])}, [35, 4, 5]),
        (DataLoader(Shades(40), batch_size=8, shuffle=True), [32, 4, 4]),
        (DataLoader(Shades(40), sampler=SubsetRandomSampler(range(20))), [16, 2, 2]),
        (Subset(Shades(40), range(20)), [16, 2, 2]),
        ([(INPUTS[k], int(TARGETS[k])) for k in range(40)], [32, 4, 4]),
        ({"train": SAMPLES[:30], "test": SAMPLES[30:]}, [27, 3, 10]),
        ((SAMPLES[:30], SAMPLES[30:]), [27, 3, 10]),
        ([[INPUTS[k].numpy(), TARGETS[k]] for k in range(40)], [32, 4, 4]),
        ([(INPUTS[:30], TARGETS[:30]), (INPUTS[30:], TARGETS[30:])], [27, 3, 10]),
    ],
    ids=range(15),
)
def test_every_form_of_data_is_opened(value: Any, expected: list[int]) -> None:
    data = opened(value)
    assert sum(sizes(data)) == sum(expected) and sizes(data)[0] >= expected[0] - 4
    batch = next(iter(data.batches("train", batch=4, epoch=0)))
    assert batch.inputs.shape == (4, 1, 8, 8) and batch.targets.dtype == torch.int64


def test_a_loader_gives_its_batch_size() -> None:
    result = recipelang.run("measure params", model=Net(), data=DataLoader(Shades(40), batch_size=8), threads=1)
    assert "batch=8" in str(result.record["variants"])


def test_equal_data_are_known_again_and_other_code_is_not() -> None:
    class Brighter(Shades):
        def __getitem__(self, k: int) -> tuple[Tensor, int]:
            image, label = super().__getitem__(k)
            return image + 0.0, label

    assert opened(Shades(40)).fingerprint == opened(Shades(40)).fingerprint
    assert len({opened(one).fingerprint for one in (Shades(40), Brighter(40), Shades(40, 7))}) == 3


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(1, 8, 8), 0


class Pairless(Shades):
    def __getitem__(self, k: int) -> Any:
        return super().__getitem__(k)[0]


class Worded(Shades):
    def __getitem__(self, k: int) -> Any:
        return super().__getitem__(k)[0], "dark"


class Raising(Shades):
    def __getitem__(self, k: int) -> Any:
        raise OSError("the disk is gone")


class Ragged(Shades):
    def __getitem__(self, k: int) -> Any:
        return torch.zeros(1, 8, 8 + k % 3), k % 2


WEIGHTED = WeightedRandomSampler([1.0] * 40, 40)
BAD = {
    "number": (5, "RCP0844"),
    "tensor": (INPUTS, "RCP0844"),
    "empty list": ([], "RCP0844"),
    "list of inputs": ([INPUTS[0], INPUTS[1], INPUTS[2]], "RCP0844"),
    "list of triples": ([(INPUTS[0], 0, 1)] * 8, "RCP0844"),
    "list of too few samples": ([(INPUTS[0], 0), (INPUTS[1], 1), (INPUTS[2], 0)], "RCP0808"),
    "list whose samples differ": ([(INPUTS[k, :, k % 2 :], k % 3 % 2) for k in range(40)], "RCP0845"),
    "list of words": ([("a", "b")] * 8, "RCP0845"),
    "unequal tensors": ((INPUTS, TARGETS[:3]), "RCP0844"),
    "split without a name": ({"training": Shades()}, "RCP0844"),
    "no training": ({"test": Shades()}, "RCP0844"),
    "stream": (Stream(), "RCP0844"),
    "loader of a stream": (DataLoader(Stream()), "RCP0844"),
    "generator": ((one for one in [1, 2]), "RCP0844"),
    "weighted loader": (DataLoader(Shades(40), sampler=WEIGHTED), "RCP0844"),
    "loader that draws twice": (DataLoader(Shades(40), sampler=RandomSampler(Shades(40), replacement=True)), "RCP0844"),
    "empty": (Shades(0), "RCP0845"),
    "one class": (Shades(1), "RCP0808"),
    "no pairs": (Pairless(), "RCP0845"),
    "words as labels": (Worded(), "RCP0845"),
    "raises": (Raising(), "RCP0845"),
    "shapes": (Ragged(), "RCP0845"),
    "infinite": ((INPUTS / 0, TARGETS), "RCP0845"),
    "negative labels": ((INPUTS, TARGETS - 1), "RCP0845"),
    "words": ("fodler", "RCP0202"),
    "array of objects": (numpy.array([None, None]), "RCP0844"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_data_is_refused(what: str) -> None:
    value, code = BAD[what]
    with pytest.raises(recipelang.RecipeError) as refused:
        recipelang.run("measure params", model=Net(), data=value, threads=1)
    assert code in [one.code for one in refused.value.diagnostics], str(refused.value)


def test_a_recipe_alone_cannot_have_it() -> None:
    with pytest.raises(Refusal, match="belongs to a program"):
        Given("Shades", "0" * 16).open(lambda text: None)  # type: ignore[arg-type,return-value]

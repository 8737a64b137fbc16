"""Extremes and bounded samples of what passes a place, against all of the numbers kept and looked at afterwards."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.scoring import streams


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 5)).eval()


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 2, 4, 4, generator=generator) for size in (7, 7, 3)]


def everything(module: nn.Module) -> dict[str, Tensor]:
    images = torch.cat(batches())
    with torch.no_grad():
        return {"0:input": images, "0": module[0](images), "1": module[:2](images), "3": module(images)}


def watch(module: nn.Module, *places: str) -> Any:
    return partial(streams.modules_watched, module, places)


def test_extremes_are_those_of_all_numbers() -> None:
    module = network()
    whole = everything(module)
    found = streams.extremes(module, watch(module, *whole), lambda what: batches())
    assert list(found) == list(whole)
    for place, values in whole.items():
        torch.testing.assert_close(found[place].low, values.min())
        torch.testing.assert_close(found[place].high, values.max())


def test_extremes_of_channels() -> None:
    module = network()
    whole = everything(module)["1"]
    found = streams.extremes(module, watch(module, "1"), lambda what: batches(), {"1": 1})["1"]
    torch.testing.assert_close(found.low, whole.amin((0, 2, 3)))
    torch.testing.assert_close(found.high, whole.amax((0, 2, 3)))


def test_a_small_place_is_sampled_whole() -> None:
    module = network()
    whole = everything(module)["3"].flatten()
    found = streams.numbers(module, watch(module, "3"), lambda what: batches(), count=1000)["3"]
    assert sorted(found.tolist()) == pytest.approx(sorted(whole.tolist()))


def test_a_large_place_is_sampled_within_bounds_from_its_own_numbers() -> None:
    module = network()
    whole = {round(value, 5) for value in everything(module)["0"].flatten().tolist()}
    found = streams.numbers(module, watch(module, "0"), lambda what: batches(), count=20, seed=3)["0"]
    assert len(found) == 20 == len(set(found.tolist()))
    assert {round(value, 5) for value in found.tolist()} <= whole


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 99))
def test_a_sample_has_no_row_twice_and_as_many_as_it_may(sizes: list[int], count: int, seed: int) -> None:
    random, sample, earlier = numpy.random.default_rng(seed), [], 0
    for size in sizes:
        fresh, stay = streams.share(random, earlier, size, count)
        sample = [*(sample[k] for k in stay), *(earlier + k for k in fresh)]
        earlier += size
    assert len(sample) == len(set(sample)) == min(earlier, count) and max(sample) < earlier


def test_every_row_is_as_likely_as_every_other() -> None:
    random, hits = numpy.random.default_rng(0), Counter[int]()
    for _ in range(4000):
        sample: list[int] = []
        for start, size in ((0, 3), (3, 6), (9, 1)):
            fresh, stay = streams.share(random, start, size, 4)
            sample = [*(sample[k] for k in stay), *(start + k for k in fresh)]
        hits.update(sample)
    assert all(abs(hits[row] / 4000 - 0.4) < 0.04 for row in range(10))  # five standard deviations


def test_numbers_that_are_not_finite_are_refused_with_their_place() -> None:
    module = network()
    with torch.no_grad():
        module[0].weight[0] = float("nan")
    for gather in (streams.extremes, partial(streams.numbers, count=10**6)):
        with pytest.raises(Refusal, match="`0`") as refusal:
            gather(module, watch(module, "0"), lambda what: batches())
        assert refusal.value.code == "RCP1010"

"""Whether a user's samples are the same in every epoch: whatever draws is noticed, whatever is seeded is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipelang.catalogue import find
from recipelang.images.access import reading
from recipelang.images.view import Relabelled

DATA = """
import itertools, random, numpy, torch

SECRET = numpy.random.default_rng()

class Toy:
    def __len__(self):
        return 24

    def __getitem__(self, k):
        if not 0 <= k < 24:
            raise IndexError(k)
        image = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(k))
        {change}
        return image, k % 2


def build():
    return Toy(), Toy(), Toy()
"""
STEADY = {
    "nothing": "pass",
    "seed of its own": "numpy.random.seed(k); image = image + float(numpy.random.rand())",
    "seed of torch": "torch.manual_seed(k); image = image + torch.rand(1, 4, 4)",
    "generator of its own": "image = image + random.Random(k).random()",
}
VARYING = {
    "python": "image = image + random.random()",
    "numpy": "image = image + float(numpy.random.rand())",
    "torch": "image = image + torch.rand(1, 4, 4)",
    "one generator of two": "numpy.random.seed(k); image = image + float(numpy.random.rand()) + torch.rand(1, 4, 4)",
    "seldom": "image = image.flip(2) if torch.rand(1) < 1e-9 else image",
    "one sample": "image = image + torch.rand(1, 4, 4) if k == 17 else image",
    "hidden": "image = image + float(SECRET.random())",
}


@pytest.fixture
def opens(tmp_path: Path) -> Callable[..., Any]:
    def made(change: str, **settings: Any) -> Any:
        (tmp_path / "data.py").write_text(DATA.replace("{change}", change))
        with reading(trust=True, task=None):
            return find("data", "python")("data.py:build", batch=4, **settings).open(lambda text: tmp_path / text)  # type: ignore[misc]

    return made


@pytest.mark.parametrize("name", STEADY)
def test_samples_that_are_the_same_do_not_vary(opens: Callable[..., Any], name: str) -> None:
    assert opens(STEADY[name]).augments is False


@pytest.mark.parametrize("name", VARYING)
def test_samples_that_vary_or_may_are_noticed(opens: Callable[..., Any], name: str) -> None:
    data = opens(VARYING[name])
    assert data.augments is True
    assert f"sample {17 if name == 'one sample' else 0} has some" in data.unaugmented
    seen: Any = Relabelled(data, ("1", "0"), (1, 0))
    assert seen.augments is True and seen.unaugmented == data.unaugmented


def test_several_processes_find_the_same(opens: Callable[..., Any]) -> None:
    assert opens(STEADY["seed of torch"], workers=2).augments is False
    assert opens(VARYING["torch"], workers=2).augments is True

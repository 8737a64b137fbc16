"""Data of a user's own code: what it may return, what is refused, and that it is reproducible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.images.access import reading
from recipelang.methods.tasks.superresolution import SuperResolution

HEAD = """
import random, numpy, torch
from torch.utils.data import Dataset, Subset, TensorDataset

class Toy(Dataset):
    classes = ["cat", "dog"]
    def __init__(self, count=20, first=0, shape=(1, 4, 4)):
        self.count, self.first, self.shape = count, first, shape
    def __len__(self):
        return self.count
    def __getitem__(self, k):
        if not 0 <= k < self.count:
            raise IndexError(k)
        generator = torch.Generator().manual_seed(self.first + k)
        return torch.rand(self.shape, generator=generator), k % 2
"""
Opens = Callable[..., Any]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    def made(code: str, trust: bool = True, task: Any = None, **settings: Any) -> Any:
        (tmp_path / "data.py").write_text(HEAD + code)
        method = find("data", "python")("data.py:build", **{"batch": 4, **settings})  # type: ignore[misc]
        with reading(trust=trust, task=task):
            return method.open(lambda text: tmp_path / text)

    return made


@pytest.mark.parametrize(
    "returned",
    [
        "(Toy(8), Toy(4, 100), Toy(6, 200))",
        "[Toy(8), Toy(4, 100), Toy(6, 200)]",
        "{'train': Toy(8), 'val': Toy(4, 100), 'test': Toy(6, 200)}",
        "type('Data', (), {'train': Toy(8), 'val': Toy(4, 100), 'test': Toy(6, 200)})()",
    ],
)
def test_splits_are_taken_as_they_are_returned(opens: Opens, returned: str) -> None:
    data = opens(f"def build():\n    return {returned}")
    assert [data.size(split) for split in ("train", "val", "test")] == [8, 4, 6]
    assert (data.target, data.labels.names, data.input_shape) == ("class", ("cat", "dog"), (1, 4, 4))
    inputs, targets = next(iter(data.batches("test", batch=6)))
    assert inputs.dtype == torch.float32 and targets.dtype == torch.int64 and targets.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("returned", ["Toy(40)", "(Toy(40), Toy(8, 100))", "Subset(Toy(44), range(40))"])
def test_a_missing_split_is_cut_from_train_without_leaks(opens: Opens, returned: str) -> None:
    data = opens(f"def build():\n    return {returned}", split=(0.5, 0.25, 0.25))
    sizes = {split: data.size(split) for split in ("train", "val", "test")}
    assert sum(sizes.values()) == (48 if "100" in returned else 40) and min(sizes.values()) >= 8
    digests = [digest for source in data.sources.values() for digest in source.digests]
    assert len(set(digests)) == len(digests)
    again = opens(f"def build():\n    return {returned}", split=(0.5, 0.25, 0.25))
    assert again.fingerprint == data.fingerprint
    assert data.labels.names == ("cat", "dog")


def test_equal_samples_stay_together(opens: Opens) -> None:
    code = "def build():\n    inputs = torch.arange(20.0)[:, None].repeat(3, 1)\n"
    data = opens(code + "    return TensorDataset(inputs, torch.arange(60) % 2)", split=(0.5, 0.25, 0.25))
    found = [set(source.digests) for source in data.sources.values()]
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert data.input_shape == (1,) and data.labels.names == ("0", "1")


def test_code_and_content_decide_the_fingerprint(opens: Opens) -> None:
    build = "def build(first=0):\n    return Toy(20, first)"
    one = opens(build)
    assert opens(build).fingerprint == one.fingerprint
    others = [
        opens(build + "  # changed").fingerprint,
        opens(build, extra=(("first", 1),)).fingerprint,
        opens(build, classes="a, b").fingerprint,
        opens(build, batch=5).fingerprint,
        opens(build, seed=1).fingerprint,
    ]
    assert len({one.fingerprint, *others}) == 6


def test_what_a_sample_draws_follows_from_seed_epoch_and_sample(opens: Opens) -> None:
    data = opens(
        "class Noisy(Toy):\n"
        "    def __getitem__(self, k):\n"
        "        x, y = super().__getitem__(k)\n"
        "        return x + torch.rand(1) + random.random() + numpy.random.rand(), y\n"
        "def build():\n    return Noisy(8), Noisy(4, 100), Noisy(4, 200)"
    )
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def epoch(**how: Any) -> torch.Tensor:
        return torch.cat([inputs for inputs, _ in data.batches("train", **how)])

    assert torch.equal(epoch(epoch=2, seed=1), epoch(epoch=2, seed=1))
    assert torch.equal(epoch(epoch=2, seed=1)[4:], epoch(epoch=2, seed=1, start=1))
    assert not torch.equal(epoch(epoch=2, seed=1), epoch(epoch=3, seed=1))
    assert torch.equal(epoch(), epoch(seed=9)) and torch.equal(torch.get_rng_state(), before)


def test_targets_are_images_where_the_task_needs_them(opens: Opens) -> None:
    code = "class Pairs(Toy):\n    def __getitem__(self, k):\n        x, _ = super().__getitem__(k)\n"
    code += "        return x, x.repeat_interleave(2, 1).repeat_interleave(2, 2)\n"
    data = opens(code + "def build():\n    return Pairs(12)", task=SuperResolution(2))
    assert (data.target, data.labels, data.input_shape, data.target_shape) == ("image", None, (1, 4, 4), (1, 8, 8))
    assert next(iter(data.batches("train", epoch=0))).targets.shape == (4, 1, 8, 8)


SAMPLE = "class Own(Toy):\n    def __getitem__(self, k):\n        {}\ndef build():\n    return Own(6)"
WRONG = [
    ("RCP0844", "build = 5", "has no function `build`"),
    ("RCP0844", "def build():\n    return 1 / 0", "ZeroDivisionError"),
    ("RCP0844", "def build():\n    return None", "it returns None, without `train`"),
    ("RCP0844", "def build():\n    return {'train': Toy(), 'testing': Toy()}", "it returns `testing`"),
    ("RCP0844", "def build():\n    return {'train': 5}", "`train` is 5, not a data set"),
    ("RCP0844", "def build():\n    return torch.rand(3, 3)", "a tensor of float32 and shape"),
    ("RCP0845", "def build():\n    return Toy(0)", "`train` has no samples"),
    ("RCP0845", SAMPLE.format("return torch.rand(3)"), "sample 0 is a tensor of float32"),
    ("RCP0845", SAMPLE.format("return torch.ones(3).byte(), 1"), "the input of sample 0 is a tensor of uint8"),
    ("RCP0845", SAMPLE.format("return torch.full((3,), float('nan')), 1"), "holds NaN"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), 'cat'"), "the target of sample 0 is 'cat'"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), torch.rand(3)"), "not the number of a class"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), 2"), "the label of sample 0 of `train` is not one of 0 to 1"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), -1"), "the label of sample 0"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), -1 - k"), "of `train` is not one of 0 to 65,535"),
    ("RCP0845", SAMPLE.format("return torch.eye(3).to_sparse(), 1"), "of sample 0 is a tensor that is sparse"),
    ("RCP0845", SAMPLE.format("return torch.rand(3, device='meta'), 1"), "is sparse or without numbers"),
    ("RCP0845", SAMPLE.format("return torch.rand(3), torch.tensor(1, device='meta')"), "not the number of a class"),
    ("RCP0845", "class A(Toy):\n    classes = ['a', 'b' * 2000]\ndef build():\n    return A(6)", "the name 'bbb"),
    ("RCP0845", SAMPLE.format("return torch.rand(3 + k), k % 2"), "the input of one sample of `train` is"),
    ("RCP0845", SAMPLE.format("raise KeyError('lost')"), "sample 0 cannot be read: KeyError: 'lost'"),
    ("RCP0808", "def build():\n    return Toy(2)", "too few"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "words"), WRONG)
def test_what_is_wrong_is_named(opens: Opens, code: str, text: str, words: str) -> None:
    with pytest.raises(Refusal) as caught:
        opens(text)
    assert caught.value.code == code and words in caught.value.message and caught.value.help


def test_without_trust_nothing_runs(opens: Opens, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        opens("open('ran', 'w')\ndef build():\n    return Toy()", trust=False)
    assert caught.value.code == "RCP0711"


@pytest.mark.parametrize("settings", [{"where": "data.txt:build"}, {"where": "data.py"}, {"split": (1.0, 1.0, 0.0)}])
def test_settings_that_mean_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        find("data", "python")(**{"where": "data.py:build", **settings})  # type: ignore[misc]

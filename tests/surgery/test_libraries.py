"""The answer of an architecture that a library built is kept until anything that decides it differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.files import cache_folder
from recipelang.surgery import libraries

CALL = {"model": "timm", "settings": {"architecture": "net"}}
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    shift: Tensor

    def __init__(self, width: int = 4, stride: int = 1, shift: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 5)
        self.register_buffer("shift", torch.tensor([shift]), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(images).mean((2, 3)))
        return scores + self.shift


class Other(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * 2


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The answers that were computed, not read."""
    found: list[list[float]] = []
    before = libraries._answer

    def answer(module: nn.Module, inputs: Tensor) -> list[float]:
        found.append(before(module, inputs))
        return found[-1]

    monkeypatch.setattr(libraries, "_answer", answer)
    return found


def noted(module: nn.Module | None = None, inputs: Tensor = IMAGES, **call: Any) -> Any:
    return libraries.note("torch", module or Net(), inputs, {**CALL, **call})


def kept() -> list[Path]:
    return sorted((cache_folder() / "built").iterdir())


def test_it_is_computed_once_whatever_the_weights_are(computed: list[list[float]]) -> None:
    first = noted()
    trained = Net()
    with torch.no_grad():
        for tensor in (*trained.parameters(), *trained.body[1].buffers()):
            tensor.add_(1)
    assert noted(trained) == first == noted()
    assert [first["answer"]] == computed and len(kept()) == 1
    assert first == {"library": "torch", "version": libraries.version_of("torch"), "answer": computed[0]}
    libraries._answer(Net(), IMAGES)
    assert computed[0] == computed[1]


@pytest.mark.parametrize(
    "other",
    [
        lambda: noted(Net(width=6)),
        lambda: noted(Net(stride=2)),
        lambda: noted(Net(shift=1.0)),
        lambda: noted(Other()),
        lambda: noted(inputs=IMAGES[..., :6]),
        lambda: noted(built={"arguments": {"gamma": 2}}),
    ],
    ids=["width", "stride", "buffer", "class", "inputs", "call"],
)
def test_what_decides_it_makes_it_computed_again(computed: list[list[float]], other: Callable[[], Any]) -> None:
    noted()
    found = other()
    assert len(computed) == 2 and found["answer"] == computed[1]
    assert len(kept()) == 2


def test_another_version_or_other_code_computes_it_again(
    computed: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted()
    monkeypatch.setattr(libraries, "version_of", lambda library: "0.1")
    noted()
    monkeypatch.setattr(libraries, "_code", lambda library, module: [["changed.py", 1, 2, 3]])
    noted()
    assert len(computed) == 3


def test_the_code_is_that_of_the_library_and_of_the_parts() -> None:
    files = [stamp[0] for stamp in libraries._code("torch", Net())]
    assert {__file__, libraries.__file__, torch.__file__, nn.Conv2d.forward.__code__.co_filename} <= set(files)


@pytest.mark.parametrize(
    "text", ["", "[1.0, ", "{}", "[]", '["1"]', "[NaN]", "[true]", "[1]", "[" * 9_000, "[" + "1.0," * 9_000 + "1.0]"]
)
def test_a_damaged_file_is_ignored_and_written_again(computed: list[list[float]], text: str) -> None:
    first = noted()
    (place,) = kept()
    place.write_text(text)
    assert noted() == first and len(computed) == 2
    assert json.loads(place.read_text()) == first["answer"]


def test_a_cache_that_cannot_be_written_costs_only_time(computed: list[list[float]]) -> None:
    cache_folder().parent.mkdir(parents=True, exist_ok=True)
    cache_folder().write_text("a file is in the way")
    assert noted() == noted() and len(computed) == 2


def test_a_network_that_cannot_compute_in_float64_is_noted_without_an_answer(computed: list[list[float]]) -> None:
    class Mixed(Net):
        def forward(self, images: Tensor) -> Tensor:
            return images.float() @ self.head.weight.T

    assert "answer" not in noted(Mixed()) and computed == [[]]
    assert not (cache_folder() / "built").exists()


@pytest.mark.parametrize(
    "held",
    [
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.bfloat16),
        torch.tensor(True),
        torch.zeros(4, 3).T,
        torch.ones(1, dtype=torch.complex64),
    ],
    ids=["sparse", "bfloat16", "bool", "strided", "complex"],
)
def test_whatever_a_network_holds_takes_part(held: Tensor) -> None:
    one, other = Net(), Net()
    one.register_buffer("held", held)
    other.register_buffer("held", torch.cat([held.to_dense().flatten(), held.to_dense().flatten()[:1]]))
    names = {libraries._identity("torch", module, IMAGES, CALL) for module in (one, other, Net())}
    assert len(names) == 3
    assert libraries._identity("torch", one, IMAGES, CALL) in names

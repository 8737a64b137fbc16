"""`python("file.py:build")`: only with trust, with a clear message for everything that can go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact, source

CODE = """
from pathlib import Path

import torch
from helper_of_mine import width_of
from torch import nn

Path("ran.txt").write_text("ran")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


def build(width=4, classes=10):
    w = width_of(width)
    return nn.Sequential(nn.Conv2d(3, w, 3), Block(w), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(w, classes))


def broken():
    return 1 / 0


def leaves():
    raise SystemExit(3)


def no_network():
    return 7


def diverged(value="nan"):
    network = build()
    network[1].conv.weight.data[2, 1] = float(value)
    return network


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
        self.head = nn.Linear(3 * 64, 10)

    def forward(self, x):
        return self.head(x.flatten(1))


number = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "_seen", {})
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text(CODE)
    (tmp_path / "nets" / "helper_of_mine.py").write_text("def width_of(n):\n    return 2 * n\n")
    return tmp_path


def request(folder: Path, *, trust: bool = True) -> ModelRequest:
    return ModelRequest(("a", "b"), (3, 8, 8), resolve=lambda text: folder / text, trust=trust)


def model(where: str = "nets/mine.py:build", **settings: object) -> object:
    return find("model", "python")(where=where, **settings)


def test_without_trust_nothing_runs(folder: Path) -> None:
    with pytest.raises(Refusal) as caught:
        model().build(request(folder, trust=False))
    assert caught.value.code == "RCP0711" and "--trust" in caught.value.help
    assert not (folder / "ran.txt").exists()


def test_with_trust_the_function_builds_the_network(folder: Path) -> None:
    network = model(extra=(("width", 8),)).build(request(folder))
    assert network.module[0].out_channels == 16
    assert network.module(torch.randn(1, 3, 8, 8)).shape == (1, 2)
    assert network.source["settings"]["where"] == "nets/mine.py:build"
    assert network.source["settings"]["extra"] == [["width", 8]]
    assert model().files(lambda text: folder / text) == (folder / "nets/mine.py", folder / "nets/helper_of_mine.py")


def test_an_absolute_path_stays_private(folder: Path) -> None:
    network = model(f"{folder}/nets/mine.py:build").build(request(folder))
    assert str(folder) not in str(network.source)
    artifact.save(network, folder / "net")
    assert artifact.load(folder / "net", trust=True).classes == ("a", "b")


def test_a_saved_network_needs_its_very_code_and_trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(extra=(("width", 8),)).build(request(folder))
    artifact.save(network, folder / "net")
    with pytest.raises(Refusal) as caught:
        artifact.load(folder / "net")
    assert caught.value.code == "RCP0711"
    back = artifact.load(folder / "net", trust=True)
    assert torch.equal(back.module[0].weight, network.module[0].weight)

    monkeypatch.setattr(source, "_seen", {})
    (folder / "nets" / "mine.py").write_text(CODE + "\n# changed\n")
    with pytest.raises(Refusal, match="has changed") as caught:
        artifact.load(folder / "net", trust=True)
    assert caught.value.code == "RCP0715"
    shutil.move(folder / "nets", folder / "elsewhere")
    with pytest.raises(Refusal, match="`mine.py` that builds the network is missing"):
        artifact.load(folder / "net", trust=True)
    (folder / "net" / "mine.py").write_text(CODE)
    with pytest.raises(Refusal, match="`helper_of_mine.py`, which `mine.py` imports to build the network, is missing"):
        artifact.load(folder / "net", trust=True)
    (folder / "net" / "helper_of_mine.py").write_text("def width_of(n):\n    return 2 * n\n")
    assert artifact.load(folder / "net", trust=True).source == network.source


def test_a_digest_pins_the_file(folder: Path) -> None:
    digest = model().build(request(folder)).source["settings"]["digest"]
    assert model(digest=digest).build(request(folder)).source["settings"]["digest"] == digest
    with pytest.raises(Refusal) as caught:
        model(digest="0" * 64).build(request(folder))
    assert caught.value.code == "RCP0715"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("nets/nowhere.py:build", ["no Python file `nowhere.py`"]),
        ("nets/mine.py:nothing", ["no function `nothing`"]),
        ("nets/mine.py:number", ["no function `number`"]),
        ("nets/mine.py:broken", ["ZeroDivisionError", "line 26"]),
        ("nets/mine.py:leaves", ["SystemExit"]),
        ("nets/mine.py:no_network", ["returns int"]),
    ],
)
def test_code_that_cannot_build(folder: Path, where: str, words: list[str]) -> None:
    with pytest.raises(Refusal) as caught:
        model(where).build(request(folder))
    assert caught.value.code == "RCP0712"
    assert all(word in caught.value.message for word in words), caught.value.message


def test_a_file_that_is_no_python_and_a_keyword_that_is_none(folder: Path) -> None:
    (folder / "bad.py").write_text("def build(:\n")
    with pytest.raises(Refusal, match="SyntaxError"):
        model("bad.py:build").build(request(folder))
    with pytest.raises(Refusal, match="unexpected keyword argument 'depth'"):
        model(extra=(("depth", 3),)).build(request(folder))


@pytest.mark.parametrize("where", ["mine.py", "mine:build", "mine.py:", "mine.py:a b", ":build"])
def test_what_names_no_function(where: str) -> None:
    with pytest.raises(SettingError) as caught:
        model(where)
    assert caught.value.field == "where"


def test_someone_has_to_say_what_images_it_is_for(folder: Path) -> None:
    nobody = ModelRequest(resolve=lambda text: folder / text, trust=True)
    with pytest.raises(Refusal, match="it is not known which images"):
        model().build(nobody)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_network_that_is_built_with_nan_is_refused_at_once_and_says_where(folder: Path, value: str) -> None:
    with pytest.raises(Refusal, match=r"as built hold NaN or infinity: `1.conv.weight`$") as caught:
        model("nets/mine.py:diverged", extra=(("value", value),)).build(request(folder))  # type: ignore[attr-defined]
    assert caught.value.code == "RCP0707"


def test_a_buffer_that_masks_attention_may_be_infinite(folder: Path) -> None:
    network = model("nets/mine.py:Masked").build(request(folder))  # type: ignore[attr-defined]
    artifact.save(network, folder / "net")
    again = artifact.load(folder / "net", trust=True)
    assert torch.equal(again.module.state_dict()["mask"], network.module.state_dict()["mask"])

"""`recipe init`: what it writes runs, and what it cannot write it says; nothing is overwritten or half written."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy
import pytest

from recipelang.cli import main
from recipelang.drafting.places import moved
from recipelang.profile import parse_profile

NET = """
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.n = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.n(self.a(x)).relu()


def build(classes=2):
    stem = nn.Conv2d(3, 8, 3, padding=1)
    return nn.Sequential(stem, Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""


def recipe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network in a file and images of two classes."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / "net.py").write_text(NET)
    for number, name in enumerate(("cat", "dog")):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        draws = numpy.random.default_rng(number)
        for image in range(20):
            Image.fromarray(draws.integers(0, 255, (16, 16, 3), numpy.uint8)).save(folder / f"{image}.png")
    return tmp_path


def lines(file: Path) -> list[str]:
    """Its statements, without comments."""
    bare = [re.sub(r"\s*#.*", "", line) for line in file.read_text().splitlines()]
    return [line for line in bare if line.strip()]


def run(folder: str) -> int:
    """What is written passes `check`, `fmt`, and `plan`, and runs."""
    file = f"{folder}/first.rcp"
    assert recipe("check", file) == 0
    assert recipe("fmt", "--check", file) == 0
    return recipe("run", file, "--smoke", "--out", f"{folder}/out", "--trust")


# what is written ----------------------------------------------------------------------------------------


def test_the_built_in_network_with_flags(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("init", "new", "--yes", "--budget", "flops < 0.7") == 0
    said = capsys.readouterr()
    assert said.out.split() == ["new/first.rcp"], "no file needs a name, so there is no profile"
    assert "trying filters" in said.err
    written = lines(here / "new/first.rcp")
    assert written[0] == "model digits_resnet" and "train for 20 epochs" in written
    assert "prune filters by magnitude until flops < 0.7 while top1 drop < 60%" in written
    assert "on this machine" in (here / "new/first.rcp").read_text()
    assert run("new") in (0, 4)


def test_own_code_and_own_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Paths start at the folder of the recipe; the profile says where the images are."""
    model, data = 'python("net.py:build")', 'folder("photos", size=16, batch=8)'
    asked = ("--model", model, "--data", data, "--budget", "params < 0.8", "--drop", "5", "--yes")
    assert recipe("init", "mine", *asked) == 3
    assert "RCP0711" in capsys.readouterr().err and not (here / "mine").exists()
    assert recipe("init", "mine", *asked, "--trust") == 0
    assert capsys.readouterr().out.split() == ["mine/first.rcp", "mine/recipe.yaml"]
    written = lines(here / "mine/first.rcp")
    assert 'model python("../net.py:build")' in written
    profile = parse_profile((here / "mine/recipe.yaml").read_text(), here / "mine/recipe.yaml")
    assert profile.paths == {"photos": here / "photos"} and profile.data == ("photos",)
    assert "expect params < 0.8 and top1 drop(from=control) < 5%" in written
    assert run("mine") in (0, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        (("--model", "srresnet", "--budget", "latency < 0.8"), "psnr drop"),
        (("--model", "digits_vgg", "--budget", "size < 0.6"), "filters"),
        (("--budget", "latency < 0.6 and size < 0.6"), "prune layers, filters by taylor"),
        (("--batch", "16"), "let here = latency(batch=16)"),
    ],
)
def test_other_networks_and_budgets_run(here: Path, asked: tuple[str, ...], holds: str) -> None:
    assert recipe("init", "new", "--yes", *asked) == 0
    assert holds in (here / "new/first.rcp").read_text()
    assert run("new") in (0, 4)


@pytest.mark.slow
def test_integers_in_onnxruntime_run(here: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert recipe("init", "new", "--yes", "--runtime", "onnxruntime", "--budget", "latency < 0.7") == 0
    assert "export onnx" in lines(here / "new/first.rcp")
    assert run("new") in (0, 4)


@pytest.mark.slow
def test_a_profile_above_is_not_hidden(here: Path) -> None:
    """A recipe.yaml in the recipe's folder would hide it, so paths start at the recipe's folder."""
    (here / "recipe.yaml").write_text("threads: 1\n")
    asked = ("--model", 'python("net.py:build")', "--data", 'folder("photos", size=16, batch=8)', "--trust", "--yes")
    assert recipe("init", "mine", *asked, "--budget", "params < 0.8") == 0
    assert not (here / "mine/recipe.yaml").exists()
    assert 'data folder("../photos", size=16, batch=8)' in [
        " ".join(line.split()) for line in lines(here / "mine/first.rcp")
    ]


# bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--device", "tpu"), 2, "there is no device `tpu`"),
        (("--runtime", "onnxruntme"), 2, "did you mean `onnxruntime`?"),
        (("--batch", "0"), 2, "0 is not in the range"),
        (("--drop", "0"), 2, "`0` is not a number of points above 0"),
        (("--drop", "nan"), 2, "`nan` is not a number of points"),
        (("--budget", "latncy < 0.7"), 2, "did you mean `latency`?"),
        (("--budget", "latency"), 2, "is not a comparison"),
        (("--budget", "flops > 0.5"), 2, "holds before anything is removed"),
        (("--budget", "flops > 0.5"), 2, "help: name what becomes smaller, such as `--budget 'size < 0.5'`"),
        (("--budget", "top1 > 0.5"), 2, "`--drop 2` says how many points may be lost"),
        (("--budget", "top1 drop > 2%"), 2, "`--drop 2` says how many points may be lost"),
        (
            ("--budget", "flops < 0.001"),
            3,
            "reaches `flops < 0.001`: by filters, flops can reach",
        ),
        (("--model", "resnet57"), 1, "did you mean `resnet56`?"),
        (("--model", "torchvision.squeezenet1_1"), 3, "the embedded `digits` do not fit it"),
        (("--data", 'folder("nowhere")'), 3, "does not exist"),
        (("--device", "cuda:31"), 3, "RCP1001"),
    ],
)
def test_what_cannot_be_written(here: Path, asked: tuple[str, ...], code: int, said: str, capsys) -> None:  # type: ignore[no-untyped-def]
    assert recipe("init", "new", "--yes", *asked) == code
    told = capsys.readouterr().err
    assert said in told and "bug" not in told
    assert not (here / "new").exists()


def test_every_file_that_is_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "first.rcp").write_text("mine\n")
    (here / "recipe.yaml").write_text("threads: 1\n")
    assert recipe("init", ".", "--yes", "--batch", "8") == 2
    told = capsys.readouterr().err
    assert "`first.rcp` already exists" in told and "`recipe.yaml` already exists" in told
    assert (here / "first.rcp").read_text() == "mine\n"
    assert recipe("init", "net.py") == 2
    assert "`net.py` already exists" in capsys.readouterr().err


# questions ----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_questions_are_asked_again_and_have_defaults(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    """Model, data, device, runtime, batch, budget and quality; an empty line takes the default."""
    monkeypatch.setattr(sys, "stdin", Terminal("nowhere\n\n\ntpu\ncpu\n\n0\nfour\n4\nflops\nflops < 0.7\nnan\n\n"))
    assert recipe("init", "new") == 0
    told = capsys.readouterr()
    assert "[digits_resnet]" in told.err + told.out and "there is no device `tpu`" in told.err + told.out
    for said in ("there is no model `nowhere`", "`four` is not a number of inputs", "`nan` is not a number of points"):
        assert said in told.err + told.out
    assert "let here = latency(batch=4)" in (here / "new/first.rcp").read_text()
    assert "until flops < 0.7" in (here / "new/first.rcp").read_text()


def test_an_option_answers_its_question(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    asked = ("--model", "digits_resnet", "--device", "cpu", "--runtime", "torch", "--batch", "1", "--drop", "2")
    assert recipe("init", "new", *asked, "--budget", "flops < 0.7") == 0
    told = capsys.readouterr()
    assert "The data, as a recipe writes it" in told.err + told.out and "Inputs in one call" not in told.err + told.out


def test_questions_that_are_left_leave_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "stdin", Terminal("\n\n"))
    assert recipe("init", "new") == 130
    assert "left: nothing was written" in capsys.readouterr().err
    assert not (here / "new").exists()


def test_without_a_terminal_and_options_it_writes_the_example(here: Path) -> None:
    assert recipe("init", "starter") == 0
    assert sorted(file.name for file in (here / "starter").iterdir()) == ["first.rcp", "recipe.yaml"]


# paths --------------------------------------------------------------------------------------------------


def test_paths_are_those_of_the_recipe(here: Path) -> None:
    told = moved('folder("photos", size=16)', here, here / "new", profile=True)
    assert told.text == 'folder("photos", size=16)' and told.named == {"photos": str(here / "photos")}
    assert moved('folder("photos")', here, here, profile=True) == moved('folder("photos")', here, here, profile=False)
    assert moved('python("net.py:build")', here, here / "a/b", profile=True).text == 'python("../../net.py:build")'
    assert moved('resnet56(weights="absent.pt")', here, here / "new", profile=True).text.endswith('"absent.pt")')
    both = moved(f'csv("photos", other="{here}/photos/cat")', here, here / "new", profile=True)
    assert both.named == {"photos": str(here / "photos"), "cat": str(here / "photos/cat")}

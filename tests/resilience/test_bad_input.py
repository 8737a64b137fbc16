"""Data, weights, devices and settings that cannot work: said at their line before any work, or with all of it kept."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

DIGITS = "model digits_resnet\ndata digits(batch=32)\ntrain for 2 steps\n"
AFTER = "prune 1 layers by random\nmeasure params\n"


class Bomb:
    """A pickle that runs a command when it is opened."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.proof}",)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can be wrong with a file."""
    folder = tmp_path_factory.mktemp("things")
    chance = numpy.random.default_rng(0)
    for name in ("good", "cut", "text"):
        for label in ("cats", "dogs"):
            (folder / name / label).mkdir(parents=True)
            for i in range(12):
                pixels = chance.integers(0, 255, (32, 32, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / name / label / f"{i}.png")
    image = folder / "cut/cats/3.png"
    image.write_bytes(image.read_bytes()[:200])
    (folder / "text/cats/3.png").write_text("hello")
    (folder / "empty").mkdir()
    (folder / "loose").mkdir()
    shutil.copy(folder / "good/cats/1.png", folder / "loose/1.png")
    torch.save(torch.nn.Linear(3, 3).state_dict(), folder / "shape.pt")
    torch.save({"state_dict": Bomb(folder / "ran")}, folder / "bomb.pt")
    with (folder / "bomb.pkl").open("wb") as file:
        pickle.dump(Bomb(folder / "ran"), file)
    (folder / "header.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    claim = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (folder / "claim.safetensors").write_bytes(len(claim).to_bytes(8, "little") + claim)
    save_file({"a": torch.full((2,), torch.nan)}, folder / "other.safetensors")
    (folder / "net.py").write_text("open('imported', 'w').close()\ndef build():\n    return None\n")
    return folder


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('model resnet20(weights="none.pt")', "RCP0706", "there is no weights file `none.pt`"),
        ('model resnet20(weights="good")', "RCP0706", "`good` is a folder, not a weights file"),
        ('model resnet20(weights="shape.pt")', "RCP0707", "do not fit the network"),
        ('model resnet20(weights="other.safetensors")', "RCP0707", "do not fit the network"),
        ('model resnet20(weights="bomb.pt")', "RCP0706", "it holds objects that are not plain tensors"),
        ('model resnet20(weights="bomb.pkl")', "RCP0706", "it holds objects that are not plain tensors"),
        ('model resnet20(weights="header.safetensors")', "RCP0706", "cannot be read"),
        ('model resnet20(weights="claim.safetensors")', "RCP0706", "cannot be read"),
        ("model resnet20(classes=7)", "RCP0708", "the data has 10 classes"),
        ('model artifact("good")', "RCP0714", "there is no `model.json`"),
        ('model artifact("../../../etc")', "RCP0714", "does not hold an intact network"),
        ('model python("net.py:build")', "RCP0711", "which is not permitted"),
        ('model python("none.py:build")', "RCP0711", "which is not permitted"),
        ('data folder("none")', "RCP0801", "does not exist"),
        ('data folder("net.py")', "RCP0801", "is not a folder"),
        ('data folder("empty")', "RCP0803", "holds no class folders"),
        ('data folder("loose")', "RCP0802", "`1.png` is not in a class folder"),
        ('data folder("cut")', "RCP0805", "`cats/3.png` cannot be read: the file is cut off"),
        ('data folder("text")', "RCP0805", "`cats/3.png` cannot be read: it is not an image"),
        ('measure latency(device="cuda:7")', "RCP1001", "no CUDA device"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(recipe, things: Path, line: str, code: str, said: str) -> None:  # type: ignore[no-untyped-def]
    recipe.folder = things
    model, data = "model resnet20", "data digits"
    lines = [
        line if line.startswith("model") else model,
        line if line.startswith("data") else data,
        "train for 1 steps",
    ]
    lines += [line] if line.startswith("measure") else []
    (things / "a.rcp").write_text("\n".join(lines) + "\n" + AFTER)
    ended = recipe("run", "a.rcp", "--out", "out")
    assert ended.code == 3, ended.err
    assert f"error[{code}]" in ended.err
    assert said in ended.err
    number = lines.index(line) + 1
    assert f"--> a.rcp:{number}:1\n" in ended.err
    assert f"{number} | {line}\n" in ended.err
    assert "^^^^" in ended.err
    assert "Traceback" not in ended.err
    for unwanted in ("out", ".recipe", "ran", "imported"):
        assert not (things / unwanted).exists()


def test_trusted_code_runs_and_code_that_is_not_there_is_missed(recipe, things: Path) -> None:  # type: ignore[no-untyped-def]
    recipe.folder = things
    text = 'model python("{}.py:build")\ndata digits\ntrain for 1 steps\n' + AFTER
    missing = recipe("run", "-e", text.format("none"), "--trust", "--out", "out")
    assert missing.code == 3
    assert "error[RCP0712]" in missing.err
    ended = recipe("run", "-e", text.format("net"), "--trust", "--out", "out")
    assert ended.code == 3
    assert "returns NoneType, not a network" in ended.err
    (things / "imported").unlink()
    assert not (things / "__pycache__").exists()


@pytest.mark.parametrize(
    ("line", "code", "said", "left"),
    [
        ("finetune for 30 steps with sgd(lr=1e9)", "RCP0811", "the loss became ", set()),
        ("prune layers by magnitude until flops < 0.001", "RCP0904", "it is at flops 0.08", {"partial"}),
    ],
)
def test_a_step_that_fails_leaves_what_stands(
    recipe, tmp_path: Path, line: str, code: str, said: str, left: set[str]
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.rcp").write_text(f"{DIGITS}prune 1 layers by random\n{line}\nsparsify nm 2:4\nmeasure params\n")
    ended = recipe("run", "a.rcp", "--out", "out")
    assert ended.code == 3
    assert f"error[{code}]" in ended.err
    assert said in ended.err
    assert f"5 | {line}\n" in ended.err
    assert "sparsify" not in ended.err, "later steps do not run"
    report = (tmp_path / "out/report.md").read_text()
    assert said in report
    assert {p.name for p in (tmp_path / "out").iterdir()} - {"figures"} == {
        "recipe.rcp", "report.md", "report.html", "report.json", *left,
    }  # fmt: skip
    again = recipe("run", "a.rcp", "--out", "out")
    assert again.code == 3
    assert "3 steps: 3 from the store, 0 done" in again.err
    if left:
        assert (tmp_path / "out/partial/main/model.safetensors").is_file()

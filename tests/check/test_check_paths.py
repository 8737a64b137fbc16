"""A path where a model or a data set is expected: the message says what reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.meaning.pathlike import meant_by
from recipelang.syntax.parse import parse


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "shards", "bert", "digits", "net"):
        Path(folder).mkdir()
    Path("shards/train-000.tar").touch()
    Path("bert/config.json").touch()
    return tmp_path


PATHS = {
    ("data", "nothing.csv"): '`csv("nothing.csv")`',
    ("data", "labels.TSV"): '`csv("labels.TSV")`',
    ("data", '"a b/c.csv"'): '`csv("a b/c.csv")`',
    ("data", "C:\\x\\labels.csv"): '`csv("C:/x/labels.csv")`',
    ("data", "shard.tar"): '`webdataset("shard.tar")`',
    ("data", "train-{000..009}.tar"): '`webdataset("train-{000..009}.tar")`',
    ("data", "shards"): '`webdataset("shards")`',
    ("data", "photos"): 'for the folder write `folder("photos")`',
    ("data", "./photos"): '`folder("./photos")`',
    ("data", "/nowhere/photos/"): '`folder("/nowhere/photos/")`',
    ("data", "photos.tar.gz"): 'unpack it, and write `folder("photos")`',
    ("data", "data.py"): '`python("data.py:build")`',
    ("data", "sub/data.py:load"): '`python("sub/data.py:load")`',
    ("data", "user/birds"): '`huggingface("user/birds")`',
    ("model", "net.onnx"): '`onnx("net.onnx")`',
    ("model", "net.py"): '`python("net.py:build")`',
    ("model", "net"): '`artifact("net")`',
    ("model", "runs/a-1/main"): '`artifact("runs/a-1/main")`',
    ("model", "bert"): '`huggingface("bert")`',
    ("model", "w.safetensors"): '`resnet20(weights="w.safetensors")`',
}


@pytest.mark.parametrize(("role", "path"), PATHS)
def test_a_path_is_told_what_reads_it(role: str, path: str) -> None:
    texts = {"model": "digits_lenet", "data": "digits", role: path}
    with pytest.raises(RecipeError) as refused:
        check(parse("measure params"), **texts)
    (found,) = refused.value.diagnostics
    assert found.code == "RCP0202" and PATHS[role, path] in found.help
    assert found.span is not None and found.span.typed == f"--{role} {path}"
    assert found.span.typed[found.span.start :] == path


@pytest.mark.parametrize(
    "text", ["digits", "fodler", "cifar10(size=8)", 'csv("labels.csv")', "", "timm.resnet18", "\0"]
)
def test_other_texts_are_no_paths(text: str) -> None:
    """`digits` is a data set, also where there is a folder of this name."""
    assert meant_by("data", text) == "" or text == "digits"
    assert meant_by("model", text) == "" or text == "digits"
    check(parse("measure params"), model="digits_lenet", data="digits")


def test_a_path_in_a_recipe() -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse("model net.onnx\ndata labels.csv\nmeasure params"))
    assert [one.help for one in refused.value.diagnostics] == [
        'for the file write `onnx("net.onnx")`', 'for the file write `csv("labels.csv")`'
    ]  # fmt: skip


def test_other_kinds_have_no_paths() -> None:
    assert meant_by("metric", "labels.csv") == ""

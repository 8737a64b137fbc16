"""CSV files of labels, as people have them: what is understood, what is refused and with which words."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.images.listed import _all_plain
from recipelang.images.listing import list_samples
from recipelang.images.table import read_table

CATS = tuple(f"cat{k}.png" for k in range(10))
DOGS = tuple(f"dog{k}.png" for k in range(10))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for name in CATS + DOGS:
        Image.fromarray(random.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(root / name)
    return root


@pytest.fixture
def beside(images: Path, tmp_path: Path) -> Path:
    """A folder with the images, in which a test writes its CSV file."""
    shutil.copytree(images, tmp_path, dirs_exist_ok=True)
    return tmp_path


def rows(*extra: Sequence[str], header: str = "path,label", cells: int = 2) -> str:
    lines = [f"{name},{name[:3]}" + "," * (cells - 2) for name in CATS + DOGS]
    return "\n".join([header, *lines, *(",".join(row) for row in extra)]) + "\n"


def opened(root: Path, text: str | bytes | None = None, **how: Any) -> Any:
    file = root / "labels.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    method: Any = find("data", "csv")
    return method("labels.csv", **({"size": 16, "batch": 4} | how)).open(lambda name: root / name)


def refused(root: Path, text: str | bytes | None = None, **how: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        opened(root, text, **how)
    assert caught.value.help and caught.value.message.isprintable()
    return caught.value


def labels_of(data: Any) -> dict[str, str]:
    """Name of an image → its class, over all splits."""
    listed = getattr(data, "images", {})
    return {
        name: data.classes[label]
        for split in listed.values()
        for name, label in zip(split.names, split.labels.tolist(), strict=True)
    }


def test_images_are_those_of_the_same_folders(beside: Path) -> None:
    """The same files in class folders give the same batches, split for split."""
    for name in CATS + DOGS:
        (beside / "photos" / name[:3]).mkdir(parents=True, exist_ok=True)
        shutil.copy(beside / name, beside / "photos" / name[:3] / name)
    folder: Any = find("data", "folder")
    one, two = opened(beside, rows()), folder("photos", size=16, batch=4).open(lambda name: beside / name)
    assert one.classes == two.classes == ("cat", "dog")
    for split in ("train", "val", "test"):
        for (x, y), (a, b) in zip(one.batches(split), two.batches(split), strict=True):
            assert torch.equal(x, a) and torch.equal(y, b)
    assert one.notes == ("`labels.csv`: path from `path`, label from `label`",)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_dialects(beside: Path, separator: str, encoding: str, end: str) -> None:
    text = rows().replace(",", separator).replace("cat\n", "tomcat, big\n" if separator != "," else '"tomcat, big"\n')
    data = opened(beside, text.replace("\n", end).encode(encoding), size=64)
    assert data.classes == ("dog", "tomcat, big")
    assert labels_of(data) == {name: "dog" if name[0] == "d" else "tomcat, big" for name in CATS + DOGS}


@pytest.mark.parametrize(
    ("header", "how"),
    [
        ("file,class", {}),
        ("Image Path,TARGET", {}),
        ("filename,category", {}),
        ("photo,breed", {"path": "photo"}),
        ("photo,breed", {"label": "Breed"}),
        ("img,breed", {}),
        ("photo,label", {}),
        ("label,breed", {"path": "label", "label": "breed"}),
    ],
)
def test_columns_are_named_or_found(beside: Path, header: str, how: dict[str, str]) -> None:
    assert opened(beside, rows(header=header), **how).classes == ("cat", "dog")


def test_an_index_without_a_name_is_a_column(beside: Path) -> None:
    lines = rows().splitlines()
    text = "\n".join([f",{lines[0]}", *(f"{k},{line}" for k, line in enumerate(lines[1:]))])
    assert opened(beside, text).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (("train", "val", "test"), (10, 6, 4)),
        (("Training", "valid", "TEST"), (10, 6, 4)),
        (("train", "dev", "testing"), (10, 6, 4)),
        (("train", "train", "test"), (14, 2, 4)),
        (("train", "validation", "train"), (12, 6, 2)),
    ],
)
def test_splits_are_those_of_the_column(beside: Path, words: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    def word(name: str) -> str:
        return words[0 if int(name[3]) < 5 else 1 if int(name[3]) < 8 else 2]

    text = "path,label,subset\n" + "".join(f"{name},{name[:3]},{word(name)}\n" for name in CATS + DOGS)
    data = opened(beside, text)
    assert tuple(data.size(split) for split in ("train", "val", "test")) == sizes
    assert "split from `subset`" in data.notes[0]


def test_copies_of_an_image_are_in_one_split_or_told(beside: Path) -> None:
    shutil.copy(beside / "cat0.png", beside / "copy.png")
    data = opened(beside, rows(("copy.png", "cat")), size=64)
    places = [split for split, some in data.images.items() for name in some.names if name in ("cat0.png", "copy.png")]
    assert len(places) == 2 and len(set(places)) == 1
    text = rows(("copy.png", "cat", "test"), header="path,label,split", cells=3).replace(",\n", ",train\n")
    assert "1 of the 1 images of `test` are also in `train`" in opened(beside, text).notes


def test_rows_that_repeat_or_are_empty(beside: Path) -> None:
    data = opened(beside, rows(("cat0.png", "cat"), ("", ""), (" dog1.png ", " dog ")) + "\n\n")
    assert sum(data.size(split) for split in ("train", "val", "test")) == 20
    assert data.notes[1:] == ("2 rows of `labels.csv` repeated and used once", "1 empty row of `labels.csv` skipped")


@pytest.mark.parametrize(
    ("cat", "dog", "how", "classes"),
    [
        ("10", "9", {}, ("9", "10")),
        ("0.0", "1.0", {}, ("0", "1")),
        ("-1", "1", {}, ("-1", "1")),
        ("10", "9", {"labels": "text"}, ("10", "9")),
        ("0.5", "9", {"labels": "text"}, ("0.5", "9")),
        ("7", "seven", {"labels": "text"}, ("7", "seven")),
        ("Zebra", "ant", {}, ("Zebra", "ant")),
        ("Straße", "猫", {}, ("Straße", "猫")),
    ],
)
def test_classes_have_an_order(beside: Path, cat: str, dog: str, how: dict[str, str], classes: tuple[str, ...]) -> None:
    text = rows().replace(",cat\n", f",{cat}\n").replace(",dog\n", f",{dog}\n")
    data = opened(beside, text, size=64, **how)
    assert data.classes == classes
    mine = {"cat": str(int(float(cat))) if not how and cat[-1].isdigit() else cat}
    assert labels_of(data)["cat0.png"] == mine["cat"]


def test_paths_are_relative_absolute_or_above(beside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    plain = opened(beside, rows(), size=64)
    other = tmp_path_factory.mktemp("other")
    for text, root in (
        (rows(), str(beside)),
        (rows().replace("\ncat", f"\n{beside}/cat").replace("\ndog", f"\n{beside}/dog"), ""),
        (rows().replace("\ncat", f"\n../{beside.name}/cat").replace("\ndog", f"\n../{beside.name}/dog"), str(other)),
        (rows().replace("\ncat", "\n.\\cat").replace("\ndog", "\n.\\dog"), str(beside)),
        (rows().replace(".png", ""), str(beside)),
    ):
        if f"../{beside.name}" in text and beside.parent != other.parent:
            (other.parent / beside.name).symlink_to(beside)
        where = other if root else beside
        (where / "labels.csv").write_text(text)
        how: dict[str, Any] = {"suffix": ".png"} if ".png" not in text else {}
        method: Any = find("data", "csv")
        data = method("labels.csv", root=root, size=64, batch=4, **how).open(lambda name, where=where: where / name)
        assert data.fingerprint == plain.fingerprint, "the place decides nothing"


def test_links_that_are_listed_are_followed(beside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away") / "cat0.png"
    shutil.move(beside / "cat0.png", away)
    (beside / "cat0.png").symlink_to(away)
    assert "cat0.png" in labels_of(opened(beside, rows(), size=64))


def test_each_file_is_asked_for_once(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(beside, rows())
    asked: list[str] = []
    stat = os.stat

    def counted(path: Any, *args: Any, **more: Any) -> os.stat_result:
        asked.append(os.fspath(path) if not isinstance(path, int) else "")
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", counted)
    opened(beside, rows())
    images = [path for path in asked if path.endswith(".png")]
    assert images and len(images) == len(set(images))


@pytest.mark.parametrize("path", ["a.png", "a/b.png", "a/b/c d.png", "a..png", "a~/b", "ä/é.png"])
def test_a_plain_path_stays_as_it_is(path: str) -> None:
    assert _all_plain([path, "b.png"])
    assert os.path.normpath(f"/data/{path}") == f"/data/{path}"


@pytest.mark.parametrize("path", ["", "./a", "../a", "a/../b", "a//b", "a/", "/a", "~/a", "a\\b", "c:/a", ".", "a/./b"])
def test_any_other_path_is_looked_at_by_itself(path: str) -> None:
    assert not _all_plain(["b.png", path])


def test_the_second_opening_reads_no_image(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(beside, rows(), size=64)
    monkeypatch.setattr("recipelang.images.readers.read_bytes", None)
    assert opened(beside, rows(), size=64).fingerprint == first.fingerprint
    (beside / "two.csv").write_text(rows(header="file,class"))  # another table of the same images has its own memory
    monkeypatch.undo()
    opened(beside, rows(("cat1.png", "cat")), size=64)
    assert opened(beside, rows(), size=64).fingerprint == first.fingerprint


WRONG = [
    ("RCP0852", b"", "is empty"),
    ("RCP0852", b"path,label\n", "has a header and no rows"),
    ("RCP0852", b"path,label\n,\n", "has a header and no rows"),
    ("RCP0852", b"path,path\n1,2\n", "has two columns `path`"),
    ("RCP0852", b"path,,label\n1,2,3\n", "has no name for column 2"),
    ("RCP0852", b"path,label\n\xe4.png,cat\n", "is not UTF-8: line 2"),
    ("RCP0852", b"PK\x03\x04\0\0\0", "contains NUL"),
    ("RCP0852", b'path,label\n"cat0.png,cat\n', "cannot be read from line 2 on"),
    ("RCP0852", rows(("cat0.png", "cat", "3"), ("x",)), "has 2 columns, and 3 cells in line 22 and 1 more lines"),
    ("RCP0852", rows().removeprefix("path,label\n"), "has no header: its first line is `cat0.png,cat`"),
    ("RCP0853", rows(header="a,b"), "has no column that is known to hold the path"),
    ("RCP0853", rows(header="path,class,target", cells=3), "has 2 columns that may be the label: `class`, `target`"),
    ("RCP0853", rows(header="path,fine,coarse", cells=3), "has no column that is known to hold the label"),
    ("RCP0854", rows(("cat0.png", ""), ("cat1.png", "")), "lines 22, 23: no `label`"),
    ("RCP0854", rows(("", "cat")), "line 22: no `path`"),
    (
        "RCP0854",
        rows(("cat0.png", "7"), ("dog0.png", "8")),
        "lines 22, 23: the labels `7`, `8` are numbers",
    ),
    ("RCP0854", rows(("cat0.png", "dog")), "lines 2, 22: `cat0.png` is `cat` and `dog`"),
    ("RCP0854", rows().replace(",cat", ",0.25").replace(",dog", ",3"), "numbers with decimals, as `0.25`"),
    (
        "RCP0854",
        rows(header="path,label,split", cells=3).replace(",\n", ",holdout\n"),
        "lines 2, 3, 4, 5, 6 and 15 more: `holdout` in `split` is not a split",
    ),
    ("RCP0854", rows(header="path,label,split", cells=3).replace(",\n", ",test\n"), "no rows of the split `train`"),
    ("RCP0855", rows(("none.png", "cat")), "a file that `labels.csv` lists is missing (line 22): `none.png`"),
    ("RCP0855", rows(*((f"{k}.png", "cat") for k in range(9))), "9 of the 29 files"),
    ("RCP0855", rows().replace("cat0.png", "https://a.b/cat0.png"), "is an address; nothing is downloaded"),
    ("RCP0804", rows().replace("dog\n", "cat\n"), "`cat` is the only class in the column `label`"),
    ("RCP0808", rows(("other.png", "bird")), "the class `bird` has 1 different image"),
    (
        "RCP0810",
        rows(("other.png", "bird", "test"), header="path,label,split", cells=3).replace(",\n", ",train\n"),
        "the class `bird` of `test` (`labels.csv`, line 22) is not in `train`",
    ),
    ("RCP0805", rows(("labels.csv", "cat")), "the image `labels.csv` cannot be read"),
]


@pytest.mark.parametrize(("code", "text", "words"), WRONG)
def test_what_is_refused(beside: Path, code: str, text: str | bytes, words: str) -> None:
    shutil.copy(beside / "cat0.png", beside / "other.png")
    refusal = refused(beside, text)
    assert refusal.code == code and words in refusal.message, refusal.message


@pytest.mark.parametrize(
    ("text", "how", "help"),
    [
        (rows(header="pth,label"), {"path": "path"}, "did you mean `pth`? the columns are `pth`, `label`"),
        (rows().replace(".png", ""), {}, '`cat0.png` is there: write `suffix=".png"`'),
        (rows().replace("\ncat", "\nmoved/cat"), {}, "paths start at"),
        (rows(header="a,b"), {}, 'write which column: `path="a"`'),
    ],
)
def test_help_says_what_to_write(beside: Path, text: str, how: dict[str, str], help: str) -> None:
    assert help in refused(beside, text, **how).help


def test_files_in_a_folder_beside_the_table(beside: Path) -> None:
    (beside / "inner").mkdir()
    for name in CATS:
        shutil.move(beside / name, beside / "inner" / name)
    assert '`cat0.png` is in the folder `inner`: write `root="…/inner"`' in refused(beside, rows()).help


def test_there_is_no_such_file(beside: Path) -> None:
    assert "does not exist" in refused(beside).message
    (beside / "labels.csv").mkdir()
    assert "is a folder, not a CSV file" in refused(beside).message


CELL = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8).map(str.strip)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CELL.filter(bool), CELL), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_a_table_is_read_as_it_was_written(tmp_path_factory: Any, cells: list[tuple[str, str]], separator: str) -> None:
    """Whatever is in the cells: Python's own writer quotes them, the reader gives them back."""
    file = tmp_path_factory.mktemp("table") / "t.csv"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "label"), *cells])
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    table = read_table(file)
    assert (table.columns, table.rows) == (("path", "label"), tuple(cells))


def test_texts_are_listed_as_paths_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("review,stars,split\ngood,5,train\nbad,1,train\ngood,5,test\n")
    found = list_samples(read_table(tmp_path / "t.csv"), "text", value="", label="stars", split_by="", names="auto")
    assert (found.values, found.classes, found.labels) == (("good", "bad", "good"), ("1", "5"), (1, 0, 1))
    assert found.splits == ("train", "train", "test") and found.lines == (2, 3, 4)

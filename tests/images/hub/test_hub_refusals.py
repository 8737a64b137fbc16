"""Data sets of the library `datasets` that are refused, and with which words; code in them never runs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.syntax.parse import parse

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

from tests.images.hub.made import CLASSES, Opens, images, refused, save, table  # noqa: E402

ClassLabel, Value = datasets.ClassLabel, datasets.Value


def test_scripts_and_other_files_are_never_run(opens: Opens, tmp_path: Path, home: Path) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').write('x')\n"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "theirs.py").write_text(code)
    (tmp_path / "one.py").write_text(code)
    snapshot = home / "hub" / "datasets--ours--set"
    (snapshot / "snapshots" / "main").mkdir(parents=True)
    (snapshot / "snapshots" / "main" / "set.py").write_text(code)
    for where in ("theirs", "one.py", "ours/set"):
        assert refused(opens, where).code == "RCP0860"
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / "train.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert refused(opens, "pickles").code == "RCP0859"
    assert not ran.exists()


def wrong_files(root: Path, case: str) -> None:
    place = root / "photos"
    if case in ("empty", "cut off", "parquet", "card"):
        place.mkdir()
    if case == "cut off":
        table().save_to_disk(place)
        file = next(place.glob("*.arrow"))
        file.write_bytes(file.read_bytes()[:200])
    if case == "parquet":
        (place / "train.parquet").write_bytes(b"PAR1 and nothing else")
    if case == "card":
        save(place / "data", "parquet", train=table())
        (place / "README.md").write_text(
            '---\nconfigs:\n- config_name: a\n  data_files: "https://a.b/c.parquet"\n---\n'
        )
    if case == "gone":
        save(place, "saved", train=table(), test=table(6))
        os.remove(next((place / "test").glob("*.arrow")))
    if case == "subsets":
        save(place, "parquet", train=table())
        configs = "".join(f'- config_name: {name}\n  data_files: "*.parquet"\n' for name in ("fine", "coarse"))
        (place / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    if case == "shards":
        place.mkdir()
        (place / "train.tar").write_bytes(b"")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("empty", "cannot be read as a data set"),
        ("cut off", "the library `datasets` says"),
        ("parquet", "Parquet"),
        ("card", "names files at an address, and nothing is downloaded"),
        ("gone", "the library `datasets` says"),
        ("subsets", "it has several subsets: ['fine', 'coarse']"),
        ("shards", "its files are those of `webdataset`"),
    ],
)
def test_files_that_cannot_be_read(opens: Opens, tmp_path: Path, case: str, words: str) -> None:
    wrong_files(tmp_path, case)
    refusal = refused(opens)
    assert refusal.code == "RCP0859" and words in refusal.message, refusal.message
    if case == "subsets":
        assert 'subset="…"' in refusal.help and opens(subset="fine").size("train") > 0


def bad_bytes() -> list[Any]:
    files: list[Any] = []
    for image in images(30):
        image.save(file := io.BytesIO(), "PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    return files


def test_a_damaged_image_is_named_by_its_row(opens: Opens, tmp_path: Path) -> None:
    files = bad_bytes()
    files[7] = {"bytes": files[7]["bytes"][:60], "path": None}
    kinds = datasets.Features({"image": datasets.Image(decode=False), "label": ClassLabel(names=list(CLASSES))})
    columns = {"image": files, "label": [k % 3 for k in range(30)]}
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(tmp_path / "photos")
    refusal = refused(opens)
    assert refusal.code == "RCP0805" and "the image `train[7]` cannot be read: the file is cut off" in refusal.message
    assert "1 image left out because they cannot be read: `train[7]`" in opens(unreadable="skip").notes
    files[3] = None
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(tmp_path / "none")
    assert "`train[3]`" in refused(opens, "none").message


LISTS = (datasets.List(Value("int64")), [[k % 3] for k in range(30)])
TEXTS = (Value("string"), ["a word"] * 30)
WRONG: list[tuple[str, Callable[[], dict[str, Any]], dict[str, Any], str]] = [
    ("RCP0853", lambda: {"train": table()}, {"image": "imgae"}, "has no column `imgae`"),
    ("RCP0853", lambda: {"train": table()}, {"label": "y"}, "has no column `y`"),
    ("RCP0853", lambda: {"train": table()}, {"val": "valdiation"}, "has no split `valdiation`"),
    ("RCP0853", lambda: {"test": table()}, {}, "has no split `train`, only `test`"),
    ("RCP0853", lambda: {"train": table(), "dev": table(), "val": table()}, {}, "2 splits that may be `val`"),
    ("RCP0853", lambda: {"train": table().remove_columns("image")}, {}, "has no column of images"),
    ("RCP0853", lambda: {"train": table().remove_columns("label")}, {}, "no column that is known to hold the label"),
    ("RCP0853", lambda: {"train": table(other=(datasets.Image(), images(30)))}, {}, "2 columns of images"),
    (
        "RCP0853",
        lambda: {"train": table(fine=(ClassLabel(names=["a", "b"]), [0, 1] * 15)).rename_column("label", "coarse")},
        {},
        "2 columns that may be the label: `coarse`, `fine`",
    ),
    ("RCP0861", lambda: {"train": table(words=TEXTS)}, {"image": "words"}, "does not hold images"),
    ("RCP0861", lambda: {"train": table(boxes=LISTS)}, {"label": "boxes"}, "does not hold the label"),
    ("RCP0861", lambda: {"train": table(label=LISTS[0], labels=LISTS[1])}, {}, "does not hold the label"),
    ("RCP0861", lambda: {"train": table(), "test": table(label=Value("int64"))}, {}, "not the same in `test`"),
    ("RCP0854", lambda: {"train": table(labels=[*[0, 1] * 14, -1, None])}, {}, "train[28], train[29]: no `label`"),
    (
        "RCP0854",
        lambda: {"train": table(label=Value("string"), labels=["a"] * 28 + ["1", "2"])},
        {},
        "train[28], train[29]: the labels `1`, `2` are numbers, the others text",
    ),
    ("RCP0854", lambda: {"train": table(label=Value("float32"), labels=[0.5] * 30)}, {"label": "label"}, "decimals"),
    ("RCP0804", lambda: {"train": table(label=Value("int8"), labels=[1] * 30)}, {}, "the only class"),
    ("RCP0804", lambda: {"train": table(label=ClassLabel(names=["a"]), labels=[0] * 30)}, {}, "has the classes `a`"),
    (
        "RCP0810",
        lambda: {"train": table(labels=[0, 1] * 15), "test": table(6)},
        {},
        "the class `bird` of `test` (`photos`, test[2]) is not in `train`",
    ),
    ("RCP0808", lambda: {"train": table(4, labels=[0, 1, 2, 2])}, {}, "too few"),
]


@pytest.mark.parametrize(("code", "splits", "settings", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_refused(
    opens: Opens, tmp_path: Path, code: str, splits: Callable[[], Any], settings: dict[str, Any], words: str
) -> None:
    save(tmp_path / "photos", "saved", **splits())
    refusal = refused(opens, **settings)
    assert (refusal.code, words in refusal.message) == (code, True), refusal.message


def test_classes_that_no_sample_has_stay_outputs(opens: Opens, tmp_path: Path) -> None:
    save(tmp_path / "photos", "saved", train=table(labels=[0, 1] * 15))
    data = opens()
    assert data.labels.names == CLASSES and "1 of the 3 classes of `photos` have no sample" in data.notes


def test_settings_that_contradict_each_other() -> None:
    for settings, words in (
        ('"a", train="b", test="b"', "`b` is both `train` and `test`"),
        ('"a", tokenizer="b"', "`tokenizer` is for texts"),
        ('"a", text="b"', "texts need a tokenizer"),
        ('"a", text="b", tokenizer="c", size=64', "`size` is for images"),
        ('"a", text="b", tokenizer="c", image="d"', "`image` is for images"),
    ):
        with pytest.raises(RecipeError) as caught:
            check(parse(f"model digits_resnet\ndata huggingface({settings})\ntrain for 1 epoch\n"))
        assert words in str(caught.value)


def test_without_the_library(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.extras.absent", lambda names: [name for name in names if name == "datasets"])
    refusal = refused(opens)
    assert refusal.code == "RCP1027" and "recipelang[hf]" in refusal.help

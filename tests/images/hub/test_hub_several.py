"""Several labels of each row: lists, columns of 0 and 1, names in a text; nested fields are no columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

from recipelang.errors import SettingError  # noqa: E402
from tests.images.hub.made import Opens, refused, save, table  # noqa: E402

ClassLabel, List, Value = datasets.ClassLabel, datasets.List, datasets.Value
NAMES = ("cat", "dog", "bird")
COUNT = 40
HELD = [[k % 3] if k % 4 else sorted({0, (k // 4) % 3}) if k % 8 else [] for k in range(COUNT)]
NAMED = [[NAMES[one] for one in row] for row in HELD]


def written(tmp_path: Path, **columns: Any) -> None:
    save(tmp_path / "photos", "saved", train=table(COUNT, label=Value("int64"), labels=range(COUNT), **columns))


def found(data: Any) -> dict[bytes, tuple[str, ...]]:
    """Image → the names of its labels, of all splits."""
    assert data.target == "labels"
    rows: dict[bytes, tuple[str, ...]] = {}
    for split in ("train", "val", "test"):
        for images, labels in data.batches(split):
            assert labels.dtype == torch.float32
            for image, row in zip(images, labels.tolist(), strict=True):
                rows[image.numpy().tobytes()] = tuple(
                    sorted(name for name, held in zip(data.labels.names, row, strict=True) if held)
                )
    return rows


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "classes": ({"tags": (List(ClassLabel(names=list(NAMES))), HELD)}, {"label": "tags", "labels": "list"}, NAMES),
    "names": ({"tags": (List(Value("string")), NAMED)}, {"label": "tags", "labels": "list"}, ("bird", "cat", "dog")),
    "text": (
        {"tags": (Value("string"), [" ; ".join(row) for row in NAMED])},
        {"label": "tags", "separator": ";"},
        ("bird", "cat", "dog"),
    ),
    "columns": (
        {
            name: (Value(kind), [type_of(k in row) for row in HELD])
            for k, (name, kind, type_of) in enumerate(
                zip(NAMES, ("bool", "int8", "float32"), (bool, int, float), strict=True)
            )
        },
        {"label": NAMES},
        NAMES,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_say_the_same(opens: Opens, tmp_path: Path, form: str) -> None:
    columns, how, names = FORMS[form]
    written(tmp_path, **columns)
    data = opens(**how)
    assert data.labels.names == names
    rows = found(data)
    assert len(rows) == COUNT
    assert sorted(rows.values()) == sorted(tuple(sorted(row)) for row in NAMED)
    assert opens(**how).fingerprint == data.fingerprint != opens(**how, seed=1).fingerprint


def test_the_column_of_lists_is_found_and_what_has_none_is_told(opens: Opens, tmp_path: Path) -> None:
    written(tmp_path, tags=(List(Value("string")), NAMED))
    data = opens(labels="list")
    assert data.notes[0] == "`photos`: image from `image`, label from `tags`"
    assert f"{sum(not row for row in HELD)} rows of `photos` without any label" in data.notes


def test_labels_that_no_sample_has_are_left_out(opens: Opens, tmp_path: Path) -> None:
    written(tmp_path, tags=(List(ClassLabel(names=[*NAMES, "whale"])), HELD))
    data = opens(label="tags", labels="list")
    assert data.labels.names == NAMES
    assert "left out: 1 labels of `photos` that no sample has: `whale`" in data.notes


def test_texts_may_have_several_labels(opens: Opens, tmp_path: Path) -> None:
    from recipelang.images.hub_columns import choose
    from recipelang.images.hub_rows import read_rows, with_texts
    from recipelang.images.hub_sets import HubSet

    rows = datasets.Dataset.from_dict({"review": [f"text {k}" for k in range(COUNT)], "tags": NAMED})
    data = HubSet("reviews", {"train": rows})
    splits = {"train": "", "val": "", "test": ""}
    chosen = choose(data, "text", "review", "tags", splits, "list")
    read = with_texts(data, read_rows(data, chosen, "list", []))
    assert read.classes == ("bird", "cat", "dog") and len(read.values) == COUNT
    assert [sum(row) for row in read.labels] == [len(set(row)) for row in NAMED]


NESTED = List({"box": List(Value("float32")), "category": ClassLabel(names=list(NAMES))})
OBJECTS = [[{"box": [0.0], "category": one} for one in row] for row in HELD]
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "vectors": (
        "RCP0854",
        {"tags": (List(Value("int64")), [[int(k in row) for k in range(3)] for row in HELD])},
        {"label": "tags", "labels": "list"},
        "a list of 0 and 1, in which no label has a name",
    ),
    "no list": ("RCP0861", {}, {"label": "label", "labels": "list"}, "`labels=list` is for lists of"),
    "a list for one class": (
        "RCP0861",
        {"tags": (List(Value("string")), NAMED)},
        {"label": "tags"},
        "write `task multilabel` and `labels=list`",
    ),
    "nothing": (
        "RCP0854",
        {"tags": (List(Value("string")), [None, *NAMED[1:]])},
        {"label": "tags", "labels": "list"},
        "`photos`, train[0]: no `tags`",
    ),
    "other numbers": (
        "RCP0854",
        {"cat": (Value("int64"), range(COUNT)), "dog": (Value("bool"), [True] * COUNT)},
        {"label": ("cat", "dog")},
        "`cat` holds",
    ),
    "a field of a list": (
        "RCP0853",
        {"objects": (NESTED, OBJECTS)},
        {"label": "objects.category"},
        "`objects` has the fields `box`, `category` inside: make a column of what is needed by `dataset.map`",
    ),
    "a field": (
        "RCP0853",
        {"more": ({"kind": Value("string")}, [{"kind": "cat"}] * COUNT)},
        {"label": "more.kind"},
        "`more` has the fields `kind` inside: `dataset.flatten()` makes columns of them",
    ),
    "a nested column": (
        "RCP0861",
        {"more": ({"kind": Value("string")}, [{"kind": "cat"}] * COUNT)},
        {"label": "more"},
        "`dataset.flatten()` makes columns of them",
    ),
    "always": (
        "RCP0870",
        {"tags": (List(Value("string")), [[*row, "animal"] for row in NAMED])},
        {"label": "tags", "labels": "list"},
        "every training sample of the data has the label `animal`",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(opens: Opens, tmp_path: Path, case: str) -> None:
    code, columns, how, words = CASES[case]
    written(tmp_path, **columns)
    refusal = refused(opens, **how)
    assert refusal.code == code and words in f"{refusal.message} {refusal.help}"


@pytest.mark.parametrize(
    "how", [{"label": ("a", "b"), "separator": ";"}, {"separator": ";", "labels": "list"}, {"label": ("a",)}]
)
def test_forms_exclude_each_other(opens: Opens, how: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        opens(**how)

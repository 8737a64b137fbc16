"""Several labels of each sample of a shard: lists in JSON, lines of a text, names in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")

from tests.images.test_shards import Opens, image, opens, refused, write  # noqa: E402, F401

NAMES = ("bird", "cat", "dog")
COUNT = 40
HELD = [[NAMES[k % 3]] if k % 4 else sorted({"cat", NAMES[(k // 4) % 3]}) if k % 8 else [] for k in range(COUNT)]


def written(folder: Path, ext: str, text: Callable[[list[str]], str], **more: str) -> None:
    some = [{"__key__": f"{k:04d}", "png": image(k), ext: text(row), **more} for k, row in enumerate(HELD)]
    write(folder / "train-000.tar", some)


def zeros_and_ones(row: list[str]) -> dict[str, int]:
    return {name: int(name in row) for name in NAMES}


FORMS: dict[str, tuple[str, Callable[[list[str]], str], dict[str, Any]]] = {
    "field": ("json", lambda row: json.dumps({"tags": row, "number": 3}), {"label": "json.tags", "labels": "list"}),
    "found": ("json", lambda row: json.dumps({"labels": row}), {"labels": "list"}),
    "whole": ("json", json.dumps, {"label": "json", "labels": "list"}),
    "lines": ("txt", lambda row: "\n".join(row) + "\n", {"label": "txt", "labels": "list"}),
    "cls": ("cls", "\n".join, {"labels": "list"}),
    "object": ("json", lambda row: json.dumps(zeros_and_ones(row)), {"label": "json", "labels": "list"}),
    "object found": ("json", lambda row: json.dumps(zeros_and_ones(row)), {"labels": "list"}),
    "object in a field": (
        "json",
        lambda row: json.dumps({"held": {name: name in row for name in NAMES}, "number": 3}),
        {"label": "json.held", "labels": "list"},
    ),
    "fields": (
        "json",
        lambda row: json.dumps({**zeros_and_ones(row), "width": 640}),
        {"label": tuple(f"json.{name}" for name in NAMES)},
    ),
    "separated": ("txt", "; ".join, {"label": "txt", "separator": ";"}),
    "in json": ("json", lambda row: json.dumps({"tags": ",".join(row)}), {"label": "json.tags", "separator": ","}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_say_the_same(opens: Opens, tmp_path: Path, form: str) -> None:  # noqa: F811
    ext, text, how = FORMS[form]
    written(tmp_path, ext, text)
    data = opens("train-000.tar", **how)
    assert (data.target, data.labels.names) == ("labels", NAMES)
    rows = [
        sorted(name for name, held in zip(NAMES, row, strict=True) if held)
        for split in ("train", "val", "test")
        for _, targets in data.batches(split)
        for row in targets.tolist()
    ]
    assert sorted(rows) == sorted(HELD)
    assert f"{sum(not row for row in HELD)} samples without any label" in data.notes
    again = opens("train-000.tar", **how)  # from the index that was kept
    assert again.fingerprint == data.fingerprint and again.notes == data.notes


CASES: dict[str, tuple[str, Callable[[list[str]], str], dict[str, Any], str, str]] = {
    "one class": ("json", lambda row: json.dumps({"label": row}), {}, "RCP0864", "`task multilabel` and `labels=list`"),
    "no list": (
        "json",
        lambda row: json.dumps({"tags": 3}),
        {"label": "json.tags", "labels": "list"},
        "RCP0864",
        "int as",
    ),
    "no field": ("json", lambda row: "{}", {"label": "json.tags", "labels": "list"}, "RCP0864", "has no `json.tags`"),
    "other things": (
        "json",
        lambda row: json.dumps({"tags": [row]}),
        {"label": "json.tags", "labels": "list"},
        "RCP0864",
        "of something else than labels",
    ),
    "vectors": (
        "json",
        lambda row: json.dumps([int(name in row) for name in NAMES]),
        {"label": "json", "labels": "list"},
        "RCP0854",
        "a list of 0 and 1, in which no label has a name",
    ),
    "fields beside others": (
        "json",
        lambda row: json.dumps({**zeros_and_ones(row), "width": 640}),
        {"labels": "list"},
        "RCP0864",
        "which is neither 0 nor 1: an object of labels says 0 or 1 of each; of several fields name the "
        'labels: `label=["json.bird", "json.cat", "json.dog"]`',
    ),
    "a field that is missing": (
        "json",
        lambda row: json.dumps(zeros_and_ones(row)),
        {"label": ("json.cat", "json.cow")},
        "RCP0864",
        "has no `json.cow`",
    ),
    "fields of no JSON": (
        "json",
        lambda row: json.dumps(zeros_and_ones(row)),
        {"label": ("cat", "json.dog")},
        "RCP0853",
        '`label=["json.cat", "json.dog"]`',
    ),
    "other fields": (
        "json",
        lambda row: json.dumps(dict(list(zeros_and_ones(row).items())[: 3 if row else 2])),
        {"labels": "list"},
        "RCP0854",
        "0 or 1 of other labels: `dog`",
    ),
    "lists and objects": (
        "json",
        lambda row: json.dumps({"tags": zeros_and_ones(row) if row else row}),
        {"label": "json.tags", "labels": "list"},
        "RCP0854",
        "write all labels the same way",
    ),
    "no separator": ("txt", "; ".join, {"label": "txt", "separator": "|"}, "RCP0854", "contains `|`"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(opens: Opens, tmp_path: Path, case: str) -> None:  # noqa: F811
    ext, text, how, code, words = CASES[case]
    written(tmp_path, ext, text)
    refusal = refused(opens, "train-000.tar", **how)
    assert refusal.code == code and words in f"{refusal.message}: {refusal.help}"


def test_samples_with_a_class_and_samples_with_json(opens: Opens, tmp_path: Path) -> None:  # noqa: F811
    """Which of both holds the label is decided by the first sample, and the message says so."""
    some: list[dict[str, Any]] = [{"__key__": f"{k:04d}", "png": image(k), "cls": str(k % 2)} for k in range(4)]
    some += [{"__key__": "0004", "png": image(4), "json": '{"label": 1}'}]
    write(tmp_path / "train-000.tar", some)
    refusal = refused(opens, "train-000.tar")
    assert refusal.code == "RCP0864" and "`0004`" in refusal.message
    assert "the label of every sample is in `cls`, not of some in `json`" in refusal.help

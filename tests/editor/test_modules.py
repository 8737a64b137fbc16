"""Modules of networks that were built once are known to an editor afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from recipelang import catalogue
from recipelang.editor.documents import Documents
from recipelang.editor.modules import MOST_MODULES, known, model_of, remember
from recipelang.run.building import build
from recipelang.run.options import Options


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "modules"


def model(name: str, **settings: Any) -> Any:
    found: Any = catalogue.find("model", name)
    return found(**settings)


def test_what_a_run_builds_is_known_to_the_editor(tmp_path: Path) -> None:
    network, _ = build(model("digits_resnet"), {}, 0, Options(recipe_dir=tmp_path))
    found = known(model("digits_resnet"), tmp_path / "elsewhere")
    assert found == tuple((path, type(part).__name__) for path, part in network.module.named_modules() if path)
    documents, path = Documents(), tmp_path / "r.rcp"
    documents.texts[path] = 'model digits_resnet\nprune layers in "'
    assert documents.modules_of(path) == found
    documents.texts[path] = 'prune layers in "'
    assert documents.modules_of(path) == found, "the embedded network"
    documents.texts[path] = 'model resnet56\nprune layers in "'
    assert documents.modules_of(path) == ()


def test_a_model_that_names_a_file_is_that_of_its_folder(tmp_path: Path) -> None:
    own = model("resnet20", weights="w.safetensors")
    remember(own, tmp_path, nn.Sequential(nn.Linear(1, 1)))
    assert known(own, tmp_path) == (("0", "Linear"),) and known(own, tmp_path / "other") == ()


def test_what_is_kept_has_a_bound_and_damage_costs_nothing(tmp_path: Path, cache: Path) -> None:
    method = model("resnet20")
    remember(method, tmp_path, nn.Sequential(*(nn.ReLU() for _ in range(MOST_MODULES + 5))))
    (place,) = cache.iterdir()
    assert len(known(method, tmp_path)) == MOST_MODULES
    for damaged in ("", "{", "[]", "{}", json.dumps({"format": "other", "modules": []}), '{"modules": 3}', "[" * 99999):
        place.write_text(damaged)
        assert known(method, tmp_path) == ()
    cache.rename(cache.with_name("gone"))
    cache.write_text("a file where the folder would be")
    remember(method, tmp_path, nn.ReLU())
    assert known(method, tmp_path) == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model resnet56\n", "resnet56"),
        ('model resnet20 as teacher\nmodel resnet32\nprune layers in "', "resnet32"),
        ("model mine\n", "resnet44"),
        ("variant {", "digits_resnet"),
        ("model nothing_here\n", ""),
        ("model\n", ""),
    ],
)
def test_the_model_of_a_recipe(text: str, name: str) -> None:
    assert getattr(model_of(text, {"mine": "resnet44"}), "name", "") == name

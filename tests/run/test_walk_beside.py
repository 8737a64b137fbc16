"""Networks that a training leaves beside the one that it trains: rows of the report, states, entries of the store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from recipelang.surgery.artifact import load

RECIPE = """data digits
model digits_resnet
measure top1, params
distill from self for 2 steps with self(classifiers=3)
"""


TRANSFORMERS = Path(__file__).parent.parent.parent / "benchmarks" / "networks" / "transformers.py"
VISION = f'python("{TRANSFORMERS.as_posix()}:vision", layers=3, width=16)'


@pytest.mark.parametrize("model", ["digits_resnet", VISION], ids=["convolutions", "transformer"])
def test_classifiers_have_rows_networks_and_entries_of_their_own(lab: Any, model: str) -> None:
    recipe, trust = RECIPE.replace("digits_resnet", model), model == VISION
    done = lab.run(recipe, trust=trust)
    assert done.code == 0
    assert done.names == ["healthy", "main", "classifier1", "classifier2"]
    sizes = [done.metric("params", name) for name in ("classifier1", "classifier2", "main")]
    assert sizes[0] < sizes[1] < sizes[2]
    network = load(done.folder / "classifier1", trust=trust)
    assert [edit.kind for edit in network.edits] == ["exit"]
    again = lab.run(recipe, trust=trust)
    assert again.made == 0 and again.weights("classifier2") == done.weights("classifier2")


def test_a_recipe_goes_on_with_one(lab: Any) -> None:
    text = RECIPE + "start from classifier2\nprune 25% filters by magnitude\nfinetune for 1 steps\n"
    done = lab.run(text)
    assert done.code == 0
    assert done.names == ["healthy", "main", "classifier1"]  # the one that it goes on with is `main`
    assert done.metric("params") < lab.run(RECIPE).metric("params", "classifier2")
    assert lab.plan(text).text()


def test_variants_and_seeds_each_have_their_own(lab: Any) -> None:
    done = lab.run(
        "data digits\nmodel digits_resnet\nmeasure params\nseeds 0, 1\n"
        "variant two { train for 1 steps with self(2) }\nvariant three { train for 1 steps with self(3) }\n"
    )
    assert done.names == ["healthy", "two", "three", "two, classifier1", "three, classifier1", "three, classifier2"]
    assert [run["seed"] for run in done.variant("three, classifier2")["runs"]] == [0, 1]


def test_an_entry_that_is_gone_is_made_again(lab: Any, tmp_path: Path) -> None:
    text = RECIPE.replace("2 steps", "1 steps")
    first = lab.run(text, store=tmp_path / "store")
    name = next(
        path.parent for path in (tmp_path / "store" / "store").rglob("surgery.json") if '"exit"' in path.read_text()
    )
    shutil.rmtree(name)
    again = lab.run(text, store=tmp_path / "store")
    assert again.made == 1 and again.weights("classifier1") == first.weights("classifier1")


def test_peers_train_along_and_have_rows(lab: Any) -> None:
    done = lab.run(
        "data digits\nmodel digits_resnet\nmodel digits_lenet as other\nmeasure params\n"
        "distill from other for 2 steps with mutual\n"
    )
    assert done.code == 0
    assert done.names == ["healthy", "main", "peer1"]
    assert done.metric("params", "peer1") != done.metric("params")

"""What is done again and what is not; and the plan says beforehand what the run then does."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

HEAD = "model digits_resnet\ndata digits\nmeasure params\n"
BODY = "train for 1 steps\nprune 1 layers by random\nfinetune for 2 steps\nsparsify nm 2:4\nfinetune for 3 steps\n"

PLAN = {
    "type": "object",
    "required": ["format", "name", "control", "hardware", "work_to_do", "seconds", "steps", "warnings", "problems"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": "recipelang.plan/1"},
        "name": {"type": "string"},
        "control": {"type": "boolean"},
        "hardware": {"type": "string"},
        "work_to_do": {"type": "boolean"},
        "seconds": {"type": "number", "minimum": 0},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "problems": {"type": "array", "items": {"type": "object", "required": ["code", "message", "help", "span"]}},
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["depth", "line", "text", "state", "reason", "details", "seconds", "guess"],
                "additionalProperties": False,
                "properties": {
                    "depth": {"type": "integer", "minimum": 0},
                    "line": {"type": "integer", "minimum": 0},
                    "text": {"type": "string"},
                    "state": {"enum": ["stored", "runs", "fails", "notes", "block"]},
                    "reason": {"type": "string"},
                    "details": {"type": "array", "items": {"type": "string"}},
                    "seconds": {"type": ["number", "null"]},
                    "guess": {"type": "boolean"},
                },
            },
        },
    },
}

RECIPES = {
    "straight": BODY + "control\nexpect params < 0.99\n",
    "variants": "variant a {\n prune 1 layers by random\n}\nvariant b {\n prune 2 layers by random\n}\n"
    "choose by params\nfinetune for 1 steps\n",
    "sweep": "train for 1 steps\nsweep n in 1, 2 {\n prune $n layers by magnitude\n finetune for 1 steps\n}\ncontrol\n",
    "seeds": "train for 1 steps\nseeds 0, 1\nprune 2 layers by random\nfinetune for 1 steps\n",
    "repeat": "repeat while params > 0.8 {\n prune 1 layers by magnitude\n finetune for 1 steps\n}\nsparsify nm 2:4\n",
    "implied": "prune 1 layers by magnitude\nsparsify nm 2:4\ndistill from healthy, recovered\n",
    "teacher": "model resnet20 as teacher\nprune 2 layers by magnitude\ndistill from teacher for 1 steps\n",
    "kept": "keep as x\nprune 1 layers by magnitude\nstart from x\nprune 2 layers by magnitude\n",
    "budget": "prune layers by magnitude until params < 0.7 and flops < 0.8\nrecalibrate on train(samples=64)\n",
}


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES.keys())
def test_the_plan_says_what_the_run_then_does(text: str, apart: Any, lab: Any) -> None:
    empty = apart.plan(HEAD + text)
    jsonschema.validate(json.loads(json.dumps(empty.json())), PLAN)
    assert empty.work_to_do
    assert {row.state for row in empty.rows} <= {"runs", "notes", "block"}
    assert not any(Path(apart.folder).iterdir()), "a plan writes nothing"
    first = lab.run(HEAD + text)
    assert first.code == 0
    after = lab.plan(HEAD + text)
    jsonschema.validate(json.loads(json.dumps(after.json())), PLAN)
    assert not after.work_to_do
    assert {row.state for row in after.rows} <= {"stored", "notes", "block"}
    again = lab.run(HEAD + text)
    assert again.made == 0
    before, now = ([{**v, "runs": None} for v in run.result.report["variants"]] for run in (first, again))
    assert before == now


def test_a_changed_line_reruns_from_that_line_on_and_nothing_above(apart: Any) -> None:
    apart.run(HEAD + BODY)
    changed = HEAD + BODY.replace("finetune for 2 steps", "finetune for 2 steps with sgd(lr=1e-3)")
    plan = apart.plan(changed)
    work = [
        (row.text.split(" with")[0].split(" by")[0], row.state) for row in plan.rows if row.state in ("runs", "stored")
    ]
    assert work == [
        ("model digits_resnet", "stored"),
        ("train for 1 steps", "stored"),
        ("prune 1 layers", "stored"),
        ("finetune for 2 steps", "runs"),
        ("sparsify nm 2:4", "runs"),
        ("finetune for 3 steps", "runs"),
    ]
    reasons = [row.reason for row in plan.rows if row.state == "runs"]
    assert reasons == [
        "`lr` was cosine(start=0.01, to=0), is 0.001",
        "a step above must run",
        "a step above must run",
    ]
    assert apart.run(changed).made == 3


def test_what_decides_nothing_reruns_nothing(apart: Any) -> None:
    variants = "variant {a} {{\n finetune for 1 steps\n}}\nvariant {b} {{\n prune 1 layers by random\n}}\n"
    assert apart.run(HEAD + variants.format(a="a", b="b")).made == 3
    renamed = "# a comment\n" + HEAD.replace("\n", "   # more\n") + variants.format(a="one", b="other")
    assert not apart.plan(renamed).work_to_do
    assert apart.run(renamed).made == 0
    assert apart.run(renamed.replace("measure params", "measure flops, size")).made == 0


def test_another_seed_data_or_model_runs_again_and_says_why(apart: Any, find_row: Any) -> None:
    text = HEAD + "train for 1 steps\nprune 1 layers by random\n"
    apart.run(text)
    seeded = apart.plan(text, seeds=(1,))
    assert find_row(seeded, "prune").reason == "a different seed"
    assert find_row(seeded, "train").state == "stored"
    batched = apart.plan(text.replace("data digits", "data digits(batch=32)"))
    assert find_row(batched, "train").reason == "the data changed"
    assert find_row(apart.plan(text, threads=2), "train").reason == "a different number of threads"
    assert find_row(apart.plan(text, smoke=False), "train").reason == "run with a different `--smoke`"
    assert find_row(apart.plan(text, fresh=True), "model").reason == "`--fresh`"


def test_smoke_results_never_mix_with_real_ones(apart: Any) -> None:
    text = HEAD + "train for 5 steps\n"
    smoke, real = apart.run(text), apart.run(text, smoke=False)
    assert real.made == 1  # the model alone is the same
    assert smoke.weights() != real.weights()
    assert apart.run(text).weights() == smoke.weights()


def test_fresh_makes_each_step_once_and_ends_alike(apart: Any) -> None:
    text = (
        HEAD
        + "train for 1 steps\nvariant a {\n prune 1 layers by random\n}\nvariant b {\n prune 1 layers by random\n}\n"
    )
    first = apart.run(text)
    fresh = apart.run(text, fresh=True)
    assert (first.made, fresh.made) == (3, 3)  # the two variants do the same
    assert first.weights("a") == fresh.weights("b")


def test_what_another_recipe_did_is_found_in_the_store(apart: Any) -> None:
    base = (
        HEAD
        + "train for 1 steps\nvariant a {\n prune 1 layers by random\n}\nvariant b {\n prune 2 layers by random\n}\n"
    )
    files = {"base.rcp": base + "report csv\n"}
    assert apart.run(base).made == 4
    text = 'use "base.rcp"\nchoose by params\nfinetune for 1 steps\n'
    plan = apart.plan(text, files)
    assert [row.text for row in plan.rows if row.state == "runs"] == [
        row.text for row in plan.rows if row.text.startswith("finetune")
    ]
    assert apart.run(text, files).made == 1


def test_equal_steps_of_different_variants_are_done_once(apart: Any) -> None:
    variant = "variant {} {{\n prune 1 layers by random\n finetune for {} steps\n}}\n"
    done = apart.run(HEAD + variant.format("a", 1) + variant.format("b", 1) + variant.format("c", 2))
    assert done.made == 4  # model, prune, two ways to finetune
    assert done.weights("a") == done.weights("b")


def manifests(lab: Any, verb: str) -> list[Path]:
    """The manifests of a verb in the store."""
    found = sorted((lab.folder / "store/store").rglob("manifest.json"))
    return [place for place in found if json.loads(place.read_text())["ingredients"]["verb"] == verb]


def reseal(place: Path, change: Any) -> None:
    """Change a manifest and make its digest fit."""
    said = json.loads(place.read_text())
    change(said)
    place.write_text(json.dumps(said))
    place.with_name("manifest.sha256").write_text(hashlib.sha256(place.read_bytes()).hexdigest())


MEASURED = "model digits_resnet\ndata digits\ntrain for 1 steps\nprune 1 layers by random\nmeasure top1, params\n"


def test_numbers_altered_in_the_store_are_measured_again_and_that_is_said(apart: Any) -> None:
    first = apart.run(MEASURED)
    for place in manifests(apart, "measure"):
        text, count = re.subn(r'"(value|low|high)": [0-9.]+', r'"\1": 0.99', place.read_text())
        assert count == 3
        place.write_text(text)
    second = apart.run(MEASURED)
    assert [v["metrics"] for v in second.result.report["variants"]] == [
        v["metrics"] for v in first.result.report["variants"]
    ]
    said = [line for line in second.said if "is damaged; it is measured again" in line]
    assert len(said) == 4  # two numbers of healthy and of main
    assert any("top1: " in line for line in said)
    assert not [line for line in apart.run(MEASURED).said if "damaged" in line]


def test_a_step_of_a_version_that_stored_words_is_read_with_its_words(apart: Any) -> None:
    apart.run(MEASURED)
    (place,) = manifests(apart, "prune")
    reseal(place, lambda said: said["record"].update(asked="1 layer", reached="1 layer removed"))
    again = apart.run(MEASURED)
    step = again.steps(verb="prune")[0]
    assert (again.made, step["cached"], step["asked"], step["reached"]) == (0, True, "1 layer", "1 layer removed")


def test_an_altered_step_is_done_again_and_the_plan_says_why(apart: Any, find_row: Any) -> None:
    first = apart.run(MEASURED)
    (place,) = manifests(apart, "prune")
    place.write_text(place.read_text().replace('"reached": [', '"reached": [{"value": 9},'))
    plan = apart.plan(MEASURED)
    assert find_row(plan, "prune").reason == "its entry in the store is damaged"
    second = apart.run(MEASURED)
    assert any("is damaged; this step is done again" in line for line in second.said)
    assert second.made == 1
    assert second.steps(verb="prune")[0]["reached"] == first.steps(verb="prune")[0]["reached"]
    assert second.weights() == first.weights()


@pytest.mark.parametrize(
    ("verb", "record"),
    [
        ("measure", {}),
        ("measure", {"value": "0.99", "low": 0, "high": 1}),
        ("measure", {"value": 0.5, "low": 0, "high": 1, "unheard of": 1}),
        ("measure", {"value": None, "low": None, "high": None}),
        ("train", {}),
        ("train", {"content": 3}),
        ("train", {"content": "a", "trained": [3]}),
        ("train", {"content": "a", "ranking": {"a": 1}}),
    ],
)
def test_a_record_that_no_step_and_no_measurement_leaves_is_made_again(apart: Any, verb: str, record: Any) -> None:
    first = apart.run(MEASURED)
    for place in manifests(apart, verb):
        reseal(place, lambda said: said.update(record=record))
    second = apart.run(MEASURED)
    assert second.code == 0
    assert any("is damaged" in line for line in second.said)
    assert second.metric("top1") == first.metric("top1")


def test_entries_of_an_older_form_are_made_again_and_that_is_said(apart: Any) -> None:
    first = apart.run(MEASURED)
    for seal in (apart.folder / "store/store").rglob("manifest.sha256"):
        seal.unlink()
    second = apart.run(MEASURED)
    assert second.made == first.made
    assert sum("an older form" in line and "done again" in line for line in second.said) == first.made
    assert second.weights() == first.weights()

"""Every method of the catalogue fulfils its contract; none is exempt, because the folders are walked."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from recipelang import catalogue, contracts, verbs
from recipelang.catalogue import FOLDERS, PARTS, Setting
from recipelang.errors import Refusal
from recipelang.kinds import offered
from recipelang.plan import canonical
from recipelang.verbs import _contract

ROOT = Path(__file__).parent.parent
METHODS = [(kind, name) for kind in FOLDERS for name in catalogue.names(kind)]
TYPES = {
    "number", "integer", "boolean", "text", "texts", "word", "duration", "time", "bytes", "numbers", "size", "modules",
    "state",
    "method", "any",
}  # fmt: skip
WORK = {
    "model": ("files", "build"),
    "data": ("open", "target"),
    "task": (
        "answer",
        "loss",
        "divergence",
        "labels",
        "score",
        "metrics",
        "target",
        "labelled",
        "gives",
        "form",
        "stand_in",
    ),
    "metric": ("role", "better", "unit", "source"),
    "criterion": ("score", "unit", "needs"),
    "unit": ("find", "aggregate", "edits", "remove", "one", "ranks", "scores", "many"),
    "allocation": ("compares", "prices", "whole"),
    "loss": ("__call__", "points", "parts", "teachers", "complete", "compares", "tasks"),
    "pattern": ("refuses", "mask", "holds", "restriction", "target"),
    "permutation": ("order",),
    "quantizer": (
        *("range", "restriction", "needs", "parts", "bits", "learns"),
        *("begin", "computed", "penalty", "after_step", "finish"),
    ),
    "widths": ("course", "looks", "budget"),
    "rounder": ("round", "unit", "looks_at_data"),
    "hardware": ("bits", "per", "weights", "activations", "signed", "powers", "executes"),
    "sharing": ("values", "bits", "gradient"),
    "encoder": ("encode", "decode"),
    "source": ("samples", "together", "require_network", "make"),
    "optimizer": ("build",),
    "companion": (
        *(
            "leaves",
            "units",
            "excludes",
            "of",
            "require_network",
            "foresee",
            "begin",
            "penalty",
            "before_step",
            "computing",
        ),
        *("before_update", "after_step", "finish"),
    ),
    "schedule": ("target_at", "why_not", "marks"),
    "ramp": ("value_at", "marks"),
    "export": ("write",),
    "kernel": ("executes", "int8"),
    "runtime": ("prepare", "require", "versions", "findings", "devices", "precisions", "compiles", "brief"),
    "report": (),
    "tracker": ("begin", "require", "placed", "networks"),
}
#: what a metric is measured from → the functions that measure it
MEASURES = {
    "structure": ("measure",),
    "clock": ("measure",),
    "execution": ("measure", "runtime", "deployment"),
    "predictions": ("tasks", "start", "add", "result"),
}
FROM_THE_LITERATURE = {
    "criterion",
    "unit",
    "allocation",
    "loss",
    "pattern",
    "permutation",
    "companion",
    "quantizer",
    "widths",
    "rounder",
    "hardware",
    "sharing",
    "encoder",
    "source",
    "schedule",
    "ramp",
    "optimizer",
}
WITHOUT_A_PAPER = {("loss", "task")}  # whatever the task says


def find(kind: str, name: str) -> type:
    found = catalogue.find(kind, name)
    assert found is not None
    return found


def test_every_kind_has_methods() -> None:
    assert [kind for kind in FOLDERS if not catalogue.names(kind)] == []
    assert set(WORK) == set(FOLDERS)


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_method_is_a_frozen_dataclass_that_does_its_work(kind: str, name: str) -> None:
    method = find(kind, name)
    assert dataclasses.is_dataclass(method)
    assert method.__dataclass_params__.frozen  # type: ignore[attr-defined]
    wanted = WORK[kind] + (MEASURES[method.source] if kind == "metric" else ())  # type: ignore[attr-defined]
    if kind == "allocation":  # it knows an order, or has to try
        wanted += ("explore", "decides") if hasattr(method, "explore") else ("order",)
    missing = [need for need in wanted if not hasattr(method, need) and need not in method.__annotations__]
    assert missing == []


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_method_keeps_the_contract_that_a_plug_in_is_held_to(kind: str, name: str) -> None:
    contracts.require(kind, name, find(kind, name))


@pytest.mark.parametrize(("role", "kind"), [(role, kind) for role in PARTS for kind in catalogue.names(role)])
def test_an_edit_or_restriction_keeps_its_contract(role: str, kind: str) -> None:
    contracts.require(role, kind, catalogue.part(role, kind))


@pytest.mark.parametrize("name", verbs.names())
def test_a_verb_keeps_its_contract(name: str) -> None:
    _contract.require(name, verbs.find(name), staged=True)


def test_what_breaks_a_contract_is_named() -> None:
    class Bare:
        kind, name = "criterion", "bare"

        def score(self) -> None: ...

    with pytest.raises(Refusal, match="it has no `unit`; it has no `needs`; its `score.*called as `score.evidence.`"):
        contracts.require("criterion", "bare", Bare)
    with pytest.raises(Refusal, match='not decorated with `@method."loss", "bare".`'):
        contracts.require("loss", "bare", Bare)
    with pytest.raises(Refusal, match="it is not a class"):
        contracts.require("loss", "bare", Bare())


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_card_is_complete(kind: str, name: str) -> None:
    card = catalogue.card(find(kind, name))
    first = card.splitlines()[0]
    assert len(first) <= 120, "the first line of a card is its summary in `recipe list`"
    assert first.endswith("."), "a summary is a sentence"
    if kind in FROM_THE_LITERATURE and (kind, name) not in WITHOUT_A_PAPER:
        assert re.search(r"^\s*Source", card, re.MULTILINE), "a card names its source"


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_every_setting_explains_itself(kind: str, name: str) -> None:
    settings = catalogue.settings(find(kind, name))
    for setting in settings:
        assert setting.type in TYPES
        assert setting.help.strip(), f"`{setting.name}` has no help"
        assert _in_range(setting), f"the default of `{setting.name}` is out of its own range"
        if setting.type == "word":
            assert setting.choices, f"`{setting.name}` is a word without choices"
            assert setting.default in (*setting.choices, dataclasses.MISSING, None)
        if setting.type == "method":
            assert setting.kind in FOLDERS
    assert sum(setting.positional for setting in settings) <= 1


def _in_range(setting: Setting) -> bool:
    value = setting.default
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    above = setting.low is None or (value > setting.low if setting.open_low else value >= setting.low)
    return above and (setting.high is None or value <= setting.high)


def test_where_every_setting_has_a_default_the_method_builds_and_enters_a_key() -> None:
    for kind, name in METHODS:
        method = find(kind, name)
        if all(setting.default is not dataclasses.MISSING for setting in catalogue.settings(method)):
            assert method() == method()
            assert canonical(method()) == canonical(method())


def test_methods_play_the_roles_that_their_kind_knows() -> None:
    assert {find("metric", n).role for n in catalogue.names("metric")} <= {"cost", "quality", "property"}
    assert {find("metric", n).better for n in catalogue.names("metric")} <= {"lower", "higher"}
    sources = {find("metric", n).source for n in catalogue.names("metric")}
    assert sources <= {"structure", "predictions", "clock", "execution"}
    assert {find("criterion", n).unit for n in catalogue.names("criterion")} <= {
        "element",
        "filter",
        "layer",
        "part",
        "any",
    }
    assert all(least <= most for n in catalogue.names("loss") for least, most in [find("loss", n).teachers])


def test_a_method_names_tasks_that_there_are() -> None:
    tasks = {find("task", name).name for name in catalogue.names("task")}  # type: ignore[attr-defined]
    assert set(catalogue.names("task")) == tasks
    targets = {find("task", name).target for name in tasks}  # type: ignore[attr-defined]
    for kind, name in METHODS:
        assert set(getattr(find(kind, name), "tasks", ())) <= tasks, f"{kind} {name}"
    assert {target for name in catalogue.names("data") for target in offered(find("data", name))} <= targets


PAGES = {page.stem for page in (ROOT / "recipelang" / "explanations").glob("*.md")}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    used = {
        node.value
        for file in (ROOT / "recipelang").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and re.fullmatch(r"RCP\d{4}", str(node.value))
    }
    assert sorted(used - PAGES) == [], "a code without a page"
    assert sorted(PAGES - used) == [], "a page without a code"


@pytest.mark.parametrize("code", sorted(PAGES))
def test_a_page_has_its_parts(code: str) -> None:
    text = (ROOT / "recipelang" / "explanations" / f"{code}.md").read_text(encoding="utf-8")
    assert re.match(rf"# {code}: \S", text)
    assert re.search(r"^Wrong:\n\n?```", text, re.MULTILINE)
    assert re.search(r"^Right:\n\n?```", text, re.MULTILINE)
    assert text.count("```") % 2 == 0


def test_a_method_whose_results_changed_says_a_version_which_enters_the_keys_of_its_steps() -> None:
    permute = find("permutation", "permute")
    key = canonical(permute())
    assert key["version"] == 2
    assert canonical(type("Permute", (permute,), {"version": 3})()) == key | {"version": 3}
    assert "version" not in canonical(type("Permute", (permute,), {"version": 1})())
    assert "version" not in canonical(find("metric", "flops")()), "a reading's key has it"

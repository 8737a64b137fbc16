"""Every verb file: its data agrees with its operation, its example is a plan, its words can be explained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest

from recipelang import stages, verbs, vocabulary
from recipelang.check import check
from recipelang.meaning.verb import Verb
from recipelang.plan import Effect, Made, Needs, Operation, canonical, steps_of
from recipelang.syntax.grammar import CLAUSES
from recipelang.syntax.parse import parse

#: what must come before or after an example that is not a whole recipe
AROUND = {
    "keep": "{}\nprune 1 layers by taylor\ndistill from healthy, pruned",
    "model": "{}\ndata digits\ndistill from teacher",
    "data": "model resnet20\n{}",
    "use": "{}",
}


STAGES = Path(stages.__file__).parent


def found(name: str) -> Verb:
    verb = verbs.find(name)
    assert verb is not None
    return verb


@pytest.mark.parametrize("name", verbs.names())
def test_the_operation_bears_the_name_of_its_file(name: str) -> None:
    operation = found(name).operation
    if operation is not None:
        assert operation.verb == name and dataclasses.is_dataclass(operation)
        assert operation.__dataclass_params__.frozen
        assert operation.role in ("setup", "training", "surgery", "execution", "structure", "outcome")


@pytest.mark.parametrize("name", verbs.names())
def test_the_clauses_are_those_of_the_language_each_once(name: str) -> None:
    words = [clause.word for clause in found(name).clauses]
    assert len(set(words)) == len(words) and set(words) <= set(CLAUSES)


@pytest.mark.parametrize("name", verbs.names())
def test_the_example_is_a_plan(name: str) -> None:
    text = AROUND.get(name, "{}").format(found(name).example) if name in AROUND else found(name).example
    base = "sweep n in 1, 2 {\n  prune $n layers by taylor\n}"
    plan = check(parse(text), read={"base.rcp": base}.__getitem__)
    assert name in text and plan.nodes


@pytest.mark.parametrize("name", verbs.names())
def test_every_operation_of_an_example_can_enter_a_key(name: str) -> None:
    text = AROUND.get(name, "{}").format(found(name).example) if name in AROUND else found(name).example
    for step in steps_of(check(parse(text), read=lambda path: "sweep n in 1 { prune $n layers by taylor }").nodes):
        assert isinstance(step.operation, Operation)
        json.dumps(canonical(step.operation))


@pytest.mark.parametrize("name", verbs.names())
def test_a_verb_says_what_a_run_asks_of_it(name: str) -> None:
    text = AROUND.get(name, "{}").format(found(name).example) if name in AROUND else found(name).example
    for step in steps_of(check(parse(text), read=lambda path: "sweep n in 1 { prune $n layers by taylor }").nodes):
        needs, verb = step.operation.needs(), found(step.operation.verb)
        assert isinstance(needs, Needs)
        assert isinstance(needs.writes, get_args(Effect))
        assert bool(needs.restriction) <= verb.restricts, "what a refused statement may leave is what one leaves"
        assert needs.training is None or verb.clause("for") is not None
        made = isinstance(needs.writes, Made)
        assert made == (STAGES / f"{step.operation.verb}.py").is_file(), "a stage for what makes a network, no other"


@pytest.mark.parametrize("name", verbs.names())
def test_explain_says_what_a_verb_takes(name: str) -> None:
    text = vocabulary.explain(name)
    assert text is not None and found(name).summary in text
    assert all(clause.takes in text for clause in found(name).clauses)


def test_explain_knows_methods_codes_and_words_of_the_grammar() -> None:
    assert "momentum" in (vocabulary.explain("sgd") or "")
    assert "RCP0605" in (vocabulary.explain("rcp0605") or "")
    assert "--set" in (vocabulary.explain("let") or "")
    assert vocabulary.explain("nonsense") is None and vocabulary.explain("RCP9999") is None


def test_a_name_of_two_kinds_gets_both_cards() -> None:
    text = vocabulary.explain("task") or ""
    assert "task (verb)" in text and "task (loss" in text


def test_the_catalogue_is_plain_json_and_whole() -> None:
    read = json.loads(json.dumps(vocabulary.catalogue_json()))
    assert [verb["name"] for verb in read["verbs"]] == list(verbs.names())
    magnitude = next(m for m in read["methods"]["criterion"] if m["name"] == "magnitude")
    assert {s["name"] for s in magnitude["settings"]} == {"p"} and not magnitude["settings"][0]["required"]


def test_there_is_no_verb_of_another_name() -> None:
    assert verbs.find("__init__") is None and verbs.find("quantise") is None
    with pytest.raises(KeyError):
        vocabulary.describe("quantise")

"""What comes from outside the recipe: `use`, `--set`, `--model`, `--data`, `--seeds`, `--control`, aliases."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.check import check
from recipelang.errors import Diagnostic, RecipeError, render
from recipelang.plan import Branch, Plan, Step, steps_of
from recipelang.syntax.parse import parse


def plan_of(text: str, **given: Any) -> Plan:
    return check(parse(text, "recipe.rcp"), **given)


def refusals(text: str, **given: Any) -> list[Diagnostic]:
    with pytest.raises(RecipeError) as caught:
        plan_of(text, **given)
    return list(caught.value.diagnostics)


def under(found: Diagnostic) -> tuple[str, str]:
    """What a diagnostic shows of the command line, and the part of it that the caret marks."""
    assert found.span is not None and found.json()["path"] == "<command line>"
    return found.span.typed, found.span.typed[found.span.start : found.span.end]


def texts(plan: Plan) -> list[str]:
    return [step.text for step in steps_of(plan.nodes)]


def files(**contents: str) -> Any:
    """A reader of these files; others do not exist."""

    def read(path: str) -> str:
        if path not in contents:
            raise FileNotFoundError(2, "no such file", path)
        return contents[path]

    return lambda path: read(path.removesuffix(".rcp"))


def test_use_represents_the_statements_of_the_other_file() -> None:
    base = "sweep n in 1, 2 {\n  prune $n layers by taylor\n}\nexport pt2\nreport html"
    plan = plan_of('use "base.rcp"\nchoose by top1\nsparsify nm 2:4', read=files(base=base))
    assert texts(plan)[3:] == [
        *("prune 1 layers by taylor", "prune 2 layers by taylor", "choose by top1", "sparsify nm 2:4 by magnitude")
    ]
    pruned = next(s for s in steps_of(plan.nodes) if s.operation.verb == "prune")
    assert pruned.path == "base.rcp" and pruned.span is not None and pruned.span.line == 2


def test_lets_of_a_used_file_stay_its_own() -> None:
    found = refusals('use "base.rcp"\nfinetune for 1 epochs with $tune', read=files(base="let tune = sgd"))
    assert [(d.code, d.path) for d in found] == [("RCP0206", "recipe.rcp")]


def test_mistakes_of_a_used_file_stand_at_its_own_lines() -> None:
    found = refusals('prune 1 layers by x\nuse "base.rcp"', read=files(base="\nprune 1 layers by tailor"))
    assert [(d.code, d.path, d.span.line if d.span else 0) for d in found] == [
        *(("RCP0202", "recipe.rcp", 1), ("RCP0202", "base.rcp", 2)),
    ]


def test_files_that_use_each_other_are_refused() -> None:
    found = refusals('use "a.rcp"', read=files(a='use "b.rcp"', b='use "a.rcp"'))
    assert [(d.code, d.help) for d in found] == [("RCP0211", "a.rcp → b.rcp → a.rcp")]


def test_a_used_file_that_is_missing_says_so_and_nothing_else() -> None:
    found = refusals('use "base.rcp"\nchoose by top1\ndistill from recovered', read=files())
    assert [d.code for d in found] == ["RCP0211"] and "no such file" in found[0].message


def test_paths_of_nested_files_start_at_their_own_folder() -> None:
    contents = {"sub/a.rcp": 'use "b.rcp"', "sub/b.rcp": "prune 1 layers by taylor"}
    assert texts(plan_of('use "sub/a.rcp"', read=contents.__getitem__))[-1] == "prune 1 layers by taylor"


def test_set_changes_a_let_wherever_it_stands() -> None:
    text = "let lr = 1e-2\nvariant a {\n  let n = 1\n  prune $n layers by taylor for 1 epochs with sgd(lr=$lr)\n}"
    assert texts(plan_of(text, sets={"lr": "cosine(0.5, to=0)", "n": "3"}))[-1] == (
        "prune 3 layers by taylor for 1 epochs with sgd(lr=cosine(0.5, to=0))"
    )


def test_set_of_what_no_let_has_is_refused() -> None:
    found = refusals("let rate = 1e-2\nfinetune for 1 epochs with sgd(lr=$rate)", sets={"rat": "1"})
    assert found[0].code == "RCP0208" and "`rate`" in found[0].help
    assert under(found[0]) == ("--set rat=1", "rat")


@pytest.mark.parametrize("value", ["", "1 +", "{", "sgd(", "1\nprune 2 layers by taylor"])
def test_set_to_what_is_no_value_is_refused(value: str) -> None:
    found = refusals("let rate = 1e-2\nfinetune for 1 epochs with sgd(lr=$rate)", sets={"rate": value})
    assert [d.code for d in found] == ["RCP0301"]


def test_model_and_data_replace_or_supply_the_lines() -> None:
    given = {"model": 'torchvision.resnet18(weights="DEFAULT")', "data": 'folder("photos")'}
    supplied = plan_of("prune 1 layers by taylor", **given)
    replaced = plan_of('model resnet20(weights="a")\ndata digits\nprune 1 layers by taylor', **given)
    assert sorted(texts(supplied)) == sorted(texts(replaced))
    assert 'model torchvision.resnet18(weights="DEFAULT")' in texts(replaced)
    assert not any(step.implied for step in steps_of(supplied.nodes))


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        *(("model", "resnet21", "resnet21"), ("model", "resnet20(depth=3)", "depth"), ("model", "sgd", "sgd")),
        *(("model", "resnet20 as x", "resnet20 as x"), ("model", "resnet20; data digits", "resnet20; data digits")),
        *(("model", "(", "("), ("data", "cifer10", "cifer10"), ("data", "digits(size=x)", "size")),
        ("data", 'folder("photos", split=[80%])', "[80%]"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_shown_there(option: str, value: str, word: str) -> None:
    for text in ("prune 1 layers by taylor", "model resnet20\ndata digits\nprune 1 layers by taylor"):
        found = refusals(text, **{"model": "resnet20", "data": "digits", option: value})
        assert [under(d) for d in found] == [(f"--{option} {value}", word)]


@pytest.mark.parametrize(("value", "word"), [("x", "x"), ("cosine(1, too=0)", "too"), ("5 epochs", "5 epochs")])
def test_a_value_of_the_command_line_is_shown_there_wherever_it_is_used(value: str, word: str) -> None:
    text = "let rate = 1e-2\nfinetune for 1 epochs with sgd(lr=$rate)\nfinetune for 2 epochs with adam(lr=$rate)"
    found = refusals(text, sets={"rate": value})
    assert {under(d) for d in found} == {(f"--set rate={value}", word)}
    assert f"1 | --set rate={value}\n" in render(found[0], text) and "--> <command line>:1:" in render(found[0], text)


def test_one_option_alone_and_a_control_of_nothing_are_shown_on_the_command_line() -> None:
    assert [under(d) for d in refusals("prune 1 layers by taylor", data="digits")] == [("--data digits", "data")]
    assert [under(d) for d in refusals("prune 1 layers by taylor", control=True)] == [("--control", "--control")]


def test_one_of_model_and_data_is_not_enough() -> None:
    assert [d.code for d in refusals("prune 1 layers by taylor", model="resnet20")] == ["RCP0503"]


def test_aliases_stand_for_what_the_profile_says() -> None:
    aliases = {"mine": 'python("nets.py:build", depth=3)', "photos": 'folder("p", size=64)'}
    plan = plan_of("model mine(width=2)\ndata photos\nfinetune for 1 epochs", profile=aliases)
    assert texts(plan)[:2] == ['model python("nets.py:build", depth=3, width=2)', 'data folder("p", size=64)']


def test_an_alias_that_is_wrong_is_blamed_where_it_is_used() -> None:
    found = refusals("model mine\ndata digits", profile={"mine": "resnet20(deep=1)"})
    assert [(d.code, d.span.column if d.span else 0) for d in found] == [("RCP0204", 7)]


def test_seeds_replace_those_of_the_recipe_or_stand_before_what_compresses() -> None:
    replaced = plan_of("seeds 0\nprune 1 layers by random", seeds=(4, 5))
    assert [s.operation.values for s in steps_of(replaced.nodes) if s.operation.verb == "seeds"] == [(4, 5)]
    supplied = plan_of("prune 1 layers by random", seeds=(1, 2))
    verbs = [s.operation.verb for s in steps_of(supplied.nodes)]
    assert verbs == ["data", "model", "train", "seeds", "prune"]
    branch = plan_of("sweep n in 1, 2 {\n  prune $n layers by random\n}", seeds=(1, 2))
    assert isinstance(branch.nodes[-1], Branch) and isinstance(branch.nodes[-2], Step)
    assert branch.nodes[-2].operation.values == (1, 2)


def test_control_of_the_command_line_is_checked_like_the_line() -> None:
    assert plan_of("prune 1 layers by random for 1 epochs", control=True).control
    assert [d.code for d in refusals("prune 1 layers by random", control=True)] == ["RCP0511"]
    assert plan_of("prune 1 layers by random for 1 epochs\nexpect top1 drop(from=control) < 1%", control=True)


def test_the_name_is_the_stem_of_the_file() -> None:
    assert plan_of("finetune for 1 epochs").name == "recipe"
    assert check(parse("finetune for 1 epochs", "<command line>")).name == "oneliner"

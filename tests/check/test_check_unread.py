"""A statement that cannot be read hides no mistake of the others, and is not reported twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.errors import Diagnostic, RecipeError
from recipelang.syntax import nodes
from recipelang.syntax.grammar import scan
from recipelang.syntax.parse import parse, read

ROOT = Path(__file__).parents[2]


def found(text: str, used: str | None = None) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a recipe, and with the file that it uses."""
    recipe, mistakes = read(text, "recipe.rcp")
    try:
        check(recipe, mistakes=mistakes, read=None if used is None else lambda path: used)
    except RecipeError as error:
        return error.diagnostics
    return ()


def recipes() -> list[Path]:
    """Recipes that are right."""
    every = [*(ROOT / "recipes").rglob("*.rcp"), *(ROOT / "tests/cases/examples").glob("*.rcp")]
    return sorted(path for path in every if not found(path.read_text(encoding="utf-8")))


def verbs(block: nodes.Block) -> Iterator[nodes.Name]:
    """The first name of every statement and `let`, at every depth."""
    for item in block.items:
        yield item.name if isinstance(item, nodes.Let) else item.verb
        if isinstance(item, nodes.Statement) and item.block:
            yield from verbs(item.block)


@pytest.mark.parametrize("path", recipes(), ids=lambda p: p.stem)
def test_one_broken_statement_of_a_right_recipe_is_the_only_mistake(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in verbs(parse(text).body):
        broken = f"{text[: name.span.end]} by by {text[name.span.end :]}"
        codes = [d.code for d in found(broken)]
        assert len(codes) == 1 and codes[0].startswith("RCP01"), (name.text, codes)


@pytest.mark.parametrize("path", recipes(), ids=lambda p: p.stem)
def test_a_brace_too_few_or_too_many_is_the_only_mistake(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for at in [word.start for word in scan(text) if word.text in ("{", "}")]:
        codes = {d.code for d in found(text[:at] + text[at + 1 :])}
        assert codes and all(c.startswith("RCP01") for c in codes), codes
    assert [d.code for d in found(text + "\n}\n")] == ["RCP0106"]


def test_there_are_right_recipes_with_blocks() -> None:
    texts = [path.read_text(encoding="utf-8") for path in recipes()]
    assert len(texts) >= 4 and any("variant" in t for t in texts) and any("sweep" in t for t in texts)


def test_mistakes_of_both_sorts_come_in_the_order_of_the_text() -> None:
    text = """\
model resnet20
data cifar10("x") by by
prune layers by taylr until latency < 0.7
let tune = sgd(lr=)
variant a untill b by {
  finetune for 3 epochs with $tune
  prune 1 layers by magnitued for 2 epocs
  prune 1 layers by magnitued
}
choose by top1
distill from nobody with kd(T=0)
sparsify nm 4:2
"""
    said = [(d.code, d.span.line if d.span else 0) for d in found(text)]
    assert said == [
        *(("RCP0112", 2), ("RCP0202", 3), ("RCP0112", 4), ("RCP0112", 5), ("RCP0108", 7), ("RCP0202", 8)),
        *(("RCP0205", 11), ("RCP0303", 11), ("RCP0307", 12)),
    ]


def test_what_a_used_file_has_that_can_be_read_is_checked() -> None:
    base = "keep as early by\nprune 1 layers by tailor"
    said = found('use "base.rcp"\nstart from early\nfinetune for 2 MB', used=base)
    assert [(d.code, d.path) for d in said] == [
        *(("RCP0310", "recipe.rcp"), ("RCP0112", "base.rcp"), ("RCP0202", "base.rcp")),
    ]


def test_a_number_that_is_too_large_takes_its_statement_out() -> None:
    codes = [d.code for d in found("prune 99999999999999999999 layers by tailor\nprune 1 layers by tailor")]
    assert codes == ["RCP0109", "RCP0202"]


def test_a_verb_of_that_name_is_unknown_all_the_same() -> None:
    assert [d.code for d in found("_ x {\n}")] == ["RCP0201"]


def test_a_misspelt_clause_on_a_line_of_its_own_is_distinguished_from_a_verb() -> None:
    unknown = [d for d in found("prune layers by taylor\n  untill latency < 0.7") if d.code == "RCP0201"]
    assert [d.help for d in unknown] == ["write `until` if the statement above continues here"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("prune 1 layers by imprint for for\ndistill from healty", ["RCP0112", "RCP0205"]),  # nothing else says healty
        ("keep as early by\nstart from early", ["RCP0112"]),
        ("kep as early\nstart from early", ["RCP0201"]),
        ("choose by top1\nprune 1 layers by for", ["RCP0507", "RCP0112"]),
        ("variant a by {\n}\nchoose by top1", ["RCP0112"]),
        ("varient a {\n}\nchoose by top1", ["RCP0201"]),
        ("variant a {\n  prune 1 layers by imprint\n}\nchoose bye top1\nfinetune for 1 epoch", ["RCP0404"]),
        ("variant a {\n}\nfinetune for 1 epoch\nprune 1 layers by for", ["RCP0502", "RCP0112"]),
        ("let tune = sgd(\nfinetune for 1 epoch with $tune, kd", ["RCP0105"]),
        ("finetune for 1 epoch with $tune\nprune 1 layers by for", ["RCP0206", "RCP0112"]),
        ("distill from recovered\nprune 1 layers by for", ["RCP0501", "RCP0112"]),
        ("sparsify nm by\ndistill from recovered", ["RCP0112"]),
        ("measure top1 on set5\nfinetune for x epochs", ["RCP0209", "RCP0114"]),
        ("data digits as set5 by\nmeasure top1 on set5", ["RCP0112"]),
        ('use "x.rcp"\nstart from early', ["RCP0211"]),
        ("let tune = sgd(momentun=0.9)\nfinetune for 2 epocs with $tune", ["RCP0204", "RCP0108"]),
        ("keep as a\nkeep as a\nprune 1 layers by for", ["RCP0207", "RCP0112"]),
    ],
)
def test_what_an_unread_statement_cannot_resolve_is_reported_beside_it(text: str, codes: list[str]) -> None:
    assert [d.code for d in found(text)] == codes

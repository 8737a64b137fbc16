"""What verbs say that they accept, for editors, is what their statements hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipelang import catalogue, verbs
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.meaning.verb import SORTS, Verb
from recipelang.syntax import nodes
from recipelang.syntax.parse import parse, read

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.rcp"))
#: sorts whose words are names of the recipe or of the language
SINGULAR = tuple(unit.removesuffix("s") for unit in catalogue.names("unit"))
NAMED = {"state", "split", "name", "value", "modules", "condition"}


def parts(verb: Verb) -> Iterator[tuple[str, Any]]:
    """Everything that says what it accepts: the operands and each clause."""
    yield "", verb
    yield from ((clause.word, clause) for clause in verb.clauses)


@pytest.mark.parametrize("name", verbs.names())
def test_sorts_are_kinds_of_methods_or_known(name: str) -> None:
    verb = verbs.find(name)
    assert verb is not None
    for word, part in parts(verb):
        assert set(part.accepts) <= {*catalogue.FOLDERS, *SORTS}, word
        if word:
            assert part.accepts or part.words, f"`{word}` of `{name}` says nothing of what it accepts"


def texts() -> list[str]:
    examples = [verb.example for name in verbs.names() if (verb := verbs.find(name))]
    return [*(file.read_text(encoding="utf-8") for file in RECIPES), *examples]


def statements(items: tuple[Any, ...]) -> Iterator[nodes.Statement]:
    for item in items:
        if isinstance(item, nodes.Statement):
            yield item
            yield from statements(item.block.items if item.block else ())


def called(node: Any) -> Iterator[str]:
    """The first words of the calls that an item consists of."""
    if isinstance(node, nodes.Call):
        yield node.path[0].text
    for field in ("items", "terms", "factors"):
        for inner in getattr(node, field, ()):
            yield from called(inner)


def test_recipes_hold_what_their_verbs_accept() -> None:
    strange = []
    for statement in (s for text in texts() for s in statements(read(text)[0].body.items)):
        verb = verbs.find(statement.verb.text)
        assert verb is not None
        written = {"": statement.operands, **{c.word.text: c.arguments for c in statement.clauses}}
        for word, part in parts(verb):
            if NAMED & set(part.accepts):
                continue
            for name in (name for node in written.get(word, ()) for name in called(node)):
                kinds = set(catalogue.kinds_of(name)) & set(part.accepts)
                if not kinds and name not in (*part.words, "drop", "rise", *SINGULAR):
                    strange.append(f"{statement.verb.text} … {word} {name}")
    assert strange == []


@pytest.mark.parametrize("name", verbs.names())
def test_verbs_take_the_kinds_that_they_accept(name: str) -> None:
    """No method of an accepted kind is refused as one that does not belong here (RCP0203)."""
    verb = verbs.find(name)
    assert verb is not None
    refused = []
    for word, part in parts(verb):
        for kind in (kind for kind in part.accepts if kind in catalogue.FOLDERS):
            for method in catalogue.names(kind):
                during = " over agp for 3 epochs" if word == "with" and verb.clause("over") else ""
                text = f"{name} {word} {method}{during}" + (" { }" if verb.block else "")
                try:
                    check(parse(text))
                except RecipeError as error:
                    wrong = [d for d in error.diagnostics if d.code == "RCP0203" and f"`{method}`" in d.message]
                    refused += [f"{text}: {d.message}" for d in wrong]
    assert refused == []

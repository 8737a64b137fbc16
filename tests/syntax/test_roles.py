"""Every word of a text has the role that the parser gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.syntax import nodes
from recipelang.syntax.grammar import scan
from recipelang.syntax.parse import parse
from recipelang.syntax.roles import Role, roles

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.rcp"))


def of_role(text: str, *wanted: Role) -> list[str]:
    return [token.text for token, role in roles(text) if role in wanted]


def found(node: object, kind: type) -> list[object]:
    """Every node of a class in a tree."""
    if isinstance(node, tuple):
        return [inner for part in node for inner in found(part, kind)]
    if not hasattr(node, "__dataclass_fields__"):
        return []
    here = [node] if isinstance(node, kind) else []
    return here + [inner for name in node.__dataclass_fields__ for inner in found(getattr(node, name), kind)]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_roles_are_those_of_the_tree(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = parse(text)
    places = {role: {token.start for token, r in roles(text) if r == role} for role in Role}
    assert places[Role.VERB] == {s.verb.span.start for s in found(tree, nodes.Statement)}
    named = [a.name for a in found(tree, nodes.Argument) if a.name]
    assert places[Role.SETTING] == {name.span.start for name in named}
    lets = {item.name.span.start for item in found(tree, nodes.Let)}
    assert places[Role.VARIABLE] == lets | {p.span.start for p in found(tree, nodes.Parameter)}
    assert places[Role.STRING] == {s.span.start for s in found(tree, nodes.String)}
    assert not places[Role.STRAY]


def test_a_line_that_continues_a_statement_has_no_verb() -> None:
    text = (
        "prune layers by l1\n  until latency < 0.7\n  while top1 drop < 1%\ntrain with sgd(\n  lr=1,\n  x)\nkeep as a"
    )
    assert of_role(text, Role.VERB) == ["prune", "train", "keep"]
    assert of_role(text, Role.SETTING) == ["lr"]


def test_a_clause_word_before_an_equals_sign_is_a_setting() -> None:
    assert of_role("sparsify weights to 9% over agp(from=0, to=1)", Role.SETTING) == ["from", "to"]
    assert of_role("sparsify weights to 9% over agp(from=0, to=1)", Role.CLAUSE) == ["to", "over"]


def test_what_is_nothing_of_the_language_is_stray() -> None:
    assert of_role('model x("open\nprune 7days & so', Role.STRAY) == ['"open', "7days", "&"]


@given(st.text(alphabet=st.sampled_from('prune let $x=1.5%by;\n{}()[]"#, \t&é<'), max_size=60))
def test_every_word_of_any_text_has_one_role(text: str) -> None:
    assert [token for token, _ in roles(text)] == list(scan(text))

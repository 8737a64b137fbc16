"""Text to nodes: the shape of the tree and the places of its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.errors import RecipeError, Span
from recipelang.syntax import nodes
from recipelang.syntax.parse import LONGEST, MOST_ERRORS, parse
from recipelang.syntax.show import show, without_spans
from recipelang.units import Quantity

EXAMPLES = sorted((Path(__file__).parents[1] / "cases" / "examples").glob("*.rcp"))


def statement(text: str) -> nodes.Statement:
    (item,) = parse(text).body.items
    assert isinstance(item, nodes.Statement)
    return item


def operand(text: str) -> nodes.Condition:
    (found,) = statement(f"x {text}").operands
    return found


def spans(node: object) -> list[tuple[object, Span]]:
    """Every node below, with its span."""
    found = [(node, node.span)] if hasattr(node, "span") else []
    for name in getattr(node, "__dataclass_fields__", ()):
        value = getattr(node, name)
        for part in value if isinstance(value, tuple) else (value,):
            if type(part).__module__ == nodes.__name__:
                found += spans(part)
    return found


def test_there_are_twenty_examples() -> None:
    assert len(EXAMPLES) == 20


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_parse_and_every_span_is_right(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    recipe = parse(text, str(path))
    assert recipe.text == text and recipe.path == str(path)
    assert len(spans(recipe.body)) > 10
    for node, span in spans(recipe.body):
        assert span.line == text.count("\n", 0, span.start) + 1
        assert span.column == span.start - text.rfind("\n", 0, span.start)
        assert span.end_line == text.count("\n", 0, span.end) + 1
        assert span.end_column == span.end - text.rfind("\n", 0, span.end)
        if isinstance(node, nodes.Name | nodes.Number):
            assert text[span.start : span.end].replace(" ", "") == node.text.replace(" ", "")
        if isinstance(node, nodes.Call | nodes.Words | nodes.Compare) and text[span.start - 3 : span.start] != "as ":
            assert without_spans(operand(text[span.start : span.end])) == without_spans(node)


def test_the_one_liner() -> None:
    recipe = parse("prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered")
    prune, sparsify, distill = recipe.body.items
    assert isinstance(prune, nodes.Statement) and [c.word.text for c in prune.clauses] == ["by", "until"]
    (condition,) = prune.clauses[1].arguments
    assert isinstance(condition, nodes.Compare) and condition.operator == "<"
    assert isinstance(condition.right, nodes.Number) and condition.right.quantity == Quantity(0.7)
    assert isinstance(sparsify, nodes.Statement) and show(sparsify.operands[0]) == "nm 2:4"
    assert isinstance(distill, nodes.Statement) and [show(a) for a in distill.clauses[0].arguments] == [
        "healthy",
        "recovered",
    ]


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("top1", nodes.Call, "top1"),
        ("a.b(c=1, 2)", nodes.Call, "a.b(c=1, 2)"),
        ("agp(from=0, in=1)", nodes.Call, "agp(from=0, in=1)"),
        ("f(1,)", nodes.Call, "f(1)"),
        ("f()", nodes.Call, "f()"),
        ("(a)", nodes.Call, "a"),
        ("2 layers", nodes.Words, "2 layers"),
        ("2:4", nodes.Pattern, "2:4"),
        ("4x4", nodes.Pattern, "4x4"),
        ("0..19", nodes.Range, "0..19"),
        ("70 %", nodes.Number, "70%"),
        ("3epochs", nodes.Number, "3 epochs"),
        ("1 epoch", nodes.Number, "1 epoch"),
        ("1e-3", nodes.Number, "1e-3"),
        ("$x", nodes.Parameter, "$x"),
        ('"a b"', nodes.String, '"a b"'),
        ("a<1", nodes.Compare, "a < 1"),
        ("a drop <= $b", nodes.Compare, "a drop <= $b"),
        ("a<1 and b<2 or c<3", nodes.AnyOf, "a < 1 and b < 2 or c < 3"),
        ("(a or b) and c", nodes.AllOf, "(a or b) and c"),
        ("a and (b and c)", nodes.AllOf, "a and (b and c)"),
        ("((a and b))", nodes.AllOf, "a and b"),
        ("f(l=[1,[2],],)", nodes.Call, "f(l=[1, [2]])"),
    ],
)
def test_operands(text: str, kind: type, shown: str) -> None:
    node = operand(text)
    assert type(node) is kind
    assert show(node) == shown
    assert without_spans(operand(shown)) == without_spans(node)


def test_clause_arguments() -> None:
    found = statement("x with 0.7 * kd(T=4) + 0.3 * task, sgd as teacher in [1, 2] for 3 epochs")
    with_, as_, in_, for_ = found.clauses
    assert [type(a) for a in with_.arguments] == [nodes.Sum, nodes.Call]
    assert (
        isinstance(with_.arguments[0], nodes.Sum) and [type(t) for t in with_.arguments[0].terms] == [nodes.Product] * 2
    )
    assert [type(a) for a in as_.arguments] == [nodes.Call] and show(as_) == "as teacher"
    assert type(in_.arguments[0]) is nodes.List and type(for_.arguments[0]) is nodes.Number


def test_a_bad_budget_among_the_operands_parses_for_the_checker_to_refuse() -> None:
    compare = operand("layers untill latency < 0.7")
    assert isinstance(compare, nodes.Compare) and show(compare.left) == "layers untill latency"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("\n ;; \n# only a comment", 0),
        ("a;b\nc", 3),
        ("a by b\n\n # why\n\n until c < 1\n and d < 2\nb", 2),
        ("a with b\n + c\n * d", 1),
        ("sweep c in a, b\n# why\n{ x $c }", 1),
        ("a {\n}\nb", 2),
        ("a f(\n1,\n\n2 # x\n)", 1),
        ("\ufeffa", 1),
        ("a\r\n  by b\r\nc\r\n", 2),
        ("a # ; b", 1),
        ('a "# ; b"', 1),
        ("a { b; c { d } }", 1),
        ("a {} ; b", 2),
    ],
)
def test_where_statements_end(text: str, count: int) -> None:
    assert len(parse(text).body.items) == count


def test_show_fills_parameters_in() -> None:
    text = "prune $n layers by f(x=$c, $c) until $goal < $n { a $c }"
    assert show(statement(text), {"n": "3", "c": "taylor(p=1)"}) == (
        "prune 3 layers by f(x=taylor(p=1), taylor(p=1)) until $goal < 3 { a taylor(p=1) }"
    )
    assert show(parse("let a=b").body.items[0]) == "let a = b"


def test_show_groups_a_sum_inside_a_product() -> None:
    span = Span(0, 0, 1, 1, 1, 1)
    number, call = operand("0.5"), operand("kd")
    assert show(nodes.Product((number, nodes.Sum((call, call), span)), span)) == "0.5 * (kd + kd)"  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int"):
        show(3)  # type: ignore[arg-type]


def test_limits_are_refusals() -> None:
    cases = [
        ("a " * LONGEST, "RCP0118"),
        ("a (" * 40, "RCP0118"),
        ("a {\n" * 5000 + "}\n" * 5000, "RCP0118"),
        ("a f" + "(f" * 9000, "RCP0118"),
        ("a " + "9" * 5000, "RCP0109"),
        ("a 1..99999999999999999999", "RCP0109"),
        ("a 1e999", "RCP0109"),
        ("a " + "[" * 99, "RCP0114"),
    ]
    for text, code in cases:
        with pytest.raises(RecipeError) as caught:
            parse(text)
        assert caught.value.diagnostics[0].code == code, text[:20]
        assert len(caught.value.diagnostics) == 1
    parse("a " + "(" * 32 + "b" + ")" * 32)
    parse("\n".join(["prune 2 layers by imprint  # why"] * 3000))
    parse("\n" * (LONGEST - 1))


def test_no_more_than_so_many_errors() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("a by\n" * 100)
    assert [d.span.line for d in caught.value.diagnostics if d.span] == list(range(1, MOST_ERRORS + 1))

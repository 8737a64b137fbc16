"""The formatter: pairs of texts, and the laws that hold for every recipe."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.errors import RecipeError, Refusal, Span
from recipelang.syntax import format as formatter
from recipelang.syntax import nodes
from recipelang.syntax.format import format
from recipelang.syntax.grammar import CONTINUING, scan
from recipelang.syntax.parse import parse
from recipelang.syntax.show import show, without_spans
from recipelang.units import parse_quantity

CASES = Path(__file__).parents[1] / "cases"
EXAMPLES = sorted((CASES / "examples").glob("*.rcp"))
LAYOUTS = re.findall(
    r"^=== (.*)\n([\s\S]*?)\n--- becomes\n([\s\S]*?)\n(?=\n===|\Z)", (CASES / "syntax/layout.txt").read_text(), re.M
)


def comments(text: str) -> list[str]:
    """The comments of a text that has no `#` inside quotes."""
    return [line[line.index("#") :].rstrip() for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_are_in_canonical_layout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    formatted = format(text)
    if path.stem == "a_oneliner":
        assert formatted == (
            "prune layers by imprint until latency < 0.7\nsparsify nm 2:4\ndistill from healthy, recovered\n"
        )
    else:
        assert formatted == text
    assert comments(formatted) == comments(text)


@pytest.mark.parametrize(("text", "becomes"), [pair[1:] for pair in LAYOUTS], ids=[pair[0] for pair in LAYOUTS])
def test_layouts(text: str, becomes: str) -> None:
    assert format(text) == becomes + "\n"
    assert format(becomes) == becomes + "\n"


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("", ""),
        ("\n\n ;;\n", ""),
        ("\ufeffa\r\n\r\n\r\n\tby b\r\n", "a\n\n  by b\n"),
        ("a # x   \r\n", "a  # x\n"),
        ("a   b\t c", "a b c\n"),
    ],
)
def test_blanks_and_line_ends(text: str, becomes: str) -> None:
    assert format(text) == becomes
    assert format(becomes) == becomes


def test_a_wrong_recipe_is_refused_with_its_errors() -> None:
    with pytest.raises(RecipeError):
        format("prune layers by")


def test_the_guard_stops_a_formatter_that_loses_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter, "laid_out", lambda lines: "a  # one\n")
    for text in ("b # one", "a # two"):
        with pytest.raises(Refusal) as caught:
            format(text, "first.rcp")
        assert caught.value.code == "RCP0119" and "first.rcp" in caught.value.message


# ── laws, on trees that hypothesis generates ──────────────────────────────────────────────────────────────

AT = Span(0, 0, 1, 1, 1, 1)
WORDS = ("layers", "sgd", "by2", "let_", "_", "untill", "A1", "top1", "x", "drop", "nm")
names = st.sampled_from(WORDS).map(lambda text: nodes.Name(text, AT))
keys = st.sampled_from((*WORDS, "from", "to", "in", "let", "and", "until", "as")).map(lambda text: nodes.Name(text, AT))
numbers = st.sampled_from(
    ("0", "3", "0.7", "70%", "1e-3", "1E+3", "12ms", "3 epochs", "1 epoch", "0.7x", "10MB", "5M", "8 bits")
).map(lambda text: nodes.Number(parse_quantity(text), text, AT))
small = st.integers(0, 10**6)
patterns = st.one_of(
    st.tuples(small, small).map(lambda n: nodes.Pattern(n, ":", AT)),
    st.lists(small, min_size=2, max_size=3).map(lambda n: nodes.Pattern(tuple(n), "x", AT)),
)
ranges = st.tuples(small, small).map(lambda n: nodes.Range(*n, AT))
strings = st.text(st.characters(exclude_characters='"\n', exclude_categories=["Cs"]), max_size=8).map(
    lambda text: nodes.String(text, AT)
)
parameters = st.sampled_from(("n", "for", "goal")).map(lambda name: nodes.Parameter(name, AT))
leaves = st.one_of(numbers, patterns, ranges, strings, parameters)


def calls(inner: st.SearchStrategy[object]) -> st.SearchStrategy[nodes.Call]:
    argument = st.builds(nodes.Argument, st.none() | keys, inner, st.just(AT))
    arguments = st.lists(argument, max_size=3).map(tuple)
    path = st.lists(names, min_size=1, max_size=3).map(tuple)
    return path.flatmap(
        lambda p: st.one_of(
            st.just(nodes.Call(p, (), False, AT)),
            st.builds(nodes.Call, st.just(p), arguments, st.just(True), st.just(AT)),
        )
    )


def several(kind: type, inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, min_size=2, max_size=3).map(lambda items: kind(tuple(items), AT))


def expressions(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    factor = st.one_of(leaves, calls(inner), st.lists(inner, max_size=3).map(lambda i: nodes.List(tuple(i), AT)))
    product = several(nodes.Product, factor)
    return st.one_of(factor, product, several(nodes.Sum, factor | product))


expression = st.recursive(leaves, expressions, max_leaves=6)
word = st.one_of(leaves, calls(expression))
words = word | several(nodes.Words, word)
compare = st.builds(
    nodes.Compare, words, st.sampled_from(("<", "<=", ">", ">=", "==")), expression, st.just(AT), st.just(AT)
)
condition = st.recursive(
    words | compare, lambda inner: several(nodes.AllOf, inner) | several(nodes.AnyOf, inner), max_leaves=4
)
clause = st.one_of(
    st.tuples(
        st.sampled_from(("by", "with", "from", "to", "over", "for", "in", "except", "on")),
        st.lists(expression, min_size=1, max_size=2),
    ),
    st.tuples(st.sampled_from(("until", "while")), st.lists(condition, min_size=1, max_size=1)),
    st.tuples(st.just("as"), st.lists(names.map(lambda n: nodes.Call((n,), (), False, AT)), min_size=1, max_size=1)),
).map(lambda pair: nodes.Clause(nodes.Name(pair[0], AT), tuple(pair[1]), AT))


def items(block: st.SearchStrategy[nodes.Block | None]) -> st.SearchStrategy[object]:
    statement = st.builds(
        nodes.Statement,
        names,
        st.lists(condition, max_size=2).map(tuple),
        st.lists(clause, max_size=3).map(tuple),
        block,
        st.just(AT),
    )
    return statement | st.builds(nodes.Let, names, expression, st.just(AT))


item = st.recursive(
    items(st.none()),
    lambda inner: items(st.lists(inner, max_size=2).map(lambda i: nodes.Block(tuple(i), AT))),
    max_leaves=4,
)


def strewn(text: str, chance: random.Random) -> str:
    """The same recipe with different blanks, line breaks and comments, wherever the language allows them."""
    out, depth, tokens = [], 0, list(scan(text))
    for before, token in zip([None, *tokens], tokens, strict=False):
        depth += token.type in ("LPAR", "LSQB")
        free = depth > (token.type in ("LPAR", "LSQB")) or token.type in CONTINUING
        gap = token.start - before.end if before else 0
        blank = chance.choice(("", " ") if not gap else (" ", "  ", "\t")) if before and before.text != "\n" else ""
        if free and chance.random() < 0.3:
            blank += chance.choice(("\n", "\r\n", " # why\n", "\n\n\n# `x` {\n  "))
        out.append(blank + token.text)
        depth -= token.type in ("RPAR", "RSQB")
    return "".join(out)


@settings(max_examples=150, deadline=None)
@given(st.lists(item, max_size=3), st.integers(0, 1000))
def test_laws(tree: list[nodes.Item], seed: int) -> None:
    text = "\n".join(show(i) for i in tree)
    recipe = parse(text)
    assert without_spans(recipe.body.items) == without_spans(tuple(tree))  # parse ∘ show is the identity on trees
    messy = strewn(text, random.Random(seed))
    assert without_spans(parse(messy)) == without_spans(recipe)  # layout means nothing
    formatted = format(messy)
    assert without_spans(parse(formatted)) == without_spans(recipe)  # neither does formatting
    assert [t.text.rstrip() for t in scan(formatted) if t.type == "COMMENT"] == [
        t.text.rstrip() for t in scan(messy) if t.type == "COMMENT"
    ]
    assert format(formatted) == formatted
    assert not re.search(r"[ \t]+$", formatted, re.M) or any(c in formatted for c in '"#')


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXAMPLES), st.randoms(use_true_random=False))
def test_the_column_of_comments_does_not_depend_on_the_blanks_before_them(path: Path, random: random.Random) -> None:
    text = path.read_text(encoding="utf-8")
    moved = re.sub(r"(?m)(?<=\S) *(?=#)", lambda _: " " * random.randint(0, 40), text)
    assert format(moved) == format(text)
    assert comments(format(moved)) == comments(text)


def test_the_comments_of_a_paragraph_stand_two_blanks_after_its_longest_line_with_one() -> None:
    for path in EXAMPLES:
        for paragraph in format(path.read_text(encoding="utf-8")).split("\n\n"):
            lines = [line.split("#", 1)[0] for line in paragraph.splitlines() if "#" in line]
            codes = [line for line in lines if line.strip()]
            assert len({len(line) for line in codes}) <= 1
            assert not codes or min(len(line) - len(line.rstrip()) for line in codes) == 2


PIECES = (*'ab1.:x"#$;,=<>+*()[]{}\n\r \t-é', " by ", " until ", " and ", "let ", "\nb")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_formatted_or_refused(text: str) -> None:
    try:
        formatted = format(text)
    except RecipeError as error:
        assert error.diagnostics and all(d.message and d.span for d in error.diagnostics)
    else:
        assert format(formatted) == formatted

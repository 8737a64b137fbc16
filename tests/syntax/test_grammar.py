"""The grammar file: conflict-free, strict, small, and ignorant of verbs and methods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import interegular
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, Token, Tree
from lark.exceptions import LexError, UnexpectedInput, UnexpectedToken

from recipelang import paths
from recipelang.errors import Refusal
from recipelang.syntax import lalr, tables
from recipelang.syntax.grammar import CLAUSES, CLOSING, CONTINUING, OPENING, RESERVED, scan
from recipelang.syntax.tables import OPTIONS

TEXT = paths.grammar().read_text(encoding="utf-8")
RECIPES = sorted((Path(__file__).parents[1] / "cases" / "examples").glob("*.rcp"))


class LineEnds:
    """The rule of line ends as lark asks for it: drops those that do not end a statement."""

    always_accept: ClassVar[tuple[str, ...]] = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        open_: list[str] = []
        end: Token | None = None
        for token in stream:
            if token == "\n" and token.type == "_END":
                end = token if not open_ or open_[-1] == "LBRACE" else None
                continue
            if end is not None and token.type not in CONTINUING:
                yield end
            end = None
            if token.type in OPENING:
                open_.append(token.type)
            elif token.type in CLOSING and open_:
                open_.pop()
            yield token
        if end is not None:
            yield end


@cache
def parser() -> Lark:
    """lark's own parser of the grammar: what the stored tables are compared with."""
    return Lark(TEXT, postlex=LineEnds(), **OPTIONS)


def test_strict_build_finds_no_conflict_and_no_collision() -> None:
    strict = Lark(TEXT, strict=True, postlex=LineEnds(), **OPTIONS)
    assert {t.name for t in strict.terminals} == {t.name for t in parser().terminals}


def test_strict_mode_skips_no_terminal() -> None:
    """Lark silently leaves out of its collision check what interegular cannot read."""
    skipped = []
    for terminal in parser().terminals:
        try:
            interegular.parse_pattern(terminal.pattern.to_regexp()).to_fsm()
        except Exception as error:
            skipped.append((terminal.name, str(error)))
    assert not skipped


def test_a_collision_would_be_found() -> None:
    with pytest.raises(LexError, match="Collision"):
        Lark(TEXT + "\nOTHER: /[a-z]+x/\n%extend _word: OTHER\n", strict=True, postlex=LineEnds(), **OPTIONS)


def test_under_thirty_rules_and_no_verb_or_method_among_the_words() -> None:
    rules = {rule.origin.name for rule in parser().rules if not rule.origin.name.startswith("__")}
    assert len(rules) < 30
    words = {m for t in parser().terminals for m in re.findall(r"^[a-z]+", t.pattern.value)}
    assert words == set(RESERVED)


def test_every_keyword_has_a_word_boundary() -> None:
    for word in RESERVED:
        assert [t.type for t in scan(f"{word}s {word}_ {word}1 {word}")] == ["NAME"] * 3 + [word.upper()]


def test_clause_words_and_continuing_words_are_those_of_the_grammar() -> None:
    of_grammar = {
        s.name for r in parser().rules if r.origin.name in ("clause", "_list_word") for s in r.expansion if s.is_term
    }
    assert of_grammar - {"COMMA", "NAME"} == {word.upper() for word in CLAUSES}
    assert {word.upper() for word in CLAUSES} | {"AND", "OR", "PLUS", "STAR", "LBRACE"} == CONTINUING


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("2:4", "PATTERN"),
        ("4x4", "PATTERN"),
        ("1x1x3", "PATTERN"),
        ("0..19", "RANGE"),
        ("0.7x", "NUMBER"),
        ("70 %", "NUMBER"),
        ("1e-3", "NUMBER"),
        ("3 epochs", "NUMBER"),
        ("3epochs", "NUMBER"),
        ("12ms", "NUMBER"),
        ("3 epocs", "NUMBER NAME"),
        ("2 layers", "NUMBER NAME"),
        ("3 epochswith", "NUMBER NAME"),
        ("1 min x", "NUMBER NAME"),
        ("2:4layers", "STRAY"),
        ("10Mb", "STRAY"),
        ("0.7.3", "STRAY"),
        ("1.", "STRAY"),
        ("2:4:8", "STRAY"),
        ("4x", "NUMBER"),
        ("\u0663", "STRAY"),
        ('"a#b;c" # "d', "STRING COMMENT"),
        ('"open', "STRAY"),
        ("$for", "PARAMETER"),
        ("<= = ==", "COMPARE EQUAL COMPARE"),
        ("a\r\nb", "NAME _END NAME"),
        ("a\rb", "NAME STRAY NAME"),
        ("# prune\rx", "COMMENT"),
    ],
)
def test_words(text: str, types: str) -> None:
    assert " ".join(token.type for token in scan(text)) == types


def test_scan_covers_every_character() -> None:
    text = "".join(map(chr, range(1, 1200))) + '"\n\u2028'
    seen = set()
    for token in scan(text):
        assert text[token.start : token.end] == token.text
        seen |= set(range(token.start, token.end))
    assert {text[i] for i in set(range(len(text))) - seen} <= set(" \t\r")


def test_grammar_is_where_paths_says(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    paths.folder.cache_clear()
    assert paths.grammar().name == "recipe.lark" and paths.grammar().is_file()
    with pytest.raises(Refusal, match="without its folder `nonsense`") as refused:
        paths.folder("nonsense")
    assert refused.value.code == "RCP1265" and "pip install" in refused.value.help


def by_lark(tree: Tree[Token] | Token) -> object:
    """What lark read, with places: words as they are, of a tree its name, place and children; of a file no place."""
    if isinstance(tree, Token):
        return tree.type, str(tree), tree.start_pos, tree.line, tree.column
    meta, named = tree.meta, tree.data != "recipe"
    place = (meta.start_pos, meta.end_pos, meta.line, meta.end_column) if named and not meta.empty else None
    return str(tree.data), place, [by_lark(child) for child in tree.children]


def by_tables(tree: lalr.Parsed) -> object:
    if not isinstance(tree, lalr.Tree):
        return tree.type, tree.text, tree.start, tree.line, tree.column
    named = tree.data != "recipe" and tree.first is not None
    place = (tree.span.start, tree.span.end, tree.span.line, tree.span.end_column) if named else None
    return tree.data, place, [by_tables(child) for child in tree.children]


def outcome(text: str) -> tuple[object, object]:
    """What both read: the tree, or where each stops and what it would accept there."""
    found: list[object] = []
    try:
        found.append(by_lark(parser().parse(text)))
    except UnexpectedToken as error:
        place = len(text) if error.token.type == "$END" else error.token.start_pos
        found.append((place, frozenset(error.accepts or error.expected) - {"$END"}))
    except UnexpectedInput as error:
        found.append((error.pos_in_stream, frozenset()))
    try:
        found.append(by_tables(lalr.tree_of(text)))
    except lalr.Unexpected as error:
        found.append((error.word.start, error.accepts - {"$END"}))
    return found[0], found[1]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_trees_and_their_places_are_those_of_lark(path: Path) -> None:
    theirs, ours = outcome(path.read_text(encoding="utf-8"))
    assert theirs == ours


WORDS = 'a f prune by until with for as let ( ) [ ] { } , ; + * = < and or . 0.7 2:4 0..9 $p "s" # ? 10Mb'


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from([*WORDS.split(), "\n", "prune a by f(x=1)", "(a < 1 and b < 2)", "let x = 1"]), max_size=14
    )
)
def test_any_words_are_read_or_refused_as_lark_does(words: list[str]) -> None:
    theirs, ours = outcome(" ".join(words))
    assert theirs == ours


def test_stored_tables_are_those_of_the_grammar() -> None:
    """After a change of the grammar: `python -m recipelang.syntax.tables`."""
    assert paths.tables().read_text(encoding="utf-8") == tables.serialized()


def test_tables_of_another_grammar_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = json.loads(paths.tables().read_text(encoding="utf-8"))
    (tmp_path / "tables.json").write_text(json.dumps({**stored, "grammar": "", "states": []}))
    monkeypatch.setattr(paths, "tables", lambda: tmp_path / "tables.json")
    assert tables.tables.__wrapped__() == tables.tables()

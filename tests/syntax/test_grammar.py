"""The grammar file: conflict-free, strict, small, and ignorant of verbs and methods."""

from __future__ import annotations

import json
import re
from pathlib import Path

import interegular
import pytest
from lark import Lark

from recipelang import paths
from recipelang.syntax import grammar
from recipelang.syntax.grammar import CLAUSES, CONTINUING, OPTIONS, RESERVED, LineEnds, parser, scan

TEXT = paths.grammar().read_text(encoding="utf-8")


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
    from lark.exceptions import LexError

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
    with pytest.raises(FileNotFoundError, match="nonsense"):
        paths.folder("nonsense")


def test_parser_is_loaded_once() -> None:
    assert grammar.parser() is grammar.parser()


def test_stored_tables_are_those_of_the_grammar() -> None:
    """After a change of the grammar: `python -m recipelang.syntax.grammar`."""
    stored, fresh = json.loads(paths.tables().read_text(encoding="utf-8")), json.loads(grammar.serialized())
    assert stored["of"] == fresh["of"] and stored["data"]["options"] == fresh["data"]["options"]
    built = grammar.build()
    words, again = ([(t.name, t.pattern.to_regexp(), t.priority) for t in p.terminals] for p in (built, parser()))
    assert words == again
    assert [str(rule) for rule in built.rules] == [str(rule) for rule in parser().rules]
    for path in sorted((Path(__file__).parents[1] / "cases" / "examples").glob("*.rcp")):
        text = path.read_text(encoding="utf-8")
        assert built.parse(text) == parser().parse(text)


def test_tables_of_another_grammar_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "_identity", lambda: ["0.0", ""])
    built = grammar.parser.__wrapped__()
    assert built is not parser() and len(built.rules) == len(parser().rules)
    text = "variant a { prune 2 layers by f(x=1) until a < 1 }"
    assert built.parse(text) == parser().parse(text)

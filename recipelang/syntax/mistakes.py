"""From the place where reading stopped to a message that a person can use.

`explain` asks one function after another, the most certain first; each recognizes one mistake. This file holds those
about the order of words, brackets.py and misspellings.py the others. None of the parser's own terms reach the user.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from recipelang.errors import Diagnostic
from recipelang.syntax import brackets, misspellings, nodes
from recipelang.syntax.grammar import CLAUSES, DEEPEST
from recipelang.syntax.lalr import TooDeep, Unexpected
from recipelang.syntax.place import RESERVED_TYPES, Mistake, Place, place_of, unfinished

#: what a clause looks like
EXAMPLES = {
    "by": "by taylor", "with": "with sgd(lr=1e-3)", "from": "from healthy", "to": "to 80%",
    "until": "until latency < 0.7", "while": "while top1 drop < 1%", "over": "over 5 rounds",
    "for": "for 3 epochs", "in": 'in "layer3.*"', "except": 'except "fc"', "on": "on val", "as": "as teacher",
    "and": "latency < 0.7 and size < 10MB", "or": "latency < 0.7 or size < 10MB", "let": "let tune = sgd(lr=1e-3)",
    "+": "kd + task", "*": "0.7 * kd", "=": "lr=0.1", ".": "layers.latency",
}  # fmt: skip
#: terminal → what a user calls it
WORDS = {
    "NAME": "a name", "NUMBER": "a number", "STRING": "quoted text", "COMPARE": "a comparison (`<`, `>`, …)",
    "COMMA": "`,`", "LPAR": "`(`", "RPAR": "`)`", "LSQB": "`[`", "RSQB": "`]`", "LBRACE": "`{`", "RBRACE": "`}`",
    "PLUS": "`+`", "STAR": "`*`", "EQUAL": "`=`", "DOT": "`.`", "AND": "`and`", "OR": "`or`",
    "_END": "the end of the statement",
}  # fmt: skip
VALUES = ("NAME", "NUMBER", "PATTERN", "RANGE", "STRING", "PARAMETER", "LSQB")


def explain(text: str, error: Unexpected, path: str = "") -> tuple[Diagnostic, str]:
    """An error of the parser as a diagnostic, and the text with the broken statement left out.

    Args:
        text: what was read.
        error: what the parser raised.
        path: where the text came from.
    """
    place = place_of(text, error)
    if isinstance(error, TooDeep):
        what = f"brackets are nested more than {DEEPEST} deep here"
        whole = ((0, len(text)),)  # whatever else would be found follows from this
        mistake = Mistake("RCP0118", what, "remove some of them", place.word.span, whole)
    else:
        mistake = next(m for know in KNOWN if (m := know(place)))
    diagnostic = Diagnostic(mistake.code, mistake.message, mistake.span, mistake.help, path)
    return diagnostic, _blanked(place, mistake.blank)


def _blanked(place: Place, stretches: tuple[tuple[int, int], ...]) -> str:
    """The text with spaces in place of what cannot be read; a block keeps a head, so that its content is read."""
    text = place.text
    start, end = place.broken()
    if not text[start:end].strip():
        start, end = place.word.start, place.word.end
    for a, b in stretches or ((start, end),):
        a = b - len(text[a:b].lstrip())
        head = nodes.UNREADABLE if a < b and text[b : b + 1] == "{" else ""
        text = text[:a] + head + "".join(c if c == "\n" else " " for c in text[a + len(head) : b]) + text[b:]
    return text


# ── the order of words ──────────────────────────────────────────────────────────────────────────────────


def comma_before_clause(place: Place) -> Mistake | None:
    """`by imprint, until …`: clauses are not separated."""
    before, word = place.before, place.word
    if not (before and before.type == "COMMA" and (word.type in RESERVED_TYPES - {"LET"} or word.type == "LBRACE")):
        return None
    if place.inside in ("LPAR", "LSQB"):
        return None
    kind = "the clause" if word.text in CLAUSES else ""
    what = " ".join(f"there is a comma before {kind} `{word.text}`".split())
    return Mistake("RCP0102", what, "remove the comma: clauses are not separated by commas", word.span)


def nothing_follows(place: Place) -> Mistake | None:
    """A clause word, comma or sign with nothing after it."""
    before, word = place.before, place.word
    if not before or not unfinished(before) or word.type in ("STRAY", *VALUES) or word.type == "LPAR":
        return None
    if before.type == "COMMA":
        if word.type == "COMMA":
            return Mistake("RCP0112", "there are two commas in a row", "remove one", word.span)
        help_ = "remove the comma, or go on after it; lines may break before a clause word and inside `( )` and `[ ]`"
        return Mistake("RCP0112", "nothing follows this comma", help_, before.span)
    example = EXAMPLES.get(before.text, "latency < 0.7")
    what = f"nothing follows `{before.text}`"
    if before.text in CLAUSES and place.statement[0].text in ("variant", "sweep", "keep"):
        return Mistake("RCP0112", what, f"write, for example, `{example}`; a clause word cannot be a name", before.span)
    return Mistake("RCP0112", what, f"write, for example, `{example}`", before.span)


def no_verb(place: Place) -> Mistake | None:
    """A statement that does not begin with a verb."""
    word = place.word
    if place.before is not None or word.type in ("$END", "RBRACE", "STRAY"):
        return None
    if word.type == "LBRACE":
        matching = brackets.matching_brace(place)
        help_ = "write what it belongs to before it: `variant NAME {`, `sweep NAME in … {`, `repeat …{`"
        return Mistake("RCP0111", "this block belongs to no statement", help_, word.span, matching)
    if word.text in CLAUSES or word.text in ("and", "or"):
        what = f"a statement begins with a verb, and `{word.text}` is not one"
        help_ = f"put `{word.text} …` after the statement it belongs to"
        return Mistake("RCP0111", what, help_, word.span)
    help_ = "begin with what to do: `prune`, `finetune`, `measure`, …"
    return Mistake("RCP0111", f"a statement begins with a verb, and `{word.text}` is not one", help_, word.span)


def verb_with_settings(place: Place) -> Mistake | None:
    """`sgd(lr=0.1)` as a statement."""
    words = place.statement
    if place.word.type != "EQUAL" or len(words) < 2 or words[1] not in place.open[-1:]:
        return None
    what = f"`{words[0].text}` begins a statement, and a verb has no settings"
    return Mistake("RCP0111", what, f"begin with what to do: `finetune with {words[0].text}(…)`", words[0].span)


def after_block(place: Place) -> Mistake | None:
    """Something on the same line after `}`."""
    word = place.word
    if not (place.before and place.before.type == "RBRACE") or word.type == "$END":
        return None
    if word.text in CLAUSES:
        help_ = f"put `{word.text} …` before the `{{`"
        return Mistake("RCP0115", f"the clause `{word.text}` follows a block", help_, word.span)
    return Mistake("RCP0115", f"`{word.text}` follows a block", "begin a new line after `}`", word.span)


def let_without_value(place: Place) -> Mistake | None:
    """`let tune sgd`, `let tune`, `let 3 = x`."""
    if not place.statement or place.statement[0].type != "LET":
        return None
    words = [w for w in place.statement if w.text != "\n"]
    if len(words) < 3:
        name = words[1].text if len(words) == 2 else "NAME"
        value = place.word.text if len(words) == 2 and place.word.type in VALUES else "…"
        value += "(…)" if place.after.type == "LPAR" else ""
        span = words[0].span if place.ends else place.word.span
        return Mistake("RCP0112", "`let` gives a name a value", f"write `let {name} = {value}`", span)
    if place.word.text in CLAUSES or place.word.type == "COMPARE" or place.word.type == "LBRACE":
        what = f"`let` names one value, and `{place.word.text}` is not part of it"
        return Mistake("RCP0117", what, "name only the ingredient: `let tune = sgd(lr=1e-3)`", place.word.span)
    return None


# ── comparisons and lists ───────────────────────────────────────────────────────────────────────────────


def equals(place: Place) -> Mistake | None:
    """`=` where a comparison is meant, and the reverse."""
    word = place.word
    if word.type == "EQUAL" and place.after.type == "COMPARE" and word.touches(place.after):
        return None  # `=<` is another mistake
    if word.type == "EQUAL" and place.inside != "LPAR":
        name = _side(place)
        value = place.after.text.strip() if place.after.type in VALUES else "…"
        if len(place.statement) == 1:
            return Mistake("RCP0103", "`=` gives a setting a value", f"write `let {name} = {value}`", word.span)
        if place.statement and place.statement[0].text == "sweep":
            what, help_ = (
                "`=` gives a setting one value, and `sweep` takes several",
                f"write `sweep {name} in {value} {{`",
            )
            return Mistake("RCP0103", what, help_, word.span)
        if place.clause and place.clause not in ("until", "while"):
            help_ = f"settings go in parentheses after a name: `NAME({name}={value})`"
            return Mistake("RCP0103", "`=` gives a setting a value", help_, word.span)
        return Mistake("RCP0103", "`=` gives a setting a value", f"a budget compares: `{name} < {value}`", word.span)
    if word.type == "COMPARE" and place.inside == "LPAR" and "EQUAL" in place.accepts:
        what = f"`{word.text}` compares, and a setting is given a value"
        return Mistake("RCP0103", what, f"write `=` instead of `{word.text}`", word.span)
    return None


def _side(place: Place) -> str:
    """The words on the left of a comparison."""
    words = list(takewhile(lambda w: w.type in ("NAME", "DOT", "PARAMETER"), reversed(place.statement)))
    if len(words) == len(place.statement) > 1:
        words.pop()  # the verb
    return place.text[words[-1].start : words[0].end] if words else "x"


def comparisons(place: Place) -> Mistake | None:
    """Chained comparisons, commas between conditions, comparisons where none is allowed."""
    word = place.word
    conditional = place.clause in ("until", "while")
    if word.type == "COMMA" and conditional and place.inside not in ("LPAR", "LSQB"):
        return Mistake("RCP0113", "a comma does not join conditions", "write `and` instead", word.span)
    if word.type == "COMPARE":
        if any(w.type == "COMPARE" for w in place.statement):
            return Mistake("RCP0113", "a comparison has two sides", "join two comparisons with `and`", word.span)
        what = f"`{place.clause}` takes no comparison" if place.clause else "no comparison is expected here"
        help_ = "conditions follow `until`, `while` and `expect`"
        if place.clause in ("from", "on", "by", "over"):
            help_ += f"; a setting goes in parentheses: `drop({place.clause}=…)`"
        return Mistake("RCP0113", what, help_, word.span)
    if word.type in ("AND", "OR") and place.clause and not conditional:
        what = f"`{word.text}` joins conditions, and `{place.clause}` takes a list"
        return Mistake("RCP0113", what, "write a comma instead", word.span)
    return None


def side_by_side(place: Place) -> Mistake | None:
    """Two things side by side where something is missing between them."""
    before, word = place.before, place.word
    if before is None or word.type not in (*VALUES, "LPAR") or unfinished(before):
        return None
    what = f"`{word.text}` cannot follow `{before.text}`"
    if place.inside == "LSQB" or (place.after.type == "EQUAL" and place.inside == "LPAR"):
        help_ = f"write a comma before `{word.text}`"
    elif place.after.type == "EQUAL":
        help_ = f"settings go in parentheses: `{before.text}({word.text}=…)`"
    elif place.inside == "LPAR":
        help_ = f"write `{before.text}={word.text}` for a setting, or a comma between two"
    elif place.clause == "with" and before.type == "NUMBER":
        help_ = f"write `{before.text} * {word.text}`"
    elif word.type == "LSQB":
        help_ = "write the items without brackets, with commas between them"
    elif place.clause and not _comparison_follows(place):
        help_ = f"write a comma between two items of `{place.clause}`, or a clause word before `{word.text}`"
    else:
        help_ = f"write a clause word before it: `until {word.text} …`, `while {word.text} …`"
    return Mistake("RCP0114", what, help_, word.span)


def _comparison_follows(place: Place) -> bool:
    start, end = place.word.start, place.broken()[1]
    return any(w.type == "COMPARE" for w in place.words if start <= w.start < end)


def anything_else(place: Place) -> Mistake:
    """What no other function recognizes: say what was expected here."""
    word = place.word
    what = f"`{word.text}` is not allowed here"
    if word.type in ("_END", "$END") and word.text != ";":
        what = "the statement ends too early"
    expected = [said for terminal, said in WORDS.items() if terminal in place.accepts]
    if place.accepts & {clause.upper() for clause in CLAUSES}:
        expected.append("a clause")
    help_ = f"expected here: {', '.join(expected)}" if expected else "a statement is: verb, operands, clauses, block"
    return Mistake("RCP0117", what, help_, (place.before.span if place.ends and place.before else word.span))


KNOWN: tuple[Callable[[Place], Mistake | None], ...] = (
    misspellings.quotes,
    misspellings.microseconds,
    misspellings.names,
    brackets.unclosed,
    brackets.stray,
    after_block,
    misspellings.selectors,
    misspellings.numbers,
    verb_with_settings,
    equals,
    misspellings.signs,
    misspellings.characters,
    comma_before_clause,
    let_without_value,
    no_verb,
    nothing_follows,
    misspellings.units,
    misspellings.clause_words,
    comparisons,
    side_by_side,
    anything_else,
)

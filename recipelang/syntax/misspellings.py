"""Mistakes inside a word: characters, quotes, numbers, units, names, unquoted selectors and paths.

Every function looks at the place where reading stopped and names the mistake if it is the one it knows.
"""

from __future__ import annotations

import re
import unicodedata

from recipelang.errors import Span
from recipelang.syntax.grammar import CLAUSES
from recipelang.syntax.place import RESERVED_TYPES, Mistake, Place, resembles
from recipelang.units import SINGULAR, UNITS

KNOWN_UNITS = (*(unit for unit in UNITS if unit), *SINGULAR)
#: what people write → the unit
OTHER_UNITS = {
    **dict.fromkeys(("percent", "pct", "per_cent"), "%"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "microsecond", "microseconds", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s"), "us"),
    **dict.fromkeys(("byte", "bytes"), "B"),
    **dict.fromkeys(("kilobyte", "kilobytes"), "KB"),
    **dict.fromkeys(("megabyte", "megabytes"), "MB"),
    **dict.fromkeys(("gigabyte", "gigabytes"), "GB"),
    **dict.fromkeys(("joule", "joules", "Joule", "Joules"), "J"),
    **dict.fromkeys(("fps",), "/s"),
    **dict.fromkeys(("point", "points", "pp"), "%"),  # reports say points; in a recipe they are written as %
    **dict.fromkeys(("gflop", "gflops"), "G"),
    **dict.fromkeys(("mflop", "mflops"), "M"),
    **dict.fromkeys(("thousand",), "K"),
    **dict.fromkeys(("million", "millions", "mio"), "M"),
    **dict.fromkeys(("billion", "billions", "bn"), "G"),
}
#: binary units → how many of which unit one is
BINARY = {"kib": (1.024, "KB"), "mib": (1.048576, "MB"), "gib": (1.073741824, "GB")}
UNIT_HELP = (
    "units: `%`, `x`, `us ms s min h`, `B KB MB GB`, `K M G`, `dB`, `mJ J`, `/s`, "
    "`bits epochs steps rounds times samples`"
)
QUOTES = "'`´‘’‚“”„«»"
#: other words for a clause word
OTHER_CLAUSES = {
    "using": "with", "via": "by", "during": "for", "excluding": "except", "without": "except", "till": "until",
}  # fmt: skip
#: what other languages write → what a recipe writes
OTHER_SIGNS = {
    "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "&&": "and", "&": "and", "||": "or", "|": "or", "×": "*", "·": "*",
}  # fmt: skip
NO_SIGNS = ("!=", "<>", "≠", "!", "^", "**", "~=")
CHARACTER_HELP = {
    "%": "write `%` after a number: `70%`",
    "-": "there is no minus sign; a sum of losses uses `+` and `*`",
    ":": "patterns are written like `2:4`, blocks like `{ … }`",
}
#: what an unquoted selector or path is made of
GLOB = r"\w.*?\[\]\-/\\~:^!"


def quotes(place: Place) -> Mistake | None:
    """A quote that is not closed, or of the wrong kind."""
    word = place.word
    if word.type == "STRAY" and word.text[0] == '"':
        help_ = 'end the text with `"` on the same line'
        return Mistake("RCP0107", "this quote is not closed", help_, word.span, (place.line(),))
    if word.type == "STRAY" and word.text in QUOTES:
        rest = place.text[word.start :].split("\n", 1)[0]
        closed = re.match(f"[{QUOTES}]([^{QUOTES}]*)[{QUOTES}]", rest)
        help_ = f'write `"{closed[1]}"`' if closed else 'write `"` before and after it'
        span = _sized(word.span, closed.end() if closed else 1)
        return Mistake("RCP0107", f'text is quoted with `"`, not with `{word.text}`', help_, span)
    return None


def selectors(place: Place) -> Mistake | None:
    """A glob or a module's name without quotes: `in layer3.*`."""
    if place.clause not in ("in", "except") or place.statement[0].text == "sweep" or place.inside in ("LPAR", "LSQB"):
        return None
    before, at = place.before, place.word
    if before and before.type in ("STAR", "DOT") and at.type != "STAR":
        at = before
    if at.type in ("STAR", "LSQB", "STRAY", "NUMBER", "DOT"):
        glob = _text(place, place.run(GLOB, at.start))
        if len(glob) > 1 and re.search(r"[.*?\[\]\-/]", glob) or glob == "*":
            sign = "*" if "*" in glob else "?" if "?" in glob else ""
            what = f"a selector with `{sign}` needs quotes" if sign else f"the module's name `{glob}` needs quotes"
            return Mistake("RCP0104", what, f'write `{place.clause} "{glob}"`', at.span)
    return None


def numbers(place: Place) -> Mistake | None:
    """What begins like a number and is not one: a sign, `.5`, `0.7.3`, an unknown unit attached to it."""
    before, word, after = place.before, place.word, place.after
    hyphen = before is not None and before.type == "NAME" and before.touches(word)
    signed = word.text in ("-", "−", "–") or (word.type == "PLUS" and "NUMBER" in place.accepts)
    if signed and after.type == "NUMBER" and not hyphen:
        return Mistake("RCP0109", "numbers have no sign", f"write `{after.text}`", _upto(word.span, after.span))
    if word.type == "DOT" and after.type == "NUMBER" and word.touches(after):
        span = _upto(word.span, after.span)
        return Mistake("RCP0109", f"`.{after.text}` is not a number", f"write `0.{after.text}`", span)
    if word.type != "STRAY" or not word.text[0].isascii() or not word.text[0].isdigit():
        return None
    if re.fullmatch("[0-9_]+", word.text):
        help_ = f"write `{word.text.replace('_', '')}`"
        return Mistake("RCP0109", f"`{word.text}` is not a number", help_, word.span)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)([A-Za-z_]\w*)", word.text)
    if match:
        unit = _unit_for(match[2])
        if unit:
            return Mistake("RCP0108", f"`{match[2]}` is not a unit", _offer(match[1], match[2], unit), word.span)
        what = f"`{word.text}` is neither a number with a unit nor a name"
        return Mistake("RCP0108", what, f"write `{match[1]} {match[2]}` if you mean two words; {UNIT_HELP}", word.span)
    glued = re.fullmatch(r"([0-9]+(?::[0-9]+|(?:x[0-9]+)+|\.\.[0-9]+))([A-Za-z_]\w*)", word.text)
    help_ = "numbers look like `3`, `0.7`, `1e-3`, `70%`, patterns like `2:4`, ranges like `0..19`"
    if glued:
        help_ = f"write a space between them: `{glued[1]} {glued[2]}`"
    return Mistake("RCP0109", f"`{word.text}` is not a number", help_, word.span)


def microseconds(place: Place) -> Mistake | None:
    """`µs`, which reports print and which is no word of letters here: `500µs`."""
    before, word = place.before, place.word
    if word.type != "STRAY" or not word.text[0].isalpha() or before is None or before.type != "NUMBER":
        return None
    name = place.text[word.start : place.run(r"\w", word.start).end]
    if OTHER_UNITS.get(name) != "us":
        return None
    span = _sized(word.span, len(name))
    return Mistake("RCP0108", f"`{name}` is not a unit", f"write `{_with_unit(before.text, 'us')}`", span)


def units(place: Place) -> Mistake | None:
    """A word after a number that is not a unit: `3 epocs`, `80 percent`."""
    before, word = place.before, place.word
    if word.type != "NAME" or before is None or before.type != "NUMBER" or not before.text[-1].isdigit():
        return None
    for clause in CLAUSES:
        if word.text.endswith(clause) and word.text[: -len(clause)] in KNOWN_UNITS:
            apart = f"{word.text[: -len(clause)]} {clause}"
            return Mistake("RCP0108", f"`{word.text}` is not a unit", f"write a space: `{apart}`", word.span)
    rate = re.match(r"\w+/s\b", place.text[word.start :])
    if rate:
        span = _sized(word.span, len(rate[0]))
        return Mistake("RCP0108", f"`{rate[0]}` is not a unit", f"write `{before.text}/s`", span)
    unit = _unit_for(word.text)
    if unit:
        return Mistake("RCP0108", f"`{word.text}` is not a unit", _offer(before.text, word.text, unit), word.span)
    return None


def clause_words(place: Place) -> Mistake | None:
    """A misspelt clause word: `untill`."""
    word = place.word
    if word.type != "NAME" or place.inside in ("LPAR", "LSQB"):
        return None
    meant = OTHER_CLAUSES.get(word.text.lower()) or resembles(word.text, (*CLAUSES, "and", "or"))
    if not meant:
        return None
    if meant == "from" and re.search(r"(epoch|step)s?$", place.after.text):
        meant = "for"
    kind = "clause word" if meant in CLAUSES else "word that joins conditions"
    return Mistake("RCP0101", f"`{word.text}` is not a {kind}", f"write `{meant}`", word.span)


def names(place: Place) -> Mistake | None:
    """A name that is not one: a hyphen, letters outside ASCII, a clause word."""
    before, word, after = place.before, place.word, place.after
    if word.type == "STRAY" and word.text[0].isalpha():
        span = place.run(r"\w", word.start)
        what = f"`{_text(place, span)}` is not a name"
        return Mistake("RCP0110", what, "names consist of the letters a to z and A to Z, digits and `_`", span)
    if word.text == "-" and before and before.type == "NAME" and before.touches(word) and word.touches(after):
        span = place.run(r"\w\-", word.start)
        name = _text(place, span)
        return Mistake(
            "RCP0110", f"`{name}` contains a hyphen, and names cannot", f"write `{name.replace('-', '_')}`", span
        )
    if word.text == "$":
        help_ = "write `$name`, with the name of a `let` or a `sweep`"
        return Mistake("RCP0110", "no name follows this `$`", help_, word.span, (place.line(),))
    if word.type in RESERVED_TYPES and before and before.type in ("AS", "LET"):
        return Mistake(
            "RCP0110", f"`{word.text}` is a word of the language and cannot be a name", "choose another name", word.span
        )
    if before and before.type in RESERVED_TYPES and place.accepts == {"EQUAL"}:
        what = f"`{before.text}` is a word of the language and cannot be a value"
        return Mistake("RCP0110", what, f'write `"{before.text}"` if you mean text', before.span)
    return None


def signs(place: Place) -> Mistake | None:
    """A sign of another language: `=<`, `&&`, `!=`, `//`."""
    word = place.word
    here = place.text[word.start : word.start + 2]
    if word.text == "×" and place.text[word.start - 1 : word.start].isdigit():
        return Mistake("RCP0116", "`×` is not part of the language", "write `x`: `4x4`, `0.7x`", word.span)
    for sign, ours in OTHER_SIGNS.items():
        if here.startswith(sign):
            return Mistake(
                "RCP0116", f"`{sign}` is not part of the language", f"write `{ours}`", _sized(word.span, len(sign))
            )
    for sign in NO_SIGNS:
        if here.startswith(sign):
            help_ = "conditions compare with `<`, `<=`, `>`, `>=` and `==`"
            return Mistake("RCP0116", f"`{sign}` is not part of the language", help_, _sized(word.span, len(sign)))
    if here in ("//", "/*", "--"):
        return Mistake("RCP0116", f"`{here}` does not begin a comment", "comments begin with `#`", _sized(word.span, 2))
    if word.text in ("/", "\\", "~") and word.type == "STRAY":
        span = place.run(GLOB, word.start)
        return Mistake("RCP0107", "a path needs quotes", f'write `"{_text(place, span)}"`', word.span)
    if word.text == ":" and place.inside == "LPAR":
        return Mistake("RCP0103", "a setting is given its value with `=`", "write `=` instead of `:`", word.span)
    return None


def characters(place: Place) -> Mistake | None:
    """A character that the language does not use."""
    word = place.word
    if word.type != "STRAY":
        return None
    character = word.text[0]
    name = unicodedata.name(character, "a control character")
    shown = f"`{character}`" if character.isprintable() and not character.isspace() else name.lower()
    help_ = "remove it"
    if character.isspace() or unicodedata.category(character) in ("Zs", "Cf", "Cc"):
        help_ = "replace it with a space; text copied from a web page often contains such characters"
    else:
        help_ = CHARACTER_HELP.get(character, help_)
    what = f"{shown} (U+{ord(character):04X}) is not part of the language"
    return Mistake("RCP0116", what, help_, word.span)


def _unit_for(word: str) -> str | None:
    """The unit that a word stands for or is a misspelling of."""
    if word.lower() in BINARY:
        return BINARY[word.lower()][1]
    other = OTHER_UNITS.get(word.lower())
    if other:
        return other
    for unit in KNOWN_UNITS:
        if unit.lower() == word.lower():
            return unit
    return resembles(word, [unit for unit in KNOWN_UNITS if len(unit) > 2])


def _offer(number: str, word: str, unit: str) -> str:
    """What to write instead of a number and a word that is not a unit: the same quantity, or each that it may be."""
    if word.lower() in BINARY:
        factor, unit = BINARY[word.lower()]
        return f"write `{float(number) * factor:.10g}{unit}`: units of bytes are powers of 1000"
    if word == "m":
        return f"write `{number}M` for millions, or `{number}min` for minutes"
    return f"write `{_with_unit(number, unit)}`"


def _with_unit(number: str, unit: str) -> str:
    many = SINGULAR.get(unit, unit)
    one = next((single for single, plural in SINGULAR.items() if plural == many), None)
    return f"{number}{unit}" if one is None else f"{number} {one if number == '1' else many}"


def _text(place: Place, span: Span) -> str:
    return place.text[span.start : span.end]


def _sized(span: Span, size: int) -> Span:
    return Span(span.start, span.start + size, span.line, span.column, span.line, span.column + size)


def _upto(first: Span, last: Span) -> Span:
    return first.to(last) if first.line == last.line else first

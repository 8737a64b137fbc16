"""The tables of the parser and scanner, made by lark from `grammar/recipe.lark` and stored beside it as JSON.

lark takes a few tenths of a second to build them and most of the start of `recipe check` merely to be imported, so it
is imported here alone: where the grammar has changed since the tables were stored, and to store them again with
`python -m recipelang.syntax.tables`. A test compares the stored tables with new ones, and trees with lark's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from recipelang import paths

if TYPE_CHECKING:
    from lark import Lark

OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "basic",
    "propagate_positions": True,
    "maybe_placeholders": False,
    "start": "recipe",
}


@dataclass(frozen=True)
class Rule:
    """What a reduction makes.

    Attributes:
        name: of the rule; its tree is part of the one above if the name begins with `_`.
        size: how many children it takes from the stack.
        kept: which of them stay, by index; punctuation does not.
        only: whether a single child takes the place of the tree.
    """

    name: str
    size: int
    kept: tuple[int, ...]
    only: bool


@dataclass(frozen=True)
class Tables:
    """An LALR(1) parser and the words that it reads.

    Attributes:
        grammar: the text that they were made of.
        terminals: name → regular expression, in the order in which they are tried.
        rules: of the grammar.
        states: for each, symbol → a state to go to, or ~n where rule n is complete.
        start, end: states before the first symbol and after the last.
    """

    grammar: str
    terminals: dict[str, str]
    rules: tuple[Rule, ...]
    states: tuple[dict[str, int], ...]
    start: int
    end: int


@cache
def tables() -> Tables:
    """The stored tables; those of the grammar itself where it has changed since."""
    grammar, place = paths.grammar().read_text(encoding="utf-8"), paths.tables()
    stored = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    return _read(stored if stored.get("grammar") == grammar else made())


def _read(stored: dict[str, Any]) -> Tables:
    rules = tuple(Rule(name, size, tuple(kept), only) for name, size, kept, only in stored["rules"])
    return Tables(**{**stored, "rules": rules, "states": tuple(stored["states"])})


def built() -> Lark:
    """lark's own parser of the grammar."""
    from lark import Lark

    return Lark(paths.grammar().read_text(encoding="utf-8"), **OPTIONS)


def made() -> dict[str, Any]:
    """The tables as plain JSON."""
    lark = built()
    parser = lark.parser.parser._parse_table  # what `Lark.save` saves
    rules = sorted(lark.rules, key=str)
    index = {rule: number for number, rule in enumerate(rules)}
    rank = _ranks(parser.states, parser.start_states["recipe"])

    def step(action: Any, argument: Any) -> int:
        return ~index[argument] if action.name == "Reduce" else rank[argument]

    terminals = sorted(lark.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    return {
        "grammar": paths.grammar().read_text(encoding="utf-8"),
        "terminals": {terminal.name: terminal.pattern.to_regexp() for terminal in terminals},
        "rules": [_rule(rule) for rule in rules],
        "states": [{s: step(*found) for s, found in sorted(parser.states[state].items())} for state in rank],
        "start": 0,
        "end": rank[parser.end_states["recipe"]],
    }


def _ranks(states: dict[int, dict[str, Any]], start: int) -> dict[int, int]:
    """lark's number of each state → ours, in the order in which they are reached: lark's own order varies."""
    found = [start]
    for state in found:
        steps = (argument for _, (action, argument) in sorted(states[state].items()) if action.name == "Shift")
        found += [after for after in dict.fromkeys(steps) if after not in found]
    return {state: number for number, state in enumerate(found)}


def _rule(rule: Any) -> list[Any]:
    kept = [i for i, symbol in enumerate(rule.expansion) if not (symbol.is_term and symbol.filter_out)]
    return [rule.origin.name, len(rule.expansion), kept, rule.options.expand1]


def serialized() -> str:
    """What `grammar/tables.json` must hold."""
    return json.dumps(made(), separators=(",", ":")) + "\n"


if __name__ == "__main__":  # python -m recipelang.syntax.tables: after every change of the grammar
    paths.tables().write_text(serialized(), encoding="utf-8")

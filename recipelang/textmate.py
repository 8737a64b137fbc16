"""A TextMate grammar for editors, made from the terminals of the language's own grammar: `editors/vscode/`.

It colours what `syntax.roles` says, as far as regular expressions on single lines can; a test compares the two.
"""

from __future__ import annotations

import json
import re
from typing import Any

from recipelang import paths
from recipelang.syntax.grammar import RESERVED, STRAY
from recipelang.syntax.roles import Role

_TERMINAL = re.compile(r"^([A-Z_]+)(?:\.\d+)?:\s*/(.*)/$", re.MULTILINE)
#: role of a word → TextMate scope; a role that is not here has no colour of its own
SCOPES = {
    Role.VERB: "keyword.other.verb.recipe",
    Role.CLAUSE: "keyword.control.clause.recipe",
    Role.FUNCTION: "entity.name.function.recipe",
    Role.SETTING: "variable.parameter.setting.recipe",
    Role.VARIABLE: "variable.other.recipe",
    Role.NUMBER: "constant.numeric.recipe",
    Role.PATTERN: "constant.numeric.pattern.recipe",
    Role.RANGE: "constant.numeric.range.recipe",
    Role.STRING: "string.quoted.double.recipe",
    Role.COMPARISON: "keyword.operator.comparison.recipe",
    Role.OPERATOR: "keyword.operator.recipe",
    Role.COMMENT: "comment.line.number-sign.recipe",
    Role.STRAY: "invalid.illegal.recipe",
}
#: terminal of the grammar → role of its words; earlier ones win
_LITERALS = {
    "COMMENT": Role.COMMENT,
    "STRING": Role.STRING,
    "PARAMETER": Role.VARIABLE,
    "RANGE": Role.RANGE,
    "PATTERN": Role.PATTERN,
    "NUMBER": Role.NUMBER,
    "COMPARE": Role.COMPARISON,
}
_BRACKETS = (("parens", "(", ")"), ("brackets", "[", "]"))


def terminals() -> dict[str, str]:
    """Name → regular expression of every terminal of the grammar."""
    return dict(_TERMINAL.findall(paths.grammar().read_text(encoding="utf-8")))


def textmate() -> str:
    """The grammar as the JSON that VS Code, Sublime Text, JetBrains, GitHub and Shiki read."""
    grammar = {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "Recipe",
        "scopeName": "source.recipe",
        "fileTypes": ["rcp"],
        "patterns": [_verb(), {"include": "#words"}],
        "repository": {"words": {"patterns": [*_words(), *(_bracket(*named) for named in _BRACKETS)]}},
    }
    return json.dumps(grammar, indent=2) + "\n"


def _verb() -> dict[str, Any]:
    """The first word of a statement, which is no clause word; a line in brackets does not begin a statement."""
    reserved = rf"(?!(?:{'|'.join(sorted(RESERVED))})(?![A-Za-z0-9_]))"
    expression = rf"(?:^|(?<=[;{{}}]))\s*{reserved}({terminals()['NAME']})"
    return {"match": expression, "captures": {"1": {"name": SCOPES[Role.VERB]}}}


def _words() -> list[dict[str, Any]]:
    """What a statement is made of, outside and inside brackets."""
    expressions = terminals()
    name = expressions["NAME"]
    clauses = rf"(?<![A-Za-z0-9_$.])(?:{'|'.join(sorted(RESERVED))})(?![A-Za-z0-9_])(?!\s*=(?!=))"
    return [
        *(_rule(role, expressions[terminal]) for terminal, role in _LITERALS.items()),
        _rule(Role.STRAY, STRAY),
        {
            "match": rf"(?<![A-Za-z0-9_$.])(let)\s+({name})",
            "captures": {"1": {"name": SCOPES[Role.CLAUSE]}, "2": {"name": SCOPES[Role.VARIABLE]}},
        },
        _rule(Role.CLAUSE, clauses),
        _rule(Role.SETTING, rf"{name}(?=\s*=(?!=))"),
        _rule(Role.FUNCTION, rf"{name}(?=\s*\()"),
        _rule(Role.OPERATOR, r"[+*=]"),
        {"match": name},  # a whole word: a number may end it
    ]


def _bracket(name: str, opening: str, closing: str) -> dict[str, Any]:
    """What is in brackets; a `;` and a brace end what was left open, as they do for the parser."""
    return {
        "begin": re.escape(opening),
        "end": rf"{re.escape(closing)}|(?=[;{{}}])",
        "beginCaptures": {"0": {"name": f"punctuation.section.{name}.begin.recipe"}},
        "endCaptures": {"0": {"name": f"punctuation.section.{name}.end.recipe"}},
        "patterns": [{"include": "#words"}],
    }


def _rule(role: Role, expression: str) -> dict[str, Any]:
    return {"name": SCOPES[role], "match": expression}

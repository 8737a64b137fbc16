"""A TextMate grammar for editors, made from the terminals of the language's own grammar: `editors/`."""

from __future__ import annotations

import json
import re
from typing import Any

from recipelang import paths
from recipelang.syntax.grammar import RESERVED

_TERMINAL = re.compile(r"^([A-Z_]+)(?:\.\d+)?:\s*/(.*)/$", re.MULTILINE)
#: terminal of the grammar → TextMate scope; earlier ones win
_SCOPES = {
    "COMMENT": "comment.line.number-sign.recipe",
    "STRING": "string.quoted.double.recipe",
    "PARAMETER": "variable.parameter.recipe",
    "RANGE": "constant.numeric.range.recipe",
    "PATTERN": "constant.numeric.pattern.recipe",
    "NUMBER": "constant.numeric.recipe",
    "COMPARE": "keyword.operator.comparison.recipe",
}


def terminals() -> dict[str, str]:
    """Name → regular expression of every terminal of the grammar."""
    return dict(_TERMINAL.findall(paths.grammar().read_text(encoding="utf-8")))


def textmate() -> str:
    """The grammar as the JSON that VS Code, Sublime Text, GitHub and Shiki read."""
    expressions = terminals()
    literals = [_rule(scope, expressions[name]) for name, scope in _SCOPES.items()]
    clauses = rf"(?<![A-Za-z0-9_$.])(?:{'|'.join(sorted(RESERVED))})(?![A-Za-z0-9_])(?!\s*=)"
    words = [
        _rule("keyword.control.clause.recipe", clauses),
        # The first word of a statement is its verb.
        {
            "match": rf"(?:^|(?<=[;{{}}]))\s*({expressions['NAME']})",
            "captures": {"1": {"name": "keyword.other.verb.recipe"}},
        },
        _rule("variable.parameter.setting.recipe", rf"{expressions['NAME']}(?=\s*=(?!=))"),
        _rule("entity.name.function.recipe", rf"{expressions['NAME']}(?=\()"),
        _rule("keyword.operator.recipe", r"[+*=]"),
    ]
    grammar = {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "Recipe",
        "scopeName": "source.recipe",
        "fileTypes": ["rcp"],
        "patterns": literals + words,
    }
    return json.dumps(grammar, indent=2) + "\n"


def _rule(scope: str, expression: str) -> dict[str, Any]:
    return {"name": scope, "match": expression}

"""The editor grammar colours what the language reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipelang import textmate
from recipelang.syntax.roles import Role, roles

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.rcp"))
GRAMMAR = json.loads(textmate.textmate())
#: recipes that are not written as those of the repository are
OTHERS = {
    "brackets": "train for 2 epochs with sgd(\n  lr=cosine(\n    0.1, to=0),\n  momentum=0.9)\nmeasure top1\n",
    "continued": "prune layers by imprint\n  until latency < 0.7\n  while top1 drop < 1%\n\tand top5 drop < 1%\n",
    "one line": "let a=1;let b = [l1,\n  l2]; prune x by $a{}; sparsify nm 2:4 in nets.x; repeat { prune x }",
    "words before =": "sparsify weights to 90% over agp(from=0, to = 1,until=3)\nkeep as let\n",
    "unclosed": 'train with sgd(lr=0.1; measure top1\nmodel resnet("unclosed\ndata 7days { prune x',
    "comments": "# prune (\nprune  # by (\n# until\n  layers by imprint # [\n",
}


def expanded(patterns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules with those that they include."""
    found = []
    for rule in patterns:
        named = rule.get("include")
        found += expanded(GRAMMAR["repository"][named[1:]]["patterns"]) if named else [rule]
    return found


def scopes(text: str) -> Iterator[tuple[int, str, str]]:
    """(offset, text, scope) as an editor finds them: the leftmost match wins, then the end of a bracket, then the
    earlier rule; lines are read one by one."""
    stack = [(GRAMMAR["patterns"], "", {})]
    start = 0
    for line in text.split("\n"):
        at = 0
        while at <= len(line):
            patterns, end, captures = stack[-1]
            rules = [{"end": end, "captures": captures}] if end else []
            rules += expanded(patterns)
            tried = ((n, re.compile(r.get("begin") or r.get("match") or r["end"])) for n, r in enumerate(rules))
            matches = [(m.start(), n, m) for n, tried_one in tried if (m := tried_one.search(line, at))]
            if not matches:
                break
            _, number, match = min(matches, key=lambda entry: entry[:2])
            rule = rules[number]
            named = {0: {"name": rule["name"]}} if "name" in rule else {}
            named |= {int(k): v for k, v in (rule.get("beginCaptures") or rule.get("captures") or {}).items()}
            for group, capture in named.items():
                if match.group(group):
                    yield start + match.start(group), match.group(group), capture["name"]
            if "begin" in rule:
                stack.append((rule["patterns"], rule["end"], rule["endCaptures"]))
            elif "end" in rule:
                stack.pop()
            at = match.end()
        start += len(line) + 1


def coloured(text: str) -> list[tuple[str, str]]:
    return [(word, scope.removesuffix(".recipe")) for _, word, scope in scopes(text)]


def test_a_line() -> None:
    line = 'prune 2 layers by imprint(embedding=64) until $fast < 70% in "layer3.*"  # by heart'
    assert coloured(line) == [
        ("prune", "keyword.other.verb"),
        ("2", "constant.numeric"),
        ("by", "keyword.control.clause"),
        ("imprint", "entity.name.function"),
        ("(", "punctuation.section.parens.begin"),
        ("embedding", "variable.parameter.setting"),
        ("=", "keyword.operator"),
        ("64", "constant.numeric"),
        (")", "punctuation.section.parens.end"),
        ("until", "keyword.control.clause"),
        ("$fast", "variable.other"),
        ("<", "keyword.operator.comparison"),
        ("70%", "constant.numeric"),
        ("in", "keyword.control.clause"),
        ('"layer3.*"', "string.quoted.double"),
        ("# by heart", "comment.line.number-sign"),
    ]


def test_patterns_and_statements_on_one_line() -> None:
    assert [text for text, scope in coloured("sparsify nm 2:4; distill from healthy") if "verb" in scope] == [
        "sparsify",
        "distill",
    ]
    assert ("2:4", "constant.numeric.pattern") in coloured("sparsify nm 2:4")
    assert ("0..19", "constant.numeric.range") in coloured("seeds 0..19")


def test_every_role_but_that_of_names_and_signs_has_a_scope() -> None:
    assert set(Role) - set(textmate.SCOPES) == {Role.NAME, Role.PUNCTUATION}


@pytest.mark.parametrize("name", [*OTHERS, *(str(file.relative_to(ROOT / "recipes")) for file in RECIPES)])
def test_every_word_is_coloured_by_its_role(name: str) -> None:
    text = OTHERS.get(name) or (ROOT / "recipes" / name).read_text(encoding="utf-8")
    expected = [
        (token.start, token.text, textmate.SCOPES[role]) for token, role in roles(text) if role in textmate.SCOPES
    ]
    assert expected
    assert [found for found in scopes(text) if "punctuation" not in found[2]] == expected

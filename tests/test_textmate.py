"""The editor grammar colours what the language reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recipelang import textmate

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.rcp"))
RULES = json.loads(textmate.textmate())["patterns"]


def scopes(line: str) -> list[tuple[str, str]]:
    """(text, scope) as an editor finds them: the leftmost match wins, then the earlier rule."""
    found, at = [], 0
    while at < len(line):
        matches = [
            (m.start(), n, m) for n, rule in enumerate(RULES) if (m := re.compile(rule["match"]).search(line, at))
        ]
        if not matches:
            break
        _, number, match = min(matches, key=lambda entry: entry[:2])
        rule = RULES[number]
        inner = match.group(1) if "captures" in rule else match.group()
        name = rule["captures"]["1"]["name"] if "captures" in rule else rule["name"]
        found.append((inner, name.split(".recipe")[0]))
        at = max(match.end(), at + 1)
    return found


def test_a_line() -> None:
    line = 'prune 2 layers by imprint(embedding=64) until $fast < 70% in "layer3.*"  # by heart'
    assert scopes(line) == [
        ("prune", "keyword.other.verb"),
        ("2", "constant.numeric"),
        ("by", "keyword.control.clause"),
        ("imprint", "entity.name.function"),
        ("embedding", "variable.parameter.setting"),
        ("=", "keyword.operator"),
        ("64", "constant.numeric"),
        ("until", "keyword.control.clause"),
        ("$fast", "variable.parameter"),
        ("<", "keyword.operator.comparison"),
        ("70%", "constant.numeric"),
        ("in", "keyword.control.clause"),
        ('"layer3.*"', "string.quoted.double"),
        ("# by heart", "comment.line.number-sign"),
    ]


def test_patterns_and_statements_on_one_line() -> None:
    assert [text for text, scope in scopes("sparsify nm 2:4; distill from healthy") if "verb" in scope] == [
        "sparsify",
        "distill",
    ]
    assert ("2:4", "constant.numeric.pattern") in scopes("sparsify nm 2:4")
    assert ("0..19", "constant.numeric.range") in scopes("seeds 0..19")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_statement_of_a_recipe_has_its_verb_coloured(file: Path) -> None:
    from recipelang.syntax.nodes import Block, Let
    from recipelang.syntax.parse import parse

    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()

    def verbs(block: Block) -> list[tuple[int, str]]:
        found = []
        for item in block.items:
            if not isinstance(item, Let):
                found.append((item.verb.span.line, item.verb.text))
                found += verbs(item.block) if item.block else []
        return found

    for line, verb in verbs(parse(text).body):
        assert (verb, "keyword.other.verb") in scopes(lines[line - 1])

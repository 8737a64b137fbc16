"""YAML of strangers, read safely: values that know where they are, tags as names, nothing built and nothing executed.

Aliases stay shared, and what a file would be with all of them written out is counted first, so that a few lines which
stand for billions are refused. A tag is a name (`!GMPruningModifier`); Python's own tags are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recipelang.errors import Diagnostic, RecipeError, Span

if TYPE_CHECKING:
    import yaml

#: characters of a file, values of a file with its aliases written out, and levels of nesting
LONGEST, MOST_VALUES, DEEPEST = 1_000_000, 200_000, 60
#: tags of YAML itself, whose values are plain
_PLAIN = "tag:yaml.org,2002:"
#: YAML 1.1 has more words for these than PyYAML's resolver reads here
_CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None, "null": None, "~": None, "": None}


class Wrong(Exception):
    """Something in the file that makes it impossible to translate: a code, a message, its place, and a help."""

    def __init__(self, code: str, message: str, at: Value | Span | None, help: str) -> None:
        super().__init__(message)
        span = at.span if isinstance(at, Value) else at
        self.diagnostic = Diagnostic(code, message, span, help)

    def error(self, path: str, text: str) -> RecipeError:
        """What the command line shows."""
        found = self.diagnostic
        return RecipeError([Diagnostic(found.code, found.message, found.span, found.help, path)], text)


@dataclass(frozen=True)
class Value:
    """A value of the file.

    Attributes:
        data: text, number, truth value or None; a tuple of values; or a mapping of names to values.
        tag: the name of its tag, without `!`; "" where it has none.
        span: its place in the file.
    """

    data: Any
    tag: str
    span: Span
    repeated: tuple[str, ...] = field(default=())

    @property
    def line(self) -> int:
        """The line on which it begins, from 1."""
        return self.span.line

    @property
    def mapping(self) -> Mapping[str, Value]:
        """Its entries; none where it is not a mapping."""
        return self.data if isinstance(self.data, dict) else {}

    @property
    def items(self) -> tuple[Value, ...]:
        """Its values; a single one stands for a list of one, nothing for an empty list."""
        if isinstance(self.data, tuple):
            return self.data
        return () if self.data is None else (self,)

    @property
    def text(self) -> str:
        """As a line of text, without control characters."""
        shown = "" if self.data is None else str(self.data)
        return "".join(letter if letter.isprintable() else " " for letter in shown).strip()

    def get(self, *names: str) -> Value | None:
        """The entry at a path of names; None where there is none, or nothing in it."""
        found: Value | None = self
        for name in names:
            found = found.mapping.get(name) if found else None
        return found if found is not None and found.data is not None else None

    def walk(self) -> Iterator[Value]:
        """This value and everything in it."""
        yield self
        inside = (
            self.mapping.values() if isinstance(self.data, dict) else self.data if isinstance(self.data, tuple) else ()
        )
        for value in inside:
            yield from value.walk()


def number(text: Any) -> float | None:
    """A finite number, also as text (`5e-5` is text to YAML 1.1); None where it is not one."""
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        return None
    try:
        found = float(text)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def front_matter(text: str) -> str:
    """What a Markdown file has between its first two lines `---`, at the same places: the rest becomes spaces.

    Raises:
        Wrong: RCP1260: there are no two such lines.
    """
    lines = text.splitlines(keepends=True)
    marks = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(marks) < 2:
        message = "the file is Markdown without YAML between two lines `---`"
        raise Wrong("RCP1260", message, None, "name the file of the recipe, or save its YAML as `.yaml`")
    first, last = marks[:2]
    before = "".join("".join(letter if letter in "\r\n" else " " for letter in line) for line in lines[: first + 1])
    return before + "".join(lines[first + 1 : last])


def read(text: str) -> Value:
    """The file as values.

    Raises:
        Wrong: RCP1260: it is not YAML, or not YAML that can be read safely. RCP1264: it is empty.
    """
    import yaml  # 20 ms, and no other command needs it here

    if len(text) > LONGEST:
        message = f"the file has {len(text)} characters; a recipe in YAML has at most {LONGEST}"
        raise Wrong("RCP1260", message, None, "check whether this file is the recipe")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _span(mark, mark) if mark else None
        if error.problem == "but found another document":
            message, help = "the file has several documents", "keep one of them in a file of its own"
            raise Wrong("RCP1260", message, place, help) from None
        message = f"the file is not YAML: {error.problem or error.context}"
        raise Wrong("RCP1260", message, place, "a line is `key: value`; indent with spaces") from None
    except (yaml.YAMLError, RecursionError):
        raise Wrong("RCP1260", "the file is not YAML", None, "lines are `key: value`, lists are `- value`") from None
    if root is None:
        raise Wrong("RCP1264", "the file is empty", None, "name a file with modifiers, policies or training stages")
    return _Tree().value(root, 0)


class _Tree:
    """Makes values of nodes, each once, and counts what they would be without aliases."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Value, int]] = {}
        self.open: set[int] = set()

    def value(self, node: yaml.Node, depth: int) -> Value:
        return self.sized(node, depth)[0]

    def sized(self, node: yaml.Node, depth: int) -> tuple[Value, int]:
        """(value, how many values it is with all aliases written out)."""
        if id(node) in self.known:
            return self.known[id(node)]
        span = _span(node.start_mark, node.end_mark)
        if id(node) in self.open:
            raise Wrong("RCP1260", "an alias stands for something that contains it", span, "remove the alias")
        if depth > DEEPEST:
            raise Wrong("RCP1260", f"the file nests deeper than {DEEPEST} levels", span, "check what wrote it")
        self.open.add(id(node))
        found = self.made(node, span, depth)
        self.open.discard(id(node))
        if found[1] > MOST_VALUES:
            message = f"with its aliases written out the file has more than {MOST_VALUES} values"
            raise Wrong("RCP1260", message, span, "write fewer aliases of aliases")
        self.known[id(node)] = found
        return found

    def made(self, node: yaml.Node, span: Span, depth: int) -> tuple[Value, int]:
        import yaml

        tag = _tag(node, span)
        if isinstance(node, yaml.SequenceNode):
            inside = [self.sized(one, depth + 1) for one in node.value]
            value = Value(tuple(one for one, _ in inside), tag, span)
            return (_joined(value) if tag == "join" else value), 1 + sum(size for _, size in inside)
        if not isinstance(node, yaml.MappingNode):
            return Value(_scalar(node), tag, span), 1
        entries: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        repeated, total = [], 1
        for key, one in node.value:
            value, size = self.sized(one, depth + 1)
            total += size
            if key.tag == f"{_PLAIN}merge":
                for other in value.items:
                    merged = {**other.mapping, **merged}
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in entries and entries[name].data != value.data:
                repeated.append(name)
            entries[name] = value
        return Value({**merged, **entries}, tag, span, tuple(repeated)), total


def _tag(node: yaml.Node, span: Span) -> str:
    """The name of a tag that is not YAML's own."""
    if node.tag.startswith(f"{_PLAIN}python"):
        help = "write the value itself: nothing in a file is executed here"
        raise Wrong(
            "RCP1260", f"the tag `!!{node.tag.removeprefix(_PLAIN)}` would build an object of Python", span, help
        )
    return "" if node.tag.startswith(_PLAIN) else str(node.tag).lstrip("!")


def _scalar(node: yaml.Node) -> Any:
    """Text, number, truth value or None."""
    kind, text = node.tag.removeprefix(_PLAIN), node.value
    if kind == "null" or (kind == "bool" and text.lower() in _CONSTANTS):
        return _CONSTANTS.get(text.lower())
    if kind == "bool":
        return text.lower() in ("yes", "on")
    if kind in ("int", "float"):
        found = number(text.replace("_", ""))
        if found is not None:
            return int(found) if kind == "int" else found
    if kind == "str" and text.lower() == "none" and not getattr(node, "style", None):
        return None  # as Python, which wrote it, has it
    return text


def _joined(value: Value) -> Value:
    """`!join [a, b]` is one text."""
    return Value("".join(one.text for one in value.items), "", value.span)


def _span(start: yaml.Mark, end: yaml.Mark) -> Span:
    """A place, cut at the end of its first line."""
    last = end.column if end.line == start.line else start.column + 1
    stop = max(last, start.column + 1)
    first = start.line + 1
    return Span(start.index, start.index + stop - start.column, first, start.column + 1, first, stop + 1)

"""What a migration finds: statements, and notes on what was not translated, differs, or has to be filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from recipelang.errors import nearest
from recipelang.migrating.reading import Value, Wrong, number

#: kinds of notes, in the order in which they are told, with their words
KINDS = {"missing": "not translated", "differs": "differs", "fill": "to fill in"}
#: what the names of a format end with
_KIND = re.compile(r"(Modifier|Pruner|Quantizer|Loss)(_AGP)?$")


@dataclass(frozen=True)
class Note:
    """One thing that a user has to know.

    Attributes:
        line: in the file, from 1; 0 where it is about the whole of it.
        kind: of `KINDS`.
        what: the item, as the file calls it.
        why: a sentence.
        nearest: what of ours comes nearest, with the reason; "" where nothing does.
    """

    line: int
    kind: str
    what: str
    why: str
    nearest: str = ""

    def told(self) -> str:
        """In one line, without the number of its line."""
        item = f"`{self.what}`: " if self.what else ""
        near = f"; nearest: {self.nearest}" if self.nearest else ""
        return f"{KINDS[self.kind]}: {item}{self.why}{near}"


@dataclass(frozen=True)
class Statement:
    """A statement of the recipe, or a comment in its place, with the lines of the file that it comes from."""

    text: str
    lines: tuple[int, ...] = ()


@dataclass
class Findings:
    """Collects while a file is walked."""

    statements: list[Statement] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def say(self, text: str, *values: Value) -> None:
        """A statement."""
        self.statements.append(Statement(text, tuple(dict.fromkeys(value.line for value in values))))

    def missing(self, at: Value, what: str, why: str, nearest: str = "") -> None:
        """Something that is not translated."""
        self.note(Note(at.line, "missing", what, why, nearest))

    def differs(self, line: int, what: str, why: str) -> None:
        """Something that is translated, and means something else in a respect that is said."""
        self.note(Note(line, "differs", what, why))

    def fill(self, line: int, what: str, why: str) -> None:
        """Something that the file does not say."""
        self.note(Note(line, "fill", what, why))

    def note(self, note: Note) -> None:
        """Each note once."""
        if note not in self.notes:
            self.notes.append(note)


class Fields:
    """The fields of an item, each taken once; what nobody took is told, so that nothing is dropped in silence."""

    def __init__(self, name: str, value: Value, findings: Findings) -> None:
        self.name, self.value, self.findings = name, value, findings
        self.taken: set[str] = set()
        for key in value.repeated:
            findings.differs(value.line, key, f"it is twice in `{name}`, and the last one counts")

    def take(self, *names: str) -> Value | None:
        """The first of these fields that is there and is not empty."""
        self.taken.update(names)
        return next((found for name in names if (found := self.value.get(name))), None)

    def number(self, *names: str, low: float | None = None, high: float | None = None) -> float | None:
        """A number; None where there is none.

        Raises:
            Wrong: RCP1263: it is not a number, or not within its bounds.
        """
        found = self.take(*names)
        if found is None:
            return None
        value = number(found.data)
        if value is None:
            raise Wrong("RCP1263", f"`{names[0]}` is `{found.text[:60]}`, not a number", found, "write a number")
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low:g}" if high is None else f"between {low or 0:g} and {high:g}"
            raise Wrong("RCP1263", f"`{names[0]}` is {value:g}", found, f"it is {bounds}")
        return value

    def share(self, *names: str) -> float | None:
        """A number from 0 to 1."""
        return self.number(*names, low=0, high=1)

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value."""
        found = self.take(name)
        return default if found is None else found.text.lower() in ("true", "1", "yes", "on")

    def drop(self, *names: str) -> None:
        """Fields without a bearing on the network: logging, devices, workers."""
        self.taken.update(names)

    def rest(self, nearest: str = "") -> None:
        """Tell of every field that was not taken."""
        for name, value in self.value.mapping.items():
            if name not in self.taken and not name.startswith("_") and value.data is not None:
                self.findings.missing(value, f"{self.name}: {name}", "this field has no counterpart here", nearest)


def shown(value: float) -> str:
    """A number as a recipe writes it."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def percent(share: float) -> str:
    """A share as a recipe writes it."""
    return f"{shown(100 * share)}%"


def epochs(count: float) -> str:
    """A duration as a recipe writes it."""
    return f"{shown(count)} epoch{'' if count == 1 else 's'}"


def call(name: str, *settings: str) -> str:
    """A method with its settings; those that are "" are left out."""
    inside = ", ".join(setting for setting in settings if setting)
    return f"{name}({inside})" if inside else name


def unknown(findings: Findings, name: str, at: Value, near: Mapping[str, str], known: Iterable[str]) -> None:
    """An item that no table translates: what comes nearest by meaning, else the name that it may be."""
    if name in near:
        findings.missing(at, name, "there is no such method here", near[name])
        return
    guess = likely(name, [*near, *known])
    findings.missing(at, name, f"unknown; did you mean `{guess}`?" if guess else "unknown", near.get(guess or "", ""))


def likely(name: str, known: Iterable[str]) -> str | None:
    """What a misspelt name may be; what all names end with, as in `FancyModifier`, does not make two of them alike."""
    stems = {_KIND.sub("", one): one for one in known}
    return stems.get(nearest(_KIND.sub("", name), stems) or "")


def joined(texts: Iterable[str]) -> str:
    """The words of a statement; those that are "" are left out."""
    return " ".join(text for text in texts if text)

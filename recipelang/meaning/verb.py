"""What a verb is: the data with which a file of `recipelang/verbs` says what its statement accepts and means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader
    from recipelang.plan import Condition, Operation
    from recipelang.syntax import nodes


#: what may stand in a statement and is not a method: sort → an example
SORTS = {
    "state": "healthy",
    "split": "val",
    "condition": "latency < 0.7",
    "modules": '"layer1.*"',
    "epochs": "3 epochs",
    "rounds": "5 rounds",
    "times": "3 times",
    "bits": "8 bits",
    "share": "80%",
    "value": "1e-2",
    "name": "NAME",
    "folder": '"deploy"',
    "file": '"base.rcp"',
}


@dataclass(frozen=True)
class Clause:
    """A clause that a verb takes.

    Attributes:
        word: `by`, `with`, `until`, …
        takes: what may follow it, in words, for the card.
        required: whether the statement is incomplete without it.
        default: what holds without it, in words or recipe text, for the card.
        accepts: what may follow it, for editors: kinds of methods, and sorts of `SORTS`.
        words: single words that may follow it.
    """

    word: str
    takes: str
    required: bool = False
    default: str = ""
    accepts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantPoints:
    """The statement opens variants: its block is read once for each point.

    Attributes:
        points: (name, what `$` names stand for, parameters of the report) of each.
    """

    points: tuple[tuple[str, tuple[tuple[str, nodes.Expression], ...], tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Loop:
    """The statement repeats its block: exactly one of the three is set."""

    times: int | None = None
    until: Condition | None = None
    guard: Condition | None = None


@dataclass(frozen=True)
class Switch:
    """The statement turns something on or off for the whole recipe: `control`, `no recovery`."""

    name: str


@dataclass(frozen=True)
class Insert:
    """The statement represents the statements of another file."""

    file: str


@dataclass(frozen=True)
class Verb:
    """One verb of the language; `check` works with this data and knows no verb by name.

    Attributes:
        summary: what it does, in one sentence.
        operands: what follows the verb, in words.
        accepts, words: what may follow it, for editors, as of a clause.
        clauses: the clauses that it takes; every other one is refused.
        example: a recipe that uses it, one line or several.
        read: turns a statement into an operation, or into `Points`, `Loop`, `Switch` or `Insert`; None where the
            statement is wrong and that is noted.
        operation: the dataclass that `read` gives, where it gives an operation.
        rules: what else must hold, in sentences, for the card.
        block: whether it has a block `{ … }`.
        top_level: whether it cannot be inside a block.
        once: whether a recipe may have only one without a name.
        provides: `model` or `data`: what everything else needs.
        after_variants: whether it may follow variants, where there is no single current model.
        joins: whether it makes one of the variants current again.
        not_after: verbs that must not come before it.
        why_not_after: the reason; `{place}` is where the other verb is.
        stale: (a restriction of the network, why this verb comes before it): it is a warning where it does not.
        sparse_first: whether weights must be in a pattern or on a grid before it.
        restricts: whether it may restrict the network for the hardware, so that there is a `recovered` after it.
        own_to_file: whether `use` leaves it out.
        inserts: whether it represents another file (`read` gives an `Insert`).
        throughout: whether it says something about the whole recipe, from its first line: the task.
        verdict: whether variants are filtered by it when one is chosen.
    """

    summary: str
    operands: str
    clauses: tuple[Clause, ...]
    example: str
    read: Callable[[Reader], Any]
    operation: type[Operation] | None = None
    rules: tuple[str, ...] = ()
    block: bool = False
    top_level: bool = False
    once: bool = False
    provides: str = ""
    after_variants: bool = False
    joins: bool = False
    not_after: tuple[str, ...] = ()
    why_not_after: str = ""
    stale: tuple[tuple[str, str], ...] = ()
    sparse_first: bool = False
    restricts: bool = False
    own_to_file: bool = False
    inserts: bool = False
    throughout: bool = False
    verdict: bool = False
    accepts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def clause(self, word: str) -> Clause | None:
        """The clause of this word, where the verb takes it."""
        return next((c for c in self.clauses if c.word == word), None)

"""What a verb file reads its statement with: clauses become methods, conditions, selections and durations.

A Reader never stops at a mistake: it notes it, returns None and continues with the statement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from recipelang.errors import Span, did_you_mean
from recipelang.meaning import tasks, trees
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.meaning.lookup import lookup, misspelt_clause
from recipelang.meaning.settings import bind
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes
from recipelang.syntax.show import show

T = TypeVar("T")


@dataclass
class Reader:
    """One statement on its way to an operation.

    Attributes:
        statement: with parameters filled in; defaults that the verb adds are appended, so it ends as the full text.
        flow: what is known of the network here.
        notes: where mistakes go.
        aliases: names of the profile → the expression that they stand for.
        failed: whether anything was refused.
    """

    statement: nodes.Statement
    flow: Flow
    notes: Notes
    aliases: Mapping[str, str]
    failed: bool = False

    # -- notes ---------------------------------------------------------------------------------------

    def refuse(self, code: str, message: str, span: Span | None = None, help: str = "") -> None:
        """Note a mistake; without a span, at the verb."""
        self.failed = True
        self.notes.refuse(code, message, span or self.statement.verb.span, help)

    def done(self, read: T) -> T | None:
        """What was read, unless something in the statement was refused."""
        return None if self.failed else read

    def use(self, name: str, span: Span) -> None:
        """Note that a word refers to a state, a model or a data set, those of the language itself included."""
        mentions = self.notes.mentions
        mentions.used.add(name)
        if name in self.flow.names:
            mentions.use(self.notes.path, span, self.flow.names[name][1])

    # -- parts of the statement ----------------------------------------------------------------------

    @property
    def verb(self) -> str:
        """The verb as written."""
        return self.statement.verb.text

    def clause(self, word: str) -> nodes.Clause | None:
        """The clause of this word."""
        return next((c for c in self.statement.clauses if c.word.text == word), None)

    def arguments(self, word: str) -> tuple[Any, ...]:
        """The arguments of a clause; () without it."""
        clause = self.clause(word)
        return clause.arguments if clause else ()

    def argument(self, word: str) -> Any | None:
        """The one argument of a clause; more are refused."""
        found = self.arguments(word)
        if len(found) > 1:
            self.refuse(
                "RCP0405", f"`{word}` of `{self.verb}` takes one item", found[1].span, "remove what follows the comma"
            )
        return found[0] if found else None

    def operand(self, what: str, help: str) -> Any | None:
        """The one operand; none or several are refused."""
        operands = self.statement.operands
        if not operands:
            self.refuse("RCP0404", f"`{self.verb}` needs {what}", None, help)
        elif len(operands) > 1:
            self.refuse("RCP0405", f"`{self.verb}` takes only {what}", operands[1].span, help)
        return operands[0] if len(operands) == 1 else None

    def no_operands(self) -> None:
        """Refuse anything between the verb and its clauses."""
        if self.statement.operands:
            first = self.statement.operands[0]
            close = misspelt_clause(first, first=True)
            if close:
                self.misspelt(close)
                return
            timed = isinstance(first, nodes.Number) and first.quantity.dimension in ("epochs", "steps")
            help = "clauses begin with a word such as `for`, `with` or `from`"
            if timed:
                help = f"write `{self.verb} for {show(first)}`"
            self.refuse(
                "RCP0405",
                f"nothing may come between `{self.verb}` and its clauses",
                self.statement.operands[0].span,
                help,
            )

    def add(self, word: str, text: str) -> tuple[Any, ...]:
        """Append a default to the statement, as if it had been written; the new arguments.

        Args:
            word: the clause, which is added where it is missing.
            text: its arguments in recipe text.
        """
        made = trees.respan(trees.statement(f"{self.verb} {word} {text}").clauses[0], self.statement.verb.span)
        old = self.clause(word)
        if old:
            self.replace_clause(old, (*old.arguments, *made.arguments))
        else:
            self.statement = dataclasses.replace(self.statement, clauses=(*self.statement.clauses, made))
        return made.arguments

    def replace_clause(self, clause: nodes.Clause, arguments: tuple[Any, ...]) -> None:
        """Give a clause of the statement other arguments."""
        full = dataclasses.replace(clause, arguments=arguments)
        clauses = tuple(full if c is clause else c for c in self.statement.clauses)
        self.statement = dataclasses.replace(self.statement, clauses=clauses)

    # -- words and numbers ---------------------------------------------------------------------------

    def word(self, node: Any, what: str, choices: tuple[str, ...]) -> str | None:
        """One word out of `choices`."""
        word = trees.bare_word(node)
        if word in choices:
            return word
        guess = did_you_mean(word or "", choices)
        shown = f"`{word}`" if word else "this"
        self.refuse("RCP0301", f"{shown} is not {what}", node.span, f"{guess}one of {listing(choices)}")
        return None

    def path(self, word: str) -> str:
        """A quoted folder or file; "" without the clause."""
        node = self.argument(word)
        if node is None:
            return ""
        if not isinstance(node, nodes.String) or not node.value.strip():
            self.refuse(
                "RCP0301", f"`{word}` of `{self.verb}` takes a folder in quotes", node.span, f'write `{word} "deploy"`'
            )
            return ""
        return node.value

    # -- methods -------------------------------------------------------------------------------------

    def method(self, node: Any, kind: str, place: str, example: str) -> Any | None:
        """The method of this kind that a node calls; `nm 2:4` is a call and its numbers."""
        pattern = None
        parts = trees.words(node)
        if len(parts) == 2 and isinstance(parts[1], nodes.Pattern) and kind == "pattern":
            node, pattern = parts
        if not isinstance(node, nodes.Call):
            close = self.clause_word_in(node)
            if close:
                self.misspelt(close)
            else:
                self.refuse("RCP0405", f"{place} takes a name", node.span, f"write `{example}`")
            return None
        found = lookup(node, (kind,), place, self.refuse)
        if found is None or not tasks.has(self.flow.task, *found, node.name, node.name_span, self.refuse):
            return None
        made = bind(node, found[1], self.refuse, pattern)
        return made if self._members_serve(made, kind, node.name_span) else None

    def _members_serve(self, made: Any, kind: str, span: Span) -> bool:
        """Whether all methods that a method is made of have a meaning in the task."""
        members = getattr(made, "members", ())
        return all(
            tasks.has(self.flow.task, kind, type(member), member.name, span, self.refuse)
            and self._members_serve(member, kind, span)
            for member in members
        )

    def methods(self, items: tuple[Any, ...], kind: str, place: str, example: str) -> tuple[Any, ...]:
        """Several methods of one kind, each once."""
        found: dict[Any, Any] = {}
        for item in items:
            made = self.method(item, kind, place, example)
            if made is not None and made in found:
                self.refuse("RCP0408", f"`{made.name}` appears twice", item.span, "name each once")
            elif made is not None:
                found[made] = item
        return tuple(found)

    def clause_word_in(self, node: Any) -> tuple[nodes.Call, str] | None:
        """A word among words that looks like a misspelt clause word: `untill` in `imprint untill latency`."""
        return misspelt_clause(node)

    def misspelt(self, found: tuple[nodes.Call, str]) -> None:
        """Note a misspelt clause word."""
        call, meant = found
        self.refuse("RCP0212", f"`{call.name}` is not a clause word", call.span, f"write `{meant}`")

    def comparison(self, node: Any) -> bool:
        """Whether there is a comparison where none is allowed; notes RCP0406, or the misspelt `until` in it."""
        if not isinstance(node, nodes.Compare | nodes.AllOf | nodes.AnyOf):
            return False
        close = misspelt_clause(node, first=True)
        if close:
            self.misspelt(close)
        else:
            condition = show(node)
            self.refuse(
                "RCP0406",
                f"`{self.verb}` is followed by a comparison",
                node.span,
                f"write a budget as a clause: `until {condition}`",
            )
        return True

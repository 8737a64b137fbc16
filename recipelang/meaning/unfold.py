"""The walk through a recipe: statement by statement, with what is known of the network at each one.

walk(items)
    let         binds a name
    statement   its verb reads it ─ operation → a Step
                                  ─ Points    → variants, each walked from the state before the first
                                  ─ Loop      → a Repeat
                                  ─ Switch    → a setting of the whole recipe
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recipelang.errors import RecipeError, Refusal, Span
from recipelang.meaning import form, preconditions
from recipelang.meaning.diagnostics import UNBOUND, Notes
from recipelang.meaning.flow import Flow, joined
from recipelang.meaning.parameters import Bindings
from recipelang.meaning.reader import Reader
from recipelang.meaning.sources import Placed, alias
from recipelang.meaning.trees import Extent
from recipelang.meaning.unread import Unread
from recipelang.meaning.verb import Loop, Switch, VariantPoints, Verb
from recipelang.plan import Branch, Node, Repeat, Step, Variant
from recipelang.syntax import nodes
from recipelang.syntax.grammar import DEEPEST
from recipelang.syntax.place import resembles
from recipelang.syntax.show import show

MOST_STATEMENTS = 10_000  # with those of every variant, and of a block in both its readings
MOST_WORDS = 1_000_000  # of all these statements, with the values of their parameters


@dataclass
class Walk:
    """Walks a recipe once.

    Attributes:
        notes: where mistakes go.
        unread: what could not be read, and every verb there is.
        aliases: names of the profile → recipe text.
        switches: what was switched on, and where.
        places: full names of variants → where each is.
        named: names that variants gave: what each is, and where it was given.
        walked, words: how many statements so far, and how many words they have.
    """

    notes: Notes
    unread: Unread
    aliases: Mapping[str, str]
    switches: dict[str, Span | None] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    named: dict[str, tuple[str, Span]] = field(default_factory=dict)
    walked: int = 0
    words: int = 0

    def walk(
        self, items: Iterable[Placed], bindings: Mapping[str, Bindings], flow: Flow, top: bool
    ) -> tuple[Node, ...]:
        """The planned nodes of the items of a file or of a block.

        Args:
            items: with the file that each comes from.
            bindings: of each file.
            flow: what is known before the first item; afterwards, what is known after the last.
            top: whether this is the file itself and no block.

        Raises:
            RecipeError: RCP0415, RCP0416: nested variants or values make the recipe too large.
        """
        made: list[Node] = []
        here = dict(bindings)
        opened: _Opened | None = None
        for placed in items:
            self.notes.path = placed.path
            if isinstance(placed.item, nodes.Let):
                if here[placed.path] is bindings[placed.path]:
                    here[placed.path] = bindings[placed.path].inner()
                self._let(placed.item, placed.path, here[placed.path])
                continue
            self._count(placed.item, here[placed.path])
            found = self._statement(placed, placed.item, here, flow, top)
            if isinstance(found, _Variants):
                if opened is None:
                    opened = _Opened(flow.copy(), len(made))
                    made.append(Branch(()))
                self._open(opened, found, here, flow)
            elif found is not None:
                made.append(found)
                verb = self.unread.find_verb(placed.item.verb.text)
                if verb and verb.joins and opened and opened.ends:
                    flow.become(joined(opened.before, opened.ends))
                    made[opened.index] = Branch(tuple(opened.variants))
                    opened = None
        if opened:
            made[opened.index] = Branch(tuple(opened.variants))
        return tuple(made)

    def _let(self, let: nodes.Let, path: str, bindings: Bindings) -> None:
        """Bind the name of a `let`."""
        extent = bindings.extent(let.value)
        self._limit(extent, let.value.span)
        bindings.bind(let.name.text, bindings.fill(let.value, self.notes), extent, let.name.span, path)
        self.notes.mentions.give("parameter", path, let.name.span)

    def _count(self, statement: nodes.Statement, bindings: Bindings) -> None:
        """Count a statement and its words before its values are filled in.

        Raises:
            RecipeError: RCP0415, RCP0416: there are too many.
        """
        self.walked += 1
        if self.walked > MOST_STATEMENTS:
            help = "sweep fewer values at once; blocks within blocks multiply"
            message = f"the recipe unfolds into more than {MOST_STATEMENTS} statements"
            self.notes.refuse("RCP0415", message, statement.span, help)
            raise RecipeError(self.notes.errors)
        extent = bindings.extent(statement)
        self.words += extent.words
        self._limit(Extent(self.words, extent.depth), statement.verb.span)

    def _limit(self, extent: Extent, span: Span) -> None:
        if extent.words > MOST_WORDS:
            message = f"with the values of `let` and `sweep` filled in, the recipe has more than {MOST_WORDS} words"
            help = "a value that names another twice doubles it, and a sweep repeats its block; use fewer of both"
        elif extent.depth > DEEPEST:
            message = f"with its values filled in, brackets and values are nested more than {DEEPEST} deep here"
            help = "let fewer values name other values"
        else:
            return
        self.notes.refuse("RCP0416", message, span, help)
        raise RecipeError(self.notes.errors)

    # -- one statement -------------------------------------------------------------------------------

    def _statement(
        self, placed: Placed, statement: nodes.Statement, bindings: Mapping[str, Bindings], flow: Flow, top: bool
    ) -> Any:
        """A Step, a Repeat, `_Variants`, or None where there is nothing to do or something was refused."""
        verb = self.unread.find_verb(statement.verb.text)
        if verb is None and (broken := self.unread.why_no_verb(statement.verb.text)):
            self.notes.refuse(broken.code, broken.message, statement.verb.span, broken.help)
            self.unread.unknown(statement)
            return None
        if verb is None:
            if statement.verb.text != nodes.UNREADABLE or not self.notes.errors:
                form.unknown_verb(statement, self.unread.verb_names(), self.notes.refuse)
            self._read_as_meant(placed, statement, bindings, flow)
            self._look_inside(placed, statement, bindings, flow)
            return None
        form.check(verb, statement, top, self.notes.refuse)
        preconditions.before(verb, statement, flow, self.notes.refuse)
        filled = bindings[placed.path].fill(statement, self.notes)
        if verb.provides:
            filled = alias(filled, self.aliases, self.notes.refuse)
        reader = Reader(filled, flow, self.notes, self.aliases)
        found = self._read(verb, reader)
        if verb.block and statement.block is None:  # it was refused, and opens nothing
            found = None
        preconditions.after(verb, found, statement, flow, self.notes)
        if found is None:
            self.unread.refused(statement, verb)
        if isinstance(found, VariantPoints):
            return _Variants(found, statement, placed)
        if isinstance(found, Loop):
            return self._repeat(found, reader.statement, placed, bindings, flow)
        if isinstance(found, Switch):
            self.switches.setdefault(found.name, statement.span)
            return None
        if found is None:
            if verb.block:
                self._look_inside(placed, statement, bindings, flow)
            return None
        span, path = (None, "") if placed.why else (statement.span, placed.path)  # added by the language: no place
        if placed.path.startswith("--"):  # it comes from an option, whose words know their place
            span, path = statement.operands[0].span, ""
        return Step(found, show(reader.statement), span, path, bool(placed.why), placed.why)

    def _read(self, verb: Verb, reader: Reader) -> Any:
        """What the verb makes of its statement; a plug-in that it cannot use is refused there."""
        try:
            return verb.read(reader)
        except Refusal as refusal:
            reader.refuse(refusal.code, refusal.message, None, refusal.help)
            return None

    def _read_as_meant(
        self, placed: Placed, statement: nodes.Statement, bindings: Mapping[str, Bindings], flow: Flow
    ) -> None:
        """Note what else is wrong in a statement whose verb is misspelt, read as the verb that it resembles."""
        close = resembles(statement.verb.text, self.unread.verb_names())
        verb = self.unread.find_verb(close) if close else None
        if verb is None or verb.block or statement.block:
            self.unread.unknown(statement)
            return
        self.unread.refused(statement, verb)
        filled = bindings[placed.path].fill(statement, self.notes)
        verb.read(Reader(filled, flow.copy(), self.notes, self.aliases))

    # -- blocks --------------------------------------------------------------------------------------

    def _open(self, opened: _Opened, found: _Variants, bindings: Mapping[str, Bindings], flow: Flow) -> None:
        """Walk the block once for each point, from the state before the first variant."""
        statement, path = found.statement, found.placed.path
        for name, values, parameters in found.points.points:
            inside = opened.before.inner(name, flow.variants)
            full = ", ".join(inside.path)
            here = statement.operands[0].span
            if self.places.setdefault(full, here) != here:
                message = f"there is already a variant `{name}` {self.places[full].at(here)}"
                self.notes.refuse("RCP0207", message, here, "choose another name")
            self.notes.mentions.variants.setdefault(full, here)
            bound = bindings[path].inner()
            for parameter, value in values:
                bound.bind(parameter, value, bound.extent(value), statement.operands[0].span, path)
            body = self.walk(_inner(found.placed, statement), {**bindings, path: bound}, inside, False)
            self.notes.path = path
            opened.variants.append(Variant(name, parameters, body, statement.span))
            opened.ends.append(inside)
            self.named.update(inside.names)
            flow.variants[name] = "" if inside.branch else full
            flow.everywhere = flow.everywhere & inside.certain if flow.branch else inside.certain
            flow.branch = True
            flow.expects = flow.expects or inside.expects
            flow.sparse = flow.sparse or inside.sparse
            flow.restrictions |= inside.restrictions  # of some variant: what follows is done to each

    def _repeat(
        self, loop: Loop, statement: nodes.Statement, placed: Placed, bindings: Mapping[str, Bindings], flow: Flow
    ) -> Repeat:
        """Walk the block twice, since its second round starts where the first ends."""
        inner = _inner(placed, statement)
        if statement.block and not inner:
            help = "write what to repeat inside the braces"
            self.notes.refuse("RCP0407", "there is nothing to repeat", statement.block.span, help)
        variants, restricted, restrictions = flow.variants, flow.restricted, flow.restrictions
        outgrown, same = flow.outgrown, flow.same
        flow.variants = variants.new_child()
        body = self.walk(inner, bindings, flow, False)
        if flow.branch:
            help = "`choose by METRIC` at the end of the block"
            self.notes.refuse(
                "RCP0502", "the block ends in variants: which of them is repeated?", statement.verb.span, help
            )
            flow.branch = False
        flow.variants = variants.new_child()
        self.walk(inner, bindings, flow, False)
        flow.branch, flow.variants = False, variants
        if loop.times is None:  # it may run zero times
            flow.restrictions, flow.outgrown = restrictions, outgrown
            flow.same &= same
            if restricted is None:
                flow.perhaps, flow.restricted = flow.restricted, None
        self.notes.path = placed.path
        bare = nodes.Statement(statement.verb, statement.operands, statement.clauses, None, statement.span)
        return Repeat(loop.times, loop.until, loop.guard, body, show(bare), statement.span, placed.path)

    def _look_inside(
        self, placed: Placed, statement: nodes.Statement, bindings: Mapping[str, Bindings], flow: Flow
    ) -> None:
        """Note what is wrong in a block whose own statement is wrong; the values of its parameter are unknown."""
        outer, self.notes = self.notes, Notes(placed.path, mentions=self.notes.mentions)
        inside = flow.copy()
        inside.branch = False  # the block may be that of a variant
        self.walk(_inner(placed, statement), bindings, inside, False)
        outer.errors += [d for d in self.notes.errors if d.code != UNBOUND and d not in outer.errors]
        self.notes = outer


@dataclass(frozen=True)
class _Variants:
    """A statement that opens variants, before its block is walked."""

    points: VariantPoints
    statement: nodes.Statement
    placed: Placed


@dataclass
class _Opened:
    """Variants that are open: the flow before the first, and the index of their Branch among the nodes."""

    before: Flow
    index: int
    variants: list[Variant] = field(default_factory=list)
    ends: list[Flow] = field(default_factory=list)


def _inner(placed: Placed, statement: nodes.Statement) -> list[Placed]:
    """The statements of a block, which come from the same file."""
    return [Placed(item, placed.path) for item in (statement.block.items if statement.block else ())]

"""`prune [N] UNIT by CRITERION [until BUDGET] [while GUARD] …`: remove parts of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang import catalogue
from recipelang.catalogue import spell
from recipelang.errors import Span, did_you_mean
from recipelang.kinds import why_unfit
from recipelang.meaning import conditions, modules, places, training, trees
from recipelang.meaning.bounds import opposed, shrinking
from recipelang.meaning.reader import Reader
from recipelang.meaning.settings import bind
from recipelang.meaning.verb import Clause, Verb
from recipelang.meaning.wording import listing
from recipelang.plan import Condition, Needs, Samples, Selection, Training, unhashed
from recipelang.syntax import nodes


@dataclass(frozen=True)
class Prune:
    """Remove the least important units until a budget holds, or a given number of them."""

    verb: ClassVar[str] = "prune"
    version: ClassVar[int] = 3
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    unit: Any  # a method of kind `unit`
    criterion: Any
    count: int | None = None  # the number of units
    share: float | None = None  # or this share of the units present when the statement starts
    until: Condition | None = None
    guard: Condition | None = None
    selection: Selection = Selection()
    rounds: int = 1
    training: Training | None = None  # divided among the rounds
    samples: Samples = Samples("train")  # the data that the criterion uses
    criterion_span: Span | None = unhashed(None)

    def needs(self) -> Needs:
        """Its criterion, its budget, and its training."""
        return Needs(
            training=self.training,
            rounds=self.rounds,
            criterion=self.criterion,
            samples=self.samples,
            until=self.until,
            guard=self.guard,
            looks=24 if self.unit.many else 5,
            selection=self.selection,
        )


#: what other verbs do to other units
ELSEWHERE = {
    "weights": "`sparsify` sets weights to zero",
    "channels": "the channels that a convolution makes are its `filters`",
    "blocks": "residual blocks are `layers`",
}


def read(reader: Reader) -> Prune | None:
    """`prune 2 layers by taylor`, `prune layers by imprint until latency < 0.7 while top1 drop < 1%`."""
    unit, count, share = _what(reader)
    understood = not reader.failed
    criterion_node = reader.argument("by")
    criterion = None
    if criterion_node is not None:
        criterion = reader.method(criterion_node, "criterion", "`by`", "by imprint")
    elif reader.clause("by") is None and understood:
        reader.refuse(
            "RCP0403", "`prune` does not say how to rank", None, "write `by imprint`, `by taylor` or `by magnitude`"
        )
    until, guard = conditions.of_clause(reader, "until"), conditions.of_clause(reader, "while")
    shrinking(until, "until", reader.refuse)
    shrinking(guard, "while", reader.refuse)
    opposed(until, guard, reader.refuse)
    if unit is not None and criterion is not None and criterion_node is not None:
        _scored(reader, unit, criterion, criterion_node)
    if unit is not None:
        _in_order(reader, unit)
    if understood and unit is not None:
        _how_much(reader, unit.name, count is not None or share is not None)
    rounds = _rounds(reader)
    made = Prune(
        unit=unit,
        criterion=criterion,
        count=count,
        share=share,
        until=until,
        guard=guard,
        selection=modules.selection(reader),
        rounds=rounds,
        training=_training(reader, rounds),
        samples=places.samples(reader) or Samples("train"),
        criterion_span=criterion_node.span if criterion_node is not None else None,
    )
    return reader.done(made)


def _what(reader: Reader) -> tuple[Any | None, int | None, float | None]:
    """(unit, count, share) of `layers`, `2 layers`, `50% filters(round=8)`."""
    node = reader.operand("one thing to remove", "write `prune layers by imprint until latency < 0.7`")
    if node is None:
        return None, None, None
    if reader.comparison(node):
        return None, None, None
    parts = trees.words(node)
    number = parts[0] if isinstance(parts[0], nodes.Number) else None
    rest = parts[1:] if number else parts
    close = reader.clause_word_in(node)
    if close:
        reader.misspelt(close)
    elif len(rest) != 1:
        help = "write `prune 2 layers by taylor`"
        reader.refuse("RCP0405", "`prune` takes one unit, with a number before it", node.span, help)
    unit = _unit(reader, rest[0]) if len(rest) == 1 else None
    count, share = _amount(reader, number, unit) if number else (None, None)
    return unit, count, share


def _unit(reader: Reader, node: Any) -> Any | None:
    """The unit that a word names, in the plural or, after a 1, in the singular."""
    known = catalogue.names("unit")
    word = node.name if isinstance(node, nodes.Call) and len(node.path) == 1 else None
    plural = next((name for name in (word, f"{word}s") if name in known), None)
    found = catalogue.find("unit", plural) if plural else None
    if found is not None:
        return bind(node, found, reader.refuse)
    shown = f"`{word}`" if word else "this"
    offered = ELSEWHERE.get(word or "")
    help = f"{offered + '; ' if offered else did_you_mean(word or '', known)}`prune` removes: {listing(known)}"
    reader.refuse("RCP0210", f"`prune` cannot remove {shown}", node.span, help)
    return None


def _scored(reader: Reader, unit: Any, criterion: Any, node: Any) -> None:
    """The criterion's scores must aggregate to the unit, and mean something there."""
    if why := why_unfit(criterion, unit.name, unit.scores):
        fitting = [name for name in catalogue.names("criterion") if _fits(name, unit)]
        there = criterion.unit in ("layer", "filter") and criterion.unit not in unit.scores
        own = [f"`prune {criterion.unit}s by {spell(criterion)}`"] if there else []
        reader.refuse(
            "RCP0413",
            f"{criterion.name} does not rank {unit.name}: {why}",
            node.span,
            ", or ".join([*own, f"by {listing(fitting)} here"]),
        )


def _fits(name: str, unit: Any) -> bool:
    found: Any = catalogue.find("criterion", name)
    return not why_unfit(found, unit.name, unit.scores)


def _in_order(reader: Reader, unit: Any) -> None:
    """A pattern is of groups of input channels: it comes after channels are removed."""
    pattern = reader.flow.last.get("sparsify")
    if unit.ranks == "filter" and pattern is not None and pattern == reader.flow.restricted:
        here = reader.statement.verb.span
        message = f"removing {unit.name} after `sparsify` ({pattern.seen_from(here)}) breaks its groups of weights"
        help = f"move `prune …` before {pattern.seen_from(here)}"
        reader.refuse("RCP0506", message, reader.statement.operands[0].span, help)


def _amount(reader: Reader, number: nodes.Number, unit: Any) -> tuple[int | None, float | None]:
    """`2` is a count, `50%` a share of the units present when the statement starts."""
    quantity = number.quantity
    if quantity.unit == "%" and 0 < quantity.value < 1:
        return None, quantity.value
    count = trees.whole(number, ("number", "count"))
    if count:
        return count, None
    what = unit.name if unit is not None else "units"
    help = f"write a number of them, `prune 2 {what}`, or a share below 100%, `prune 50% {what}`"
    reader.refuse("RCP0309", f"`{number.text}` is not a number of {what}", number.span, help)
    return None, None


def _how_much(reader: Reader, what: str, counted: bool) -> None:
    """Something must say when to stop, and not two things at once."""
    until, guard = reader.clause("until"), reader.clause("while")
    if counted and until:
        help = "remove the number, or the `until`; in rounds: `repeat until … { prune 1 layer … }`"
        message = f"the number of {what} and `until` both say when to stop"
        reader.refuse("RCP0409", message, until.word.span, help)
    elif not (counted or until or guard):
        help = f"write `prune 2 {what} …`, or add `until latency < 0.7` or `while top1 drop < 1%`"
        reader.refuse("RCP0410", "nothing says how much to remove", None, help)


def _rounds(reader: Reader) -> int:
    """`over 5 rounds`; 1 without the clause."""
    node = reader.argument("over")
    if node is None:
        return 1
    rounds = trees.whole(node, ("rounds",), most=1e6)
    if rounds is None:
        if isinstance(node, nodes.Call) and node.path[0].text in catalogue.names("schedule"):
            message = f"`{node.name}` is a schedule; `over` of `prune` takes a number of rounds"
            reader.refuse("RCP0203", message, node.span, "write, for example, `over 5 rounds`")
            return 1
        meant = trees.whole(node, ("number", "times", "steps", "epochs"), most=1e6)
        reader.refuse(
            "RCP0302",
            "`over` takes a number of rounds",
            node.span,
            f"write `over {meant} rounds`" if meant else "write, for example, `over 5 rounds`",
        )
    return rounds or 1


def _training(reader: Reader, rounds: int) -> Training | None:
    """`for 20 epochs with sgd(…)`: training, divided among the rounds; None without `for`."""
    if reader.clause("for"):
        return training.read(reader, training.TUNING, rounds=rounds)
    for node in reader.arguments("with"):
        reader.refuse(
            "RCP0414", "`with` trains, and nothing says how long", node.span, "add `for 3 epochs`, or remove `with`"
        )
    return None


VERB = Verb(
    summary="Removes the least important parts of the network until a budget holds, or a given number of them.",
    operands=f"a number or share, and what is removed: {listing(catalogue.names('unit'))}",
    clauses=(
        Clause("by", "the criterion that ranks", required=True),
        Clause("until", "a budget: stop as soon as it holds"),
        Clause("while", "a guard: a removal that breaks it is undone"),
        Clause("in", "modules to remove from", default="all"),
        Clause("except", "modules to keep"),
        Clause("over", "a number of rounds; each ranks again", default="1 round"),
        Clause("for", "training, divided among the rounds", default="none"),
        Clause("with", "an optimizer and a loss for that training", default=training.TUNING),
        Clause("on", "the data that the criterion uses", default="train"),
    ),
    example="prune layers by imprint until latency < 0.7 while top1 drop < 2%",
    read=read,
    operation=Prune,
    rules=(
        "A number, a share, `until` or `while` says when to stop; a number and `until` are mutually exclusive.",
        "After the statement its `until` holds and its `while` still holds; otherwise the budget was out of reach.",
        "Numbers are totals: `over 10 rounds for 20 epochs` trains 20 epochs in total.",
        "A criterion must score the unit: one that ranks whole layers cannot rank filters.",
    ),
    not_after=("accelerate",),
    why_not_after="removing {what} after `accelerate` ({place}) breaks the kernels chosen there",
)

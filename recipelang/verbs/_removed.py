"""What `prune` removes: units with their amounts, and how the removal is divided among groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from recipelang import catalogue
from recipelang.catalogue import spell
from recipelang.errors import did_you_mean
from recipelang.kinds import Compensator, why_no_sum
from recipelang.meaning import trees
from recipelang.meaning.reader import Reader
from recipelang.meaning.settings import bind
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes
from recipelang.syntax.show import show

#: what other verbs do to other units
ELSEWHERE = {
    "weights": "`sparsify` sets weights to zero",
    "channels": "the channels that a convolution makes are its `filters`",
    "blocks": "residual blocks are `layers`",
}


@dataclass(frozen=True)
class Amount:
    """A unit, and how much of it is removed; neither number nor share where a condition decides."""

    unit: Any  # a method of kind `unit`
    count: int | None = None  # the number of units
    share: float | None = None  # or this share of the units present when the statement starts

    @property
    def given(self) -> bool:
        """Whether it says how much."""
        return self.count is not None or self.share is not None


def amounts(reader: Reader) -> tuple[Amount, ...]:
    """`layers`, `2 layers`, `50% filters(round=8)`, `layers, filters`; () where one of them is wrong."""
    operands = reader.statement.operands
    if not operands:
        help = "write `prune layers by imprint until latency < 0.7`"
        reader.refuse("RCP0404", "`prune` needs one thing to remove", None, help)
        return ()
    found = [_amount(reader, node) for node in operands]
    if any(amount is None for amount in found):
        return ()
    known: list[Amount] = []
    for node, amount in zip(operands, found, strict=True):
        assert amount is not None
        if any(amount.unit.name == other.unit.name for other in known):
            reader.refuse("RCP0408", f"`{amount.unit.name}` appears twice", node.span, "name each unit once")
        elif known and amount.given != known[0].given:
            message = "of several units, each has a number before it, or none has"
            help = f"write `prune 2 {known[0].unit.name}, 30% {amount.unit.name} …`, or no number and an `until`"
            reader.refuse("RCP0409", message, node.span, help)
        known.append(amount)
    return tuple(known)


def _amount(reader: Reader, node: Any) -> Amount | None:
    """One operand."""
    if isinstance(node, nodes.AllOf) and not any(isinstance(test, nodes.Compare) for test in node.tests):
        help = f"write `prune {', '.join(show(test) for test in node.tests)}`"
        reader.refuse("RCP0405", "`prune` separates units with commas", node.span, help)
        return None
    if reader.comparison(node):
        return None
    parts = trees.words(node)
    number = parts[0] if isinstance(parts[0], nodes.Number) else None
    rest = parts[1:] if number else parts
    close = reader.clause_word_in(node)
    if close:
        reader.misspelt(close)
    elif len(rest) != 1:
        help = "write `prune 2 layers by taylor`, or `prune layers, filters by taylor` with a comma"
        reader.refuse("RCP0405", "`prune` takes units, each with a number before it", node.span, help)
    unit = _unit(reader, rest[0]) if len(rest) == 1 else None
    count, share = _number(reader, number, unit) if number else (None, None)
    return Amount(unit, count, share) if unit is not None else None


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


def _number(reader: Reader, number: nodes.Number, unit: Any) -> tuple[int | None, float | None]:
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


def is_allocation(node: Any) -> bool:
    """Whether an item of `with` names an allocation; the others are for the training."""
    return isinstance(node, nodes.Call) and node.path[0].text in catalogue.names("allocation")


def allocation(reader: Reader, asked: tuple[Amount, ...], criterion: Any) -> Any | None:
    """How the removal is divided among groups: what `with` names, or the usual one.

    Returns:
        a method of kind `allocation`; None for one ranking of a single unit, or of each unit by itself.
    """
    given = [node for node in reader.arguments("with") if is_allocation(node)]
    for more in given[1:]:
        reader.refuse("RCP0408", "`with` names a second allocation", more.span, "keep one")
    if not asked:
        return None
    several = len(asked) > 1 and not asked[0].given
    made = None
    if given:
        made = reader.method(given[0], "allocation", "`with` of `prune`", "with uniform")
        if made is None:
            return None
    elif several:
        (node,) = [item for item in reader.add("with", "knapsack") if is_allocation(item)]
        made = reader.method(node, "allocation", "`with` of `prune`", "with knapsack")
    if made is None:
        return None
    span = given[0].span if given else reader.statement.operands[1].span
    _require_fit(reader, made, asked, span, criterion)
    if made.compares and (several or made.prices) and criterion is not None:
        _require_sums(reader, made, asked, criterion)
    return made if several or made.name != "global" else None


def _require_fit(reader: Reader, made: Any, asked: tuple[Amount, ...], span: Any, criterion: Any) -> None:
    """Note an allocation that has no meaning for what is removed (RCP0475)."""
    for message, help in _unfit(reader, made, [amount.unit for amount in asked], criterion):
        reader.refuse("RCP0475", message, span, help)
        return


def _unfit(reader: Reader, made: Any, units: list[Any], criterion: Any) -> Iterator[tuple[str, str]]:
    """Why an allocation cannot divide a removal, and what to write instead."""
    name, names = made.name, [unit.name for unit in units]
    own: tuple[str, ...] = getattr(made, "units", ())
    other = next((unit for unit in names if own and unit not in own), "")
    whole = next((unit.name for unit in units if not unit.many), "")
    out = f"leave `with {name}` out"
    if not getattr(made, "parts", True):
        yield f"`{name}` divides the zeros of `sparsify` among weights, and `prune` removes {names[0]}", out
    if other:
        yield f"`{name}` divides {listing(list(own))}, and {other} are removed", f"{out}, or remove {own[0]}"
    if whole and not made.whole:
        message = f"`{name}` says how much of every group goes, and of {whole} each is removed or stays"
        yield message, f"{out}, or remove filters or neurons"
    if len(units) > 1 and not getattr(made, "several", True):
        yield f"`{name}` divides the parts of one unit, and here are {len(units)}", f"{out}, or name one unit"
    if getattr(made, "budget", made.prices) and reader.clause("until") is None:
        does = "weighs importance against what is won of" if made.prices else "looks for what meets"
        numbered = ", ".join(f"2 {unit}" for unit in names)
        help = f"add `until latency < 0.7`, or give numbers and no `with`: `prune {numbered} …`"
        yield f"`{name}` {does} a budget, and there is no budget", help
    if getattr(made, "adopts", False) and isinstance(criterion, Compensator):
        message = f"`{name}` trains what stays, and `{spell(criterion)}` corrects what stays for the values before that"
        yield message, "rank `by magnitude` or `by taylor`"


def _require_sums(reader: Reader, made: Any, asked: tuple[Amount, ...], criterion: Any) -> None:
    """Note a criterion or a unit whose scores are on no scale that units share (RCP0413)."""
    units = " and ".join(amount.unit.name for amount in asked)
    place = reader.argument("by")
    if why := why_no_sum(criterion):
        fitting = [name for name in catalogue.names("criterion") if not why_no_sum(catalogue.find("criterion", name))]
        what = "together" if len(asked) > 1 else f"for `{made.name}`"
        message = f"{criterion.name} does not rank {units} {what}: {why}"
        help = f"by {listing(fitting)}"
        if len(asked) > 1:
            help += f"; or number each unit, `prune {', '.join(f'2 {amount.unit.name}' for amount in asked)} …`"
        reader.refuse("RCP0413", message, place.span if place is not None else None, help)
    for number, amount in enumerate(asked):
        if not hasattr(amount.unit, "totals"):
            message = f"{amount.unit.name} have no sums of scores, which `{made.name}` compares"
            reader.refuse("RCP0413", message, reader.statement.operands[number].span, "remove them by themselves")

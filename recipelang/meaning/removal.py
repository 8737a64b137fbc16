"""What must not come before parts of the network are removed, by a criterion or by a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.kinds import PARTS
from recipelang.meaning.wording import listing
from recipelang.syntax.show import show

if TYPE_CHECKING:
    from recipelang.errors import Span
    from recipelang.meaning.reader import Reader


def after_pattern(reader: Reader, unit: Any, span: Span) -> None:
    """Note channels that would be removed after a pattern across channels (RCP0506)."""
    pattern = reader.flow.across
    if unit.ranks == "filter" and pattern is not None:
        here = reader.statement.verb.span
        message = f"removing {unit.name} after `sparsify` ({pattern.seen_from(here)}) breaks its groups of weights"
        help = f"move `{reader.verb} …` before {pattern.seen_from(here)}"
        reader.refuse("RCP0506", message, span, help)


def by_training(reader: Reader, companions: dict[Any, Any], removes: bool) -> None:
    """Note companions that cannot train this network (RCP0850), or remove parts where none can be (RCP0450, RCP0506).

    Args:
        companions: each with the node that names it.
        removes: whether the statement's training may remove parts.
    """
    for made, node in companions.items():
        trainable(reader, made, node)
    removing = {made: node for made, node in companions.items() if made.leaves == PARTS}
    for number, (made, node) in enumerate(removing.items()):
        if not removes:
            message = (
                f"`{made.name}` removes parts at the end of `train`, `finetune` or `distill`, not of `{reader.verb}`"
            )
            length = show(clause) if (clause := reader.clause("for")) else "for 10 epochs"
            help = f"write `finetune {length} with {show(node)}` on a line of its own"
            reader.refuse("RCP0450", message, node.span, help)
        elif number:
            first = next(iter(removing)).name
            message = f"`{first}` and `{made.name}` both decide which parts are removed"
            reader.refuse("RCP0450", message, node.span, "train with one after the other, in two statements")
        else:
            unit = unit_of(made)
            after_pattern(reader, unit, node.span)
            _after_kernels(reader, unit, node.span)


def trainable(reader: Reader, companion: Any, node: Any) -> None:
    """Note a companion that cannot train the network as it is restricted here (RCP0850)."""
    for restriction in sorted(reader.flow.restrictions.intersection(companion.excludes)):
        message = f"`{companion.name}` cannot train a network that is {restriction}"
        reader.refuse("RCP0850", message, node.span, f"write the training with `{companion.name}` before that")


def unit_of(companion: Any) -> Any:
    """The unit that a companion decides about: its setting, or the first of its `units`."""
    found: Any = getattr(companion, "unit", None) or catalogue.find("unit", companion.units[0])
    return found


def deciding() -> list[str]:
    """The companions that decide what `prune UNIT by NAME for …` removes."""
    found: dict[str, Any] = {name: catalogue.find("companion", name) for name in catalogue.names("companion")}
    return [name for name, companion in found.items() if companion.leaves == PARTS]


def offered() -> str:
    """Those companions, for a help line."""
    return listing(deciding())


def _after_kernels(reader: Reader, unit: Any, span: Span) -> None:
    """Note parts that would be removed after kernels were chosen for them (RCP0506)."""
    first = reader.flow.last.get("accelerate")
    if first is not None:
        here = reader.statement.verb.span
        message = f"removing {unit.name} after `accelerate` ({first.seen_from(here)}) breaks the kernels chosen there"
        above = min(first, reader.flow.restricted or first)
        reader.refuse("RCP0506", message, span, f"move `{reader.verb} …` before {above.seen_from(here)}")

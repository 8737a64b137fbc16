"""`prune UNIT by COMPANION for DURATION`: a training decides which parts are removed, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from recipelang import catalogue
from recipelang.kinds import PARTS
from recipelang.meaning import modules, removal, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.wording import listing
from recipelang.plan import Selection, Training
from recipelang.syntax import nodes
from recipelang.syntax.show import show
from recipelang.verbs._removed import Amount

#: clauses that say how much is removed, or how it is ranked, and why there is nothing to say
DECIDES = {
    "until": "decides itself when it has removed enough",
    "while": "decides itself when it has removed enough",
    "over": "removes at the end of its training",
    "on": "learns from the training split, and ranks with no other data",
}


@dataclass(frozen=True)
class Learned:
    """What such a statement says; parts that were refused are None."""

    unit: Any
    training: Training | None
    selection: Selection


def is_companion(node: Any) -> bool:
    """Whether `by` names a companion of a training, and no criterion."""
    if not isinstance(node, nodes.Call) or node.path[0].text in catalogue.names("criterion"):
        return False
    return node.path[0].text in catalogue.names("companion")


def read(reader: Reader, node: Any, asked: Sequence[Amount]) -> Learned:
    """`prune filters by joint for 160 epochs with sgd(lr=0.05)`."""
    made = reader.method(node, "companion", "`by` of `prune`", "by joint")
    if made is not None and made.leaves != PARTS:
        message = f"`{made.name}` removes nothing: it is a companion of a training, after which a criterion ranks"
        help = f"write `finetune for 10 epochs with {show(node)}` above, and rank `by bn` or `by magnitude`; "
        reader.refuse("RCP0450", message, node.span, f"{help}by {removal.offered()} decides by itself")
        made = None
    unit = _unit(reader, made, asked, node)
    for word, why in DECIDES.items():
        if made is not None and (clause := reader.clause(word)):
            message = f"`{made.name}` {why}: it takes no `{word}`"
            reader.refuse("RCP0450", message, clause.word.span, _otherwise(unit, clause))
    selection = modules.selection(reader)
    trained = _training(reader, made)
    if made is None or unit is None or trained is None:
        reader.failed = True
        return Learned(unit, None, selection)
    companions = (*trained.companions, made.of(unit, selection))
    return Learned(unit, replace(trained, companions=companions), selection)


def _unit(reader: Reader, made: Any, asked: Sequence[Amount], node: Any) -> Any:
    """The one unit, without a number; None where something about it was refused."""
    if not asked or made is None:
        return asked[0].unit if asked else None
    unit = asked[0].unit
    if unit.name not in made.units:
        message = f"`{made.name}` does not decide about {unit.name}"
        reader.refuse("RCP0450", message, node.span, f"it takes {listing(made.units)}")
        return None
    if getattr(made, "unit", None) is not None:
        message = f"`unit` of `{made.name}` and `prune {unit.name}` both say what is removed"
        reader.refuse("RCP0450", message, node.span, "leave the setting out")
    operands = reader.statement.operands
    if len(asked) > 1:
        message = f"`{made.name}` decides about one unit in a statement"
        reader.refuse("RCP0450", message, operands[1].span, f"write `prune {unit.name} by {show(node)} …`")
    if asked[0].given:
        message = f"`{made.name}` decides itself how many {unit.name} are removed: it takes no number"
        help = f"write `prune {unit.name} by {show(node)} …`; a higher `strength` removes more"
        reader.refuse("RCP0450", message, operands[0].span, help)
    removal.after_pattern(reader, unit, operands[0].span)
    removal.trainable(reader, made, node)
    return unit


def _training(reader: Reader, made: Any) -> Training | None:
    """`for` and `with`; one without `for` is refused."""
    if reader.clause("for") is None:
        name = made.name if made is not None else "it"
        message = f"`{name}` decides during a training, and nothing says how long that is"
        reader.refuse("RCP0403", message, None, "add `for 10 epochs`")
        return None
    return training.read(reader, training.TUNING)


def _otherwise(unit: Any, clause: nodes.Clause) -> str:
    """How a criterion is asked instead."""
    what = unit.name if unit is not None else "filters"
    return f"leave it out, or rank by a criterion: `prune {what} by taylor {show(clause)} …`"

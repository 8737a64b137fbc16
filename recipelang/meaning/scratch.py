"""`from scratch`, `from scratch(equal=flops)`: new random weights, and what the training has as much of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.errors import did_you_mean
from recipelang.meaning import trees
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader

#: what a training from scratch has as much of as one of `healthy` of the written duration
EQUAL = ("epochs", "flops")


def read(reader: Reader) -> str:
    """The clause `from` of a training: what is equal, one of `EQUAL`; "" where it starts from the network's weights.

    Notes RCP0204, RCP0301, RCP0306 and, where nothing was compressed before, RCP0591.
    """
    node = reader.argument("from")
    if node is None:
        return ""
    if not (isinstance(node, nodes.Call) and node.name == "scratch"):
        reader.word(node, "where training starts", ("scratch",))
        return ""
    equal = EQUAL[0]
    for argument in node.arguments:
        equal = _equal(reader, argument) or equal
    if len(node.arguments) > 1:
        reader.refuse("RCP0305", "`scratch` has one setting, `equal`", node.arguments[1].span, "keep one of the two")
    if equal == "flops" and not reader.flow.healthy:
        message = "`equal=flops` asks how much less the network computes than `healthy`, and nothing was removed yet"
        help = "write `from scratch`, or move the line after `prune …` or `sparsify …`"
        reader.refuse("RCP0591", message, node.span, help)
    return equal


def _equal(reader: Reader, argument: Any) -> str | None:
    """The value of `equal`; notes anything else."""
    name = argument.name.text if argument.name else ""
    if name != "equal":
        code, message = "RCP0306", "a setting of `scratch` needs its name"
        if name:
            code, message = "RCP0204", f"`scratch` has no setting `{name}`"
        span = argument.name.span if argument.name else argument.span
        reader.refuse(code, message, span, f"{did_you_mean(name, ('equal',))}write `from scratch(equal=flops)`")
        return None
    word = trees.bare_word(argument.value)
    if word in EQUAL:
        return word
    shown = f"`{word}`" if word else "this"
    help = f"{did_you_mean(word or '', EQUAL)}one of {listing(EQUAL)}"
    reader.refuse("RCP0301", f"{shown} is not what two trainings can have equal", argument.value.span, help)
    return None

"""Names that a recipe gives and uses: kept states, second models and data sets, `recovered`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.errors import Span, did_you_mean
from recipelang.meaning import trees
from recipelang.meaning.flow import RESERVED
from recipelang.meaning.wording import listing

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader


def new(reader: Reader, node: Any, sort: str) -> str | None:
    """A name that the statement gives to something; `sort` is `state`, `model`, `data` or `variant`."""
    word = trees.bare_word(node)
    if word is None:
        reader.refuse("RCP0207", "a name is one word", node.span, "letters, digits and `_`: `as pruned`")
        return None
    if word in RESERVED:
        reader.refuse("RCP0207", f"`{word}` already has a meaning", node.span, "choose another name")
        return None
    taken = reader.flow.names.get(word)
    if taken and taken[1] != node.span:
        message = f"`{word}` is already taken {taken[1].at(node.span)}"
        reader.refuse("RCP0207", message, node.span, "choose another name")
        return None
    reader.notes.mentions.give(sort, reader.notes.path, node.span)
    if sort != "variant":
        reader.flow.names[word] = sort, node.span
    return word


def state(reader: Reader, node: Any, purpose: str) -> str | None:
    """The name of a state or of a second model; notes RCP0205 and RCP0501."""
    word = trees.bare_word(node)
    if word is None:
        here = listing(reader.flow.states)
        reader.refuse("RCP0205", f"{purpose} takes the name of a state", node.span, f"states here: {here}")
    elif word == "recovered" and not reader.flow.recovered:
        no_recovered(reader, node.span)
    elif not reader.flow.is_state(word):
        known = reader.flow.states
        guess = did_you_mean(word, known)
        reader.refuse(
            "RCP0205",
            f"there is no state `{word}` here",
            node.span,
            f"{guess}states here: {listing(known)}; `keep as {word}` names one",
        )
    else:
        reader.use(word, node.span)
        return word
    return None


def no_recovered(reader: Reader, span: Span) -> None:
    """Note that nothing has restricted the hardware yet."""
    if perhaps := reader.flow.perhaps:
        message = f"the restriction {perhaps.at(span)} is in a block that may run zero times, and then not begin"
        kept = f"`keep as pruned` before the block and `{reader.verb} from healthy, pruned`"
        help = f"write it outside the block, or {kept}"
        reader.refuse("RCP0501", f"there may be no `recovered`: {message}", span, help)
        return
    surgery = reader.flow.last_surgery
    message = "nothing restricts the hardware before this line, so there is no `recovered`"
    after = (
        f"`keep as pruned` after {surgery.seen_from(span)}, then `{reader.verb} from healthy, pruned`"
        if surgery
        else "write `sparsify nm 2:4` or `quantize weights to 8 bits` above"
    )
    reader.refuse("RCP0501", message, span, after)

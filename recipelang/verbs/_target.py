"""`to 90%` of `sparsify`: the share of zeros, where the pattern leaves it open."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.meaning import trees
from recipelang.meaning.reader import Reader
from recipelang.meaning.wording import listing
from recipelang.syntax import nodes
from recipelang.syntax.show import show


def beside(reader: Reader, node: Any) -> bool:
    """Whether the share is beside the pattern, as in `blocks 4x4 90%`, and not after `to`; notes RCP0430."""
    words = trees.words(node)
    shares = [word for word in words if isinstance(word, nodes.Number)]
    others = [word for word in words if not isinstance(word, nodes.Number)]
    found = catalogue.find("pattern", trees.bare_word(others[0]) or "") if others else None
    if (
        len(shares) != 1
        or not getattr(found, "target", "")
        or not all(isinstance(w, nodes.Pattern) for w in others[1:])
    ):
        return False
    written, number = " ".join(show(word) for word in others), shares[0]
    message = f"`{number.text}` follows the pattern"
    meant = number.text if number.quantity.unit == "%" or number.quantity.value < 1 else f"{number.text}%"
    help = f"write `sparsify {written} to {meant}`"
    if reader.clause("to") or number.quantity.unit not in ("", "%"):
        message += ", and the share of zeros is given after `to`"
        help = f"remove `{number.text}`"
    if written == "blocks" and number.quantity.unit != "%" and number.quantity.value >= 1:
        help = "write both sides of a block: `sparsify blocks 4x4 to 90%`"
    reader.refuse("RCP0430", message, number.span, help)
    return True


def share(reader: Reader, pattern: Any) -> float | None:
    """`to 90%`: the target, where the pattern has one."""
    node = reader.argument("to")
    if pattern is None:
        return None
    if not pattern.target:
        if node is not None:
            message = f"`{pattern.name}` determines how many weights are zero; it takes no `to`"
            reader.refuse("RCP0430", message, node.span, "leave `to` out, or write `sparsify weights to 90%`")
        return None
    if reader.clause("to") is None:
        message = f"`sparsify {pattern.name}` does not say {pattern.target}"
        reader.refuse("RCP0430", message, None, f"write `sparsify {pattern.name} to 90%`")
    if node is None:
        return None
    number = node.quantity if isinstance(node, nodes.Number) else None
    if number is None or number.unit not in ("", "%") or not 0 < number.value < 1:
        percent = number is not None and number.unit == "" and 1 < number.value < 100
        help = f"write `to {node.text}%`" if percent else "write a share between 0% and 100%: `to 90%`"
        message = f"`to` of `sparsify {pattern.name}` takes {pattern.target}; `{show(node)}` is not a share"
        reader.refuse("RCP0430", message, node.span, help)
        return None
    return float(number.value)


def is_allocation(node: Any) -> bool:
    """Whether an item of `with` says how the target is divided among weights."""
    return isinstance(node, nodes.Call) and node.path[0].text in catalogue.names("allocation")


def dividing() -> list[str]:
    """The allocations that divide a share of zeros among weights."""
    every: dict[str, Any] = {name: catalogue.find("allocation", name) for name in catalogue.names("allocation")}
    return [name for name, found in every.items() if getattr(found, "patterns", False)]


def allocation(reader: Reader, pattern: Any, scratch: bool) -> Any | None:
    """`with erk`: how the share of zeros is divided among weights; None for the same share everywhere (RCP0475)."""
    given = [node for node in reader.arguments("with") if is_allocation(node)]
    for more in given[1:]:
        reader.refuse("RCP0408", "`with` names a second allocation", more.span, "keep one")
    made = reader.method(given[0], "allocation", "`with` of `sparsify`", "with erk") if given else None
    if made is None:
        return None
    if not getattr(made, "patterns", False):
        message = f"`{made.name}` divides what `prune` removes, and `sparsify` masks weights"
        reader.refuse("RCP0475", message, given[0].span, f"with {listing(dividing())}")
    elif pattern is not None and not pattern.target:
        message = f"`{pattern.name}` determines how many zeros each weight has: there is nothing to divide"
        reader.refuse("RCP0475", message, given[0].span, f"leave `with {made.name}` out")
    elif scratch and hasattr(made, "explore"):
        message = f"`{made.name}` measures the network, and `from scratch` starts from random weights"
        reader.refuse("RCP0475", message, given[0].span, "with erk, or leave `from scratch` out")
    return made if made.name != "uniform" else None

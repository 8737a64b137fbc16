"""`to 90%` of `sparsify`: the share of zeros, where the pattern leaves it open."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.meaning import trees
from recipelang.meaning.reader import Reader
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

"""What verbs share that make weights hold few values, or zeros: two of them on the same weights."""

from __future__ import annotations

from recipelang.meaning.reader import Reader
from recipelang.plan import Selection

#: why a weight does not do both
BOTH = "on a grid with a range for each output, one shared value would become several numbers"


def apart(reader: Reader, other: str, selection: Selection) -> None:
    """Refuse shared values and a grid or codebook on the same weights (RCP1480).

    Args:
        other: how the weights must not hold few values yet, `shared` or `rounded`.
        selection: of this statement.
    """
    found = next(((few, at) for few, at in reader.flow.few if few.how == other and few.covers(selection)), None)
    if found is None:
        return
    here = reader.statement.verb.span
    there = "share their values" if other == "shared" else "are quantized"
    message = f"these weights {there} ({found[1].seen_from(here)}), and {BOTH}"
    help = "keep one of the two, give each its own modules with `in` and `except`"
    if other == "shared":
        help += ", or write `quantize activations …`"
    reader.refuse("RCP1480", message, here, help)


def zeros_stay(reader: Reader, selection: Selection) -> None:
    """Refuse masks on weights whose levels have no zero (RCP1454)."""
    for few, at in reader.flow.few:
        if not few.zero and few.covers(selection):
            here = reader.statement.verb.span
            message = f"these weights have levels without zero ({at.seen_from(here)}): what is masked would be a number"
            help = "sparsify first, and quantize by `twn`, `ttq` or `gxnor`, which keep zeros"
            reader.refuse("RCP1454", message, here, help)
            return

"""What a statement leaves as it is, with the reasons, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from recipelang.units import counted

#: reasons that are told
MOST = 3


def by_reason(left: Mapping[str, str], noun: str, of: str = "") -> list[str]:
    """`4 layers, for example `fc` (why)` for each of the most frequent reasons.

    Args:
        left: name → why it is left as it is.
        noun: what is counted.
        of: before the name of the example, where what is counted belongs to it.
    """
    first: dict[str, str] = {}
    for name, why in left.items():
        first.setdefault(why, name)
    return [
        f"{counted(count, noun)}, for example {of}`{first[why]}` ({why})"
        for why, count in Counter(left.values()).most_common(MOST)
    ]

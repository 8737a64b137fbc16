"""Whether this machine's memory can hold what a file says, asked before it is allocated."""

from __future__ import annotations

import os

from recipelang.surgery.hub import unfit
from recipelang.units import show


def require_room(where: str, what: str, size: int) -> None:
    """Refuse a network that is larger than the memory of this machine.

    Args:
        where: its folder, for messages.
        what: the beginning of a sentence about it: `its weights are`.
        size: in bytes.

    Raises:
        Refusal: RCP0762.
    """
    if 0 < (memory := memory_of_machine()) < size:
        wrong = f"{what} {show(size, 'B')}, and this machine has {show(memory, 'B')} of memory"
        raise unfit(where, wrong, "download it again if it should be smaller, or use a machine with more memory")


def memory_of_machine() -> int:
    """Bytes of memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0

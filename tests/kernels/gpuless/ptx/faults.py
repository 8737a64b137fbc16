"""What the simulator refuses: each is something a GPU would do wrong, or something the simulator does not know."""

from __future__ import annotations


class Fault(Exception):
    """Any of the below."""


class UnknownInstruction(Fault):
    """The simulator does not know an instruction, a modifier or an address space, and does not guess."""


class BadAccess(Fault):
    """An address outside every tensor, or not a multiple of the size of the access."""


class Race(Fault):
    """Two threads touch the same byte, one of them writes, and no barrier orders them."""


class TooEarly(Fault):
    """Bytes of a cp.async are touched before the copy was waited for."""


class Divergence(Fault):
    """Threads that must execute an instruction together do not."""


class Undefined(Fault):
    """The outcome is undefined: metadata out of order, a predicate that was never set, a loop without an end."""

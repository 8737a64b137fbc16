"""How folders of images are read in this process: whether links are followed, and where long readings are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from recipelang.kinds import Progress


@dataclass(frozen=True)
class Access:
    """What whoever opens data decides, and no recipe.

    Attributes:
        follow_links: whether links to folders, and links that lead out of the data, are followed.
        progress: where a long reading says how far it is; None says nothing.
    """

    follow_links: bool = False
    progress: Progress | None = None


NOTHING = Access()
_access: ContextVar[Access] = ContextVar("access", default=NOTHING)


def current() -> Access:
    """What holds here."""
    return _access.get()


@contextlib.contextmanager
def reading(follow_links: bool = False, progress: Progress | None = None) -> Iterator[None]:
    """Data that is opened inside is read so."""
    token = _access.set(Access(follow_links, progress))
    try:
        yield
    finally:
        _access.reset(token)

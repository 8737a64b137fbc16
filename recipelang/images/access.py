"""How folders of images are read in this process: whether links are followed, and where progress is reported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from recipelang.kinds import Progress, Task


@dataclass(frozen=True)
class Access:
    """What the caller who opens data decides, and a recipe does not.

    Attributes:
        follow_links: whether links to folders, and links that lead out of the data, are followed.
        progress: where a long reading reports its progress; None reports nothing.
        trust: whether Python code that the recipe names may run.
        task: of the recipe, for data that offers what its task needs; None is classification.
    """

    follow_links: bool = False
    progress: Progress | None = None
    trust: bool = False
    task: Task | None = None


NOTHING = Access()
_access: ContextVar[Access] = ContextVar("access", default=NOTHING)


def current() -> Access:
    """The settings that hold now."""
    return _access.get()


@contextlib.contextmanager
def reading(
    follow_links: bool = False, progress: Progress | None = None, trust: bool = False, task: Task | None = None
) -> Iterator[None]:
    """Data opened inside this block is read with these settings; see `Access`."""
    token = _access.set(Access(follow_links, progress, trust, task))
    try:
        yield
    finally:
        _access.reset(token)

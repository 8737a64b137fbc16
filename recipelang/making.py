"""Making many objects at once, of which none is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def many_objects() -> Iterator[None]:
    """Inside, Python does not look for cycles of garbage; afterwards as before. Also a decorator.

    Its collector looks at all objects again and again while their number grows: for the rows of a table of 50,000
    images this took as long as everything else that opens them, and for the 400,000 objects that torch and timm make
    when they are imported a tenth of that.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()

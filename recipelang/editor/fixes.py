"""Fixes of mistakes as edits: what the help line of a diagnostic offers, and only where it helps.

Each reading of the help line (`offers.py`) is tried: the recipe is analysed again, and a fix is offered if its mistake
is gone and no other one has come.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain, islice

from recipelang.editor.analysis import Analysis
from recipelang.editor.formatting import applied
from recipelang.editor.offers import Fix, offers
from recipelang.errors import Diagnostic

#: of one mistake, this many readings are tried, and this many fixes are offered
MOST_TRIED, MOST_OFFERED = 20, 3
#: a text of nothing but brackets is slow to read: after this many seconds of processor time no other reading is tried
LONGEST_TRIAL = 0.5
#: in a longer text only other names are offered, which need no trial
LONGEST_TRIED = 20_000


def fixes(found: Analysis, wrong: Diagnostic, again: Callable[[str], Analysis]) -> tuple[Fix, ...]:
    """The fixes of a mistake, the most certain first; none where it is not in this text.

    Args:
        found: the recipe.
        wrong: one of its diagnostics.
        again: analyses the recipe with another text.
    """
    if wrong.span is None or not found.here(wrong):
        return ()
    groups = list(offers(found.text, wrong, wrong.span))
    if len(found.text) > LONGEST_TRIED:
        return tuple(fix for fix in chain(*groups) if fix.sure)[:MOST_OFFERED]
    offered: dict[str, Fix] = {}
    tried, began = 0, time.process_time()
    for group in groups:
        for fix in islice(group, max(0, MOST_TRIED - tried)):
            if tried and time.process_time() - began > LONGEST_TRIAL:
                break
            tried += 1
            after = applied(found.text, fix.edits)
            if after in offered or not _helps(found, wrong, fix, again(after)):
                continue
            offered[after] = fix
            break
        if len(offered) == MOST_OFFERED:
            break
    return tuple(offered.values())


def _helps(before: Analysis, wrong: Diagnostic, fix: Fix, after: Analysis) -> bool:
    """Whether the mistake is gone and no other has come.

    Where just what is wrong was replaced, or the statement can be read at last, mistakes elsewhere that come to light
    are not the fix's own; nor is any where the message itself asks for the name.
    """
    known, left = Counter(map(_key, before.diagnostics)), Counter(map(_key, after.diagnostics))
    if left[_key(wrong)] >= known[_key(wrong)]:
        return False
    if fix.sure:
        return True
    new = [d for d in after.diagnostics if d.severity == "error" and left[_key(d)] > known[_key(d)]]
    if not (fix.exact or wrong.code.startswith("RCP01")):
        return not new
    start, end = fix.edits[0].start, fix.edits[0].start + len(fix.edits[0].text)
    return not any(d.code.startswith("RCP01") or _touches(d, start, end) for d in new)


def _touches(found: Diagnostic, start: int, end: int) -> bool:
    """Whether a mistake is in a stretch; a file that cannot be read may still be written."""
    return found.code != "RCP0211" and found.span is not None and found.span.start < end and start < found.span.end


def _key(found: Diagnostic) -> tuple[str, str]:
    """A diagnostic without its place, which a fix may move."""
    return found.code, re.sub(r"line \d+|column \d+", "", found.message)

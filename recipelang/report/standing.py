"""Why a network is the one to take, or is not: in a line for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.report.record import Report
from recipelang.report.rows import Row
from recipelang.report.summary import said
from recipelang.units import listed


@dataclass(frozen=True)
class Line:
    """A variant in one line.

    Attributes:
        row: which one.
        sentence: how it compares with healthy and with its control.
        why: what speaks for it or against it; "" if nothing does.
    """

    row: Row
    sentence: str
    why: str


def lines(found: Sequence[Row], reports: Sequence[Report]) -> tuple[Line, ...]:
    """A line for every variant: first those that the recipes go on with, then those that nothing dominates.

    Args:
        found: the rows.
        reports: the records that the rows come from.
    """
    variants = [row for row in found if row.kind == "variant"]
    leaders = leading_each(variants)
    ordered = sorted(variants, key=lambda row: (row.anchor not in leaders, row.failed, bool(row.dominated)))
    missed = [_missed(report) for report in reports]
    chosen = [_choice(report) for report in reports]
    compared = len(variants) > 1, any(row.dominated for row in variants)
    return tuple(
        Line(
            row,
            said(row),
            _why(
                row, row.anchor in leaders, missed[row.origin].get(row.variant.name, ()), chosen[row.origin], compared
            ),
        )
        for row in ordered
    )


def leading_each(found: Sequence[Row]) -> frozenset[str]:
    """The anchors of the networks that recipes go on with, where a recipe goes on with a single one."""
    going: dict[int, list[str]] = {}
    for row in found:
        if row.goes_on:
            going.setdefault(row.origin, []).append(row.anchor)
    return frozenset(anchors[0] for anchors in going.values() if len(anchors) == 1)


def _missed(report: Report) -> Mapping[str, tuple[str, ...]]:
    """Variant → what it does not meet of what the recipe expects."""
    found: dict[str, tuple[str, ...]] = {}
    for expected in report.expectations:
        if expected.holds is False and expected.variant:
            found[expected.variant] = tuple(dict.fromkeys((*found.get(expected.variant, ()), expected.text)))
    return found


def _choice(report: Report) -> str:
    """The statement by which the recipe chose; "" if it did not."""
    if not any(variant.chosen for variant in report.variants):
        return ""
    written = re.search(r"^\s*(choose\b[^#;\n]*)", report.recipe.text, re.MULTILINE)
    return written[1].strip() if written else "choose"


def _why(row: Row, leads: bool, missed: Sequence[str], choice: str, compared: tuple[bool, bool]) -> str:
    """What speaks for a network or against it; `compared`: with another one, and one of them is dominated."""
    if row.failed:
        return ""  # the sentence says it
    found = []
    if leads and compared[0]:
        found.append("the recipe goes on with it")
    if row.variant.chosen:
        found.append(f"picked by `{choice}`")
    elif choice and not row.goes_on:
        found.append(f"not picked by `{choice}`")
    if missed:
        found.append(f"misses {listed([f'`{text}`' for text in missed], most=3)}")
    best = [cell.metric.name for cell in row.cells if cell.best]
    if row.dominated:
        found.append(f"{row.lost_to} is clearly better in {listed(row.lost_in)} and at least as good in the rest")
    elif best:
        found.append(f"best in {listed(best)}")
    elif compared[1]:
        found.append("no other network is at least as good in everything")
    return "; ".join(found)

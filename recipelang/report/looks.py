"""The colour and the shape of each network in all charts of a report; who cannot tell colours has the shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.report import words
from recipelang.report.rows import Row
from recipelang.report.svg import INK, MUTED, REFERENCE, SERIES

MOST_GROUPS = 8  # colours, and entries of a legend
SHAPES = ("o", "^", "v", "P", "X", "p", "<", ">")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (2.6, 1.2)))


@dataclass(frozen=True)
class Look:
    """How a network is drawn.

    Attributes:
        group: what shares this look, and its entry in a legend.
        colour: as `svg.THEME` knows it.
        shape: a marker of matplotlib.
        place: of the group among all groups of variants, from 0.
    """

    group: str
    colour: str
    shape: str
    place: int = 0

    @property
    def dashes(self) -> object:
        """Of a line; neighbours in colour are not neighbours in dashes."""
        return DASHES[self.place % len(DASHES)]


#: of a curve that networks of several groups share
SHARED = Look("several networks", MUTED, ".", 2)


def looks(rows: Sequence[Row], runs: Sequence[str]) -> dict[str, Look]:
    """Row name → its look.

    A variant is its own group. Many variants are grouped by the first parameter of their sweep that has few values,
    or else by their run; healthy and controls of many runs are one group each.

    Args:
        rows: of the comparison.
        runs: names of the runs that the rows come from.
    """
    variants = [row for row in rows if row.kind == "variant"]
    grouped = _groups(variants, runs)
    order = list(dict.fromkeys(grouped[row.name] for row in variants))
    found = {}
    for row in rows:
        if row.kind in ("healthy", "control"):
            colour, shape = (INK, "D") if row.kind == "healthy" else (REFERENCE, "s")
            group = row.name if len(runs) <= MOST_GROUPS else row.kind
            found[row.name] = Look(words.shorten(group, 44), colour, shape)
        else:
            place = order.index(grouped[row.name])
            colour, shape = (choices[place % len(choices)] for choices in (SERIES, SHAPES))
            found[row.name] = Look(words.shorten(grouped[row.name], 44), colour, shape, place)
    return found


def own(names: Sequence[str], look: Mapping[str, Look]) -> dict[str, Look]:
    """Looks for the curves of one chart: of few, each has its own; of many, those of their groups.

    Args:
        names: of networks, or of several that share a curve.
        look: of a network in all charts.
    """
    if len(names) > MOST_GROUPS:
        return {name: look.get(name, SHARED) for name in names}
    found, place = {}, 0
    alone = len({look[name].group for name in names if name in look}) == len(names)
    for name in names:
        known = look.get(name)
        if known is not None and (alone or known.colour in (INK, REFERENCE)):
            found[name] = known
        else:
            colour, shape = (choices[place % len(choices)] for choices in (SERIES, SHAPES))
            found[name] = Look(words.shorten(name, 44), colour, shape, place)
            place += 1
    return found


def _groups(variants: Sequence[Row], runs: Sequence[str]) -> dict[str, str]:
    if len(variants) <= MOST_GROUPS:
        return {row.name: row.name for row in variants}
    for parameter in dict.fromkeys(
        p for row in variants if len(row.variant.parameters) > 1 for p in row.variant.parameters
    ):
        found = {row.name: _group(row, parameter) for row in variants}
        if 1 < len(set(found.values())) <= MOST_GROUPS:
            return found
    if 1 < len(runs) <= MOST_GROUPS:
        return {row.name: runs[row.origin] for row in variants}
    return {row.name: "variants" for row in variants}


def _group(row: Row, parameter: str) -> str:
    """By a parameter of the sweep; what is not of the sweep is its own group."""
    value = row.variant.parameters.get(parameter)
    return row.name if value is None else f"{parameter}={words.plain(value)}"

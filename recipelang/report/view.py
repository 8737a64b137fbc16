"""Which networks a report shows, and in which order: `--only`, `--front` and `--sort`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from recipelang.errors import Refusal, nearest
from recipelang.report.measured import Metric
from recipelang.report.rows import ORDER, Row
from recipelang.units import listed

MOST_LISTED = 8


@dataclass(frozen=True)
class View:
    """What a reader wants to see of a comparison.

    Attributes:
        only: patterns (`*` and `?`) of names of networks, of runs, or of parts of a name such as `budget=0.5`; () shows
            every network.
        front: leave out variants that another network dominates, and those that failed.
        sort: the column by which variants are sorted, the best first; "" leaves them as recorded.
    """

    only: tuple[str, ...] = ()
    front: bool = False
    sort: str = ""


def select(found: Sequence[Row], metrics: Sequence[Metric], view: View) -> tuple[Row, ...]:
    """The rows that a view shows. Healthy and the controls of the networks that are shown stay.

    Raises:
        Refusal: RCP1131: a pattern fits no network, or there is no such column.
    """
    if view.only:
        found = _only(found, view.only)
    if view.front:
        found = _kept(found, [row for row in found if row.kind == "variant" and not (row.dominated or row.failed)])
    if view.sort:
        found = _sorted(found, metrics, view.sort)
    return tuple(found)


def _only(found: Sequence[Row], patterns: Iterable[str]) -> list[Row]:
    kept: dict[int, Row] = {}
    for pattern in patterns:
        fitting = {place: row for place, row in enumerate(found) if _fits(row, pattern)}
        if not fitting:
            names = [row.name for row in found]
            like = nearest(pattern, (part for row in found for part in _names(row)))
            guess = f"did you mean `{like}`? " if like else ""
            known = listed([f"`{name}`" for name in names], most=MOST_LISTED)
            raise Refusal("RCP1131", f"no network here fits `{pattern}`", f"{guess}the networks are {known}")
        kept |= fitting
    return _kept(found, [kept[place] for place in sorted(kept)])


def _fits(row: Row, pattern: str) -> bool:
    """Whether a pattern fits; a name that is written out fits whatever letters it has."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in _names(row))


def _names(row: Row) -> tuple[str, ...]:
    """What a network can be called: its name, with or without its run, and the parts of the name of a sweep point."""
    own = row.variant.name
    run = row.name.removesuffix(f": {own}")
    return tuple(dict.fromkeys((row.name, own, *([run] if run != row.name else []), *own.split(", "))))


def _kept(found: Sequence[Row], wanted: Sequence[Row]) -> list[Row]:
    """The wanted rows, in order, with the healthy networks and the controls that they are compared with."""
    names, runs = {row.name for row in wanted}, {row.origin for row in wanted}
    controls = {row.control for row in wanted if row.control}
    healthy_of = runs or {row.origin for row in found}
    return [
        row
        for row in found
        if row.name in names or row.name in controls or (row.kind == "healthy" and row.origin in healthy_of)
    ]


def _sorted(found: Sequence[Row], metrics: Sequence[Metric], column: str) -> list[Row]:
    """Healthy, the variants sorted, controls. Times of one run are sorted by their ratios to healthy."""
    index = next((i for i, metric in enumerate(metrics) if metric.name == column), None)
    if index is None:
        known = [metric.name for metric in metrics]
        same = [name for name in known if name.partition("(")[0] == column.partition("(")[0]]
        like = same[0] if same else nearest(column, known)
        guess = f"did you mean `{like}`? " if like else ""
        columns = listed([f"`{name}`" for name in known], most=MOST_LISTED) or "none"
        raise Refusal("RCP1131", f"there is no column `{column}`", f"{guess}the columns are {columns}")
    relative = metrics[index].role == "cost" and len({row.origin for row in found}) == 1
    sign = 1.0 if metrics[index].better == "lower" else -1.0

    def place(row: Row) -> tuple[int, bool, float]:
        measured = row.cells[index].measured
        value = measured.ratio if measured and relative else None
        value = measured.value if measured and value is None else value
        known = row.kind == "variant" and value is not None
        return ORDER[row.kind], not known, sign * value if known and value is not None else 0.0

    return sorted(found, key=place)

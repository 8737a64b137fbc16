"""Several labels of each row of a table: a column of 0 and 1 for each, or their names in one column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recipelang.errors import Refusal, did_you_mean
from recipelang.images.classes import is_numbered, printable
from recipelang.images.decode import shown
from recipelang.images.naming import LONGEST_NAME, Refused
from recipelang.images.table import Table, listed

#: what is written for a label that holds, or does not, in lower case; pandas writes booleans and decimals
HOLDS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}

Row = tuple[int, ...]


def holds(value: Any) -> int | None:
    """Whether a label holds, 0 or 1, as a number, a truth value or text says it; None for anything else."""
    return HOLDS.get(str(value).casefold()) if isinstance(value, bool | int | float | str) else None


def found_columns(table: Table, wanted: Sequence[str]) -> tuple[str, ...]:
    """The columns of these names; also where case alone differs.

    Raises:
        Refusal: RCP0853: some are missing, which are named together, or two names are one column.
    """
    alike = {column.casefold(): column for column in reversed(table.columns)}
    found = [name if name in table.columns else alike.get(name.casefold()) for name in wanted]
    if missing := [name for name, column in zip(wanted, found, strict=True) if column is None]:
        message = f"`{table.file}` has no column{'s' * (len(missing) > 1)} {listed(missing)}"
        help = f"{did_you_mean(missing[0], table.columns)}the columns are {listed(table.columns)}"
        raise Refusal("RCP0853", message, help)
    columns = tuple(column for column in found if column is not None)
    if twice := next((column for k, column in enumerate(columns) if column in columns[:k]), None):
        raise Refusal("RCP0853", f"the column `{shown(twice)}` of `{table.file}` is named twice", "name it once")
    return columns


def of_columns(table: Table, columns: Sequence[str], refused: Refused) -> list[Row]:
    """The labels of each row: one 0 or 1 for each column.

    Raises:
        Refusal: as `refused`: a cell is empty, or neither 0 nor 1.
    """
    read = [holding(table.cells(column), column, refused) for column in columns]
    return list(zip(*read, strict=True))


def holding(cells: Sequence[str], column: str, refused: Refused) -> list[int]:
    """Whether a label holds, 0 or 1, for each cell of its column.

    Raises:
        Refusal: as `refused`: a cell is empty, or neither 0 nor 1.
    """
    if empty := [k for k, cell in enumerate(cells) if not cell]:
        help = "write 0 or 1, or leave the rows out: a network cannot learn what is not known"
        raise refused(empty, f"no `{shown(column)}`", help)
    found = [holds(cell) for cell in cells]
    if odd := [k for k, value in enumerate(found) if value is None]:
        help = "write 0 for labels that do not hold" if cells[odd[0]] in ("-1", "-1.0") else "write 0 or 1"
        raise refused(odd, f"`{shown(column)}` holds {listed(list(dict.fromkeys(cells[k] for k in odd)))}", help)
    return [value for value in found if value is not None]


def of_names(
    cells: Sequence[str], separator: str, column: str, refused: Refused
) -> tuple[tuple[str, ...], list[Row], int]:
    """The names of the labels, sorted, numbers by size; the labels of each row; and how many rows have none.

    Args:
        cells: names with the separator between them; an empty one has no label.
        separator: between two names; spaces around it do not count.
        column: where they are, for messages, as a recipe would print it.
        refused: makes refusals in which the place of labels is named.

    Raises:
        Refusal: RCP0804: there is one label; RCP0854: no cell has the separator; as `refused`: a name cannot be one.
    """
    each = [[name for part in cell.split(separator) if (name := part.strip())] for cell in cells]
    if not any(separator in cell for cell in cells):
        help = "write the separator that the column has; for one class in each row leave `separator` out"
        raise Refusal("RCP0854", f"no cell of {column} contains `{shown(separator)}`", help)
    return of_lists(each, column, refused)


def of_lists(each: Sequence[Sequence[str]], column: str, refused: Refused) -> tuple[tuple[str, ...], list[Row], int]:
    """The names of the labels, sorted, numbers by size; the labels of each row; and how many rows have none.

    Args:
        each: the names of the labels of each row.
        column: where they are, for messages, as a recipe would print it.
        refused: makes refusals in which the place of labels is named.

    Raises:
        Refusal: RCP0804: there is one label; as `refused`: a name cannot be one, or lists are rows of 0 and 1.
    """
    for k, names in enumerate(each):
        if odd := next((name for name in names if not name.isprintable() or len(name) > LONGEST_NAME), None):
            help = f"name labels in at most {LONGEST_NAME:,} printable characters"
            raise refused([k], f"`{printable(odd)}` is not the name of a label", help)
    found = {name for names in each for name in names}
    if found <= {"0", "1"} and (vectors := [k for k, names in enumerate(each) if len(names) > len(set(names))]):
        help = "a list names the labels that hold; where it says 0 or 1 of each label, give each a column of its own"
        raise refused(vectors, "a list of 0 and 1, in which no label has a name", help)
    order = tuple(sorted(found, key=int if is_numbered(list(found)) else None))
    if len(order) < 2:
        message = f"{column} has {'no label' if not order else f'one label, `{printable(order[0])}`'}"
        raise Refusal("RCP0804", f"{message}; several are asked for", 'name another column: `label="…"`')
    sets = [frozenset(names) for names in each]
    return order, [tuple(int(name in names) for name in order) for names in sets], sum(not names for names in sets)


def of_objects(
    each: Sequence[Mapping[str, int] | Sequence[str]], column: str, refused: Refused
) -> tuple[tuple[str, ...], list[Row], int]:
    """The names of the labels, as the first object has them; the labels of each row; and how many rows have none.

    Args:
        each: label → 0 or 1, of each row.
        column, refused: as of `of_lists`.

    Raises:
        Refusal: RCP0804: there is one label; as `refused`: a name cannot be one, or a row has other labels than the
            first, or a list.
    """
    order = tuple(each[0]) if each else ()
    for k, one in enumerate(each):
        if not isinstance(one, Mapping) or set(one) != set(order):
            other = isinstance(one, Mapping) and sorted(set(one) ^ set(order))[0]
            message = f"0 or 1 of other labels: `{printable(other)}`" if other else "a list, and others 0 or 1 of each"
            raise refused([k], message, "write all labels the same way: 0 or 1 of each, or the list of those that hold")
    of_lists([order], column, refused)  # its names
    rows = [tuple(one[name] for name in order) for one in each if isinstance(one, Mapping)]
    return order, rows, sum(not any(row) for row in rows)


def require_agreement(
    values: Sequence[str], labels: Sequence[Row], refused: Callable[[Sequence[int], str, str], Refusal]
) -> None:
    """Refuse rows that say different things of one path.

    Raises:
        Refusal: as `refused`.
    """
    first: dict[str, int] = {}
    for k, value in enumerate(values):
        before = first.setdefault(value, k)
        if labels[before] != labels[k]:
            message = f"`{shown(value)[:80]}` has different labels in two rows"
            raise refused([before, k], message, "write one row with all its labels")

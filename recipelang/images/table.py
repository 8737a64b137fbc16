"""A file of comma-separated values as a table: header and rows, each with its line."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipelang.errors import Refusal, did_you_mean
from recipelang.images.decode import shown
from recipelang.making import many_objects

DELIMITERS = (",", ";", "\t")
LARGEST = 2**30  # bytes
TRIED = 50  # rows that show which delimiter a file has
MENTIONED = 5  # lines, values or columns that a message names
LONGEST_CELL = 2**20  # characters


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        file: its name, for messages.
        columns: their names, from the first line.
        rows: the cells of each row, without spaces around them.
        lines: the number of the line where each row begins.
        empty: how many rows have nothing in any cell; they are left out.
    """

    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    empty: int = 0

    def cells(self, column: str) -> list[str]:
        """The cells of a column."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows]


@many_objects()
def read_table(path: Path) -> Table:
    """Read a file of values that are separated by commas, semicolons or tabs, whichever its first rows have.

    UTF-8 and, where it begins with a byte order mark, UTF-16. Cells may be quoted by `"`, as of RFC 4180.

    Raises:
        Refusal: RCP0852: there is no such file, it is not such a text, has no rows, or rows of different lengths.
    """
    text = _text(path)
    name = path.name
    records = _records(text, _delimiter(text), name)
    if not records:
        raise _refused(name, "is empty", "write a first line with names of columns, such as `path,label`, then rows")
    columns = tuple(records[0][1])
    _require_header(columns, name)
    filled = [(line, row) for line, row in records[1:] if any(row)]
    if not filled:
        raise _refused(name, "has a header and no rows", "write a line for each sample")
    if odd := [(line, row) for line, row in filled if len(row) != len(columns)]:
        line, row = odd[0]
        more = f" and {len(odd) - 1} more lines" if len(odd) > 1 else ""
        message = f"has {_count(len(columns), 'column')}, and {_count(len(row), 'cell')} in line {line}{more}"
        raise _refused(name, message, 'quote cells that contain the separator: `"a, b"`')
    return Table(
        shown(name),
        columns,
        tuple(tuple(row) for _, row in filled),
        tuple(line for line, _ in filled),
        len(records) - 1 - len(filled),
    )


def column_of(table: Table, wanted: str, usual: Sequence[str], what: str, setting: str) -> str | None:
    """The column that a recipe names; else the one with a usual name, None where no column has one.

    Args:
        wanted: as the recipe says; "" looks for usual names, ignoring case, `_`, `-` and spaces.
        usual: names, the most usual first.
        what: is in the column, in words.
        setting: that names the column.

    Raises:
        Refusal: RCP0853: there is no such column, or several have usual names.
    """
    if wanted:
        if wanted in table.columns:
            return wanted
        same = [column for column in table.columns if column.casefold() == wanted.casefold()]
        if len(same) == 1:
            return same[0]
        help = f"{did_you_mean(wanted, table.columns)}the columns are {listed(table.columns)}"
        raise Refusal("RCP0853", f"`{table.file}` has no column `{shown(wanted)}`", help)
    found = [column for column in table.columns if plain(column) in usual]
    if len(found) > 1:
        message = f"`{table.file}` has {len(found)} columns that may be {what}: {listed(found)}"
        raise Refusal("RCP0853", message, f'write which one: `{setting}="{found[0]}"`')
    return found[0] if found else None


def listed(values: Sequence[object]) -> str:
    """The first few values of many: `` `a`, `b` and 3 more ``."""
    more = f" and {len(values) - MENTIONED} more" if len(values) > MENTIONED else ""
    return ", ".join(f"`{shown(str(value))[:60]}`" for value in values[:MENTIONED]) + more


def lines_of(lines: Sequence[int]) -> str:
    """The first few numbers of lines: `line 3`, `lines 3, 9 and 4 more`."""
    more = f" and {len(lines) - MENTIONED} more" if len(lines) > MENTIONED else ""
    return f"line{'s' * (len(lines) != 1)} {', '.join(map(str, lines[:MENTIONED]))}{more}"


def _refused(name: str, message: str, help: str) -> Refusal:
    return Refusal("RCP0852", f"`{shown(name)}` {message}", help)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def plain(column: str) -> str:
    """A name as it is compared with usual ones: in lower case, without `_`, `-` and spaces."""
    return "".join(letter for letter in column.casefold() if letter not in "_- ")


def _text(path: Path) -> str:
    """The text of the file."""
    where = "write its path relative to the recipe, or name it under `data:` in recipe.yaml"
    try:
        if path.is_dir():
            raise _refused(str(path), "is a folder, not a CSV file", 'name the file; for a folder write `folder("…")`')
        if not path.is_file():
            raise _refused(str(path), "does not exist", where)
        if path.stat().st_size > LARGEST:
            raise _refused(path.name, f"is larger than {LARGEST // 2**20} MiB", "split it")
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path.name, f"cannot be read: {error.strerror or error}", where) from error
    except ValueError as error:  # no system has such a path
        raise _refused(str(path), f"is not the name of a file: {error}", where) from error
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"is not {encoding.removesuffix('-sig').upper()}: line {line} has a byte that does not fit"
        raise _refused(path.name, message, "save it as `CSV UTF-8`") from error
    if "\0" in text:
        raise _refused(path.name, "is not a text: it contains NUL", "save the table as CSV; Excel files are not read")
    return text


def _delimiter(text: str) -> str:
    """The separator that gives the first rows the most columns, all of them the same number."""

    def fit(delimiter: str) -> tuple[bool, int]:
        lengths = [len(row) for row, _ in zip(_rows(text, delimiter), range(TRIED), strict=False) if any(row)]
        return len(set(lengths)) == 1, lengths[0] if lengths else 0

    def rank(delimiter: str) -> tuple[bool, int]:
        try:
            even, columns = fit(delimiter)
        except csv.Error:
            return False, 0
        return even and columns > 1, columns

    return max(DELIMITERS, key=rank)


def _rows(text: str, delimiter: str) -> csv._reader:  # type: ignore[name-defined]
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))  # of this process
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _records(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of all rows; empty lines are none."""
    reader = _rows(text, delimiter)
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if row:
                records.append((line, [cell.strip() for cell in row]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _refused(name, f"cannot be read from line {line} on: {error}", "check the quotes there") from error
    return records


def _require_header(columns: tuple[str, ...], name: str) -> None:
    """The first column alone may lack a name, as that of an index does."""
    help = "write a first line with a name for each column, such as `path,label`"
    if "" in columns[1:] or not any(columns):
        raise _refused(name, f"has no name for column {columns.index('', len(columns) > 1) + 1}", help)
    if twice := next((column for k, column in enumerate(columns) if column in columns[:k]), None):
        raise _refused(name, f"has two columns `{shown(twice)}`", "give each column a name of its own")

"""What the rows of a table say: a path or a text each, its class or its labels, and perhaps its split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.classes import alike, printable
from recipelang.images.decode import SUFFIXES, shown
from recipelang.images.label_columns import Row, found_columns, of_columns, of_names, require_agreement
from recipelang.images.naming import classes_of, require_trained
from recipelang.images.splits import SPLIT_NAMES
from recipelang.images.table import Table, column_of, lines_of, listed

#: usual names of columns, without `_`, `-` and spaces
USUAL: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "imagename", "img", "imgpath"),
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "class", "target", "category", "classname", "labelname", "labels", "y"),
    "split": ("split", "subset", "partition", "set", "fold"),
}


@dataclass(frozen=True)
class Listing:
    """Samples as a table lists them, in its order.

    Attributes:
        table: with the lines, for messages.
        value: the column of paths or texts.
        values: what is in it.
        labels: class number of each sample, or a 0 or 1 for each label.
        splits: `train`, `val` or `test` of each; all `train` where no column says.
        lines: where each stands in the file.
        classes: their names: sorted, numbers by size.
        notes: what the user is told: which columns were guessed.
    """

    table: Table
    value: str
    values: tuple[str, ...]
    labels: tuple[Any, ...]
    splits: tuple[str, ...]
    lines: tuple[int, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What lists the samples, for messages."""
        return self.table.file

    def at(self, chosen: Sequence[int]) -> str:
        """Where these samples are, for messages."""
        return f"`{self.table.file}`, {lines_of([self.lines[k] for k in chosen])}"


def list_samples(
    table: Table,
    what: str,
    *,
    value: str,
    label: str | tuple[str, ...],
    split_by: str,
    names: str,
    separator: str = "",
) -> Listing:
    """Read the rows of a table as samples.

    Args:
        what: `path` or `text`: what a sample is.
        value, label, split_by: columns; "" finds them by their usual names, and the label as the one column that is
            left. Without a column of splits every sample is of `train`. Several columns of labels hold 0 and 1.
        names: `auto`: labels are all numbers, or all text; `text`: whatever they are, they are names.
        separator: what is between the names of labels in their column, where a sample may have several; "" is one
            class.

    Raises:
        Refusal: RCP0853: a column is missing, or named twice; RCP0854: a cell is empty or not understood, labels are
            numbers and text, neither 0 nor 1, or not separated, one path has two classes; RCP0804: there is one class.
    """
    several = found_columns(table, label) if isinstance(label, tuple) else ()
    wanted = {what: value, **({} if several else {"label": str(label)}), "split": split_by}
    columns = _columns(table, what, wanted, several)
    unfilled = ("split",) if several or separator else ("label", "split")
    for role in (what, *(role for role in unfilled if role in columns)):
        _require_filled(table, columns[role], table.columns.index(columns[role]))
    more: list[str] = []
    labels: list[int] | list[Row]
    if several:
        classes, labels = several, of_columns(table, several, partial(_at, table))
    elif separator:
        where = f"the column `{shown(columns['label'])}` of `{table.file}`"
        cells = table.cells(columns["label"])
        classes, labels, none = of_names(cells, separator, where, partial(_at, table))
        more += [f"{none} row{'s' * (none != 1)} of `{table.file}` without any label"] if none else []
    else:
        classes, labels = _classes(table, columns["label"], names)
    splits = _splits(table, columns["split"]) if "split" in columns else ["train"] * len(table.rows)
    _require_trained(table, classes, labels, splits)
    values = table.cells(columns[what])
    kept = _each_once(table, values, classes, labels, splits) if what == "path" else list(range(len(values)))
    notes = (*_notes(table, columns, wanted, len(values) - len(kept), classes), *more)
    return Listing(
        table,
        columns[what],
        tuple(values[k] for k in kept),
        tuple(labels[k] for k in kept),
        tuple(splits[k] for k in kept),
        tuple(table.lines[k] for k in kept),
        classes,
        notes,
    )


def _at(table: Table, rows: Sequence[int], message: str, help: str) -> Refusal:
    return _cell(table, [table.lines[row] for row in rows], message, help)


def _columns(table: Table, what: str, wanted: Mapping[str, str], several: Sequence[str]) -> dict[str, str]:
    """Role → column; `several` are the columns of labels, where there is more than one."""
    words = {"path": "the path", "text": "the text", "label": "the label", "split": "the split"}
    settings = {"path": "path", "text": "text", "label": "label", "split": "split_by"}
    found = {
        role: column
        for role, name in wanted.items()
        if (column := column_of(table, name, USUAL[role], words[role], settings[role])) is not None
    }
    left = [column for column in table.columns if column and column not in (*found.values(), *several)]
    asked = [role for role in (what, "label") if role in wanted]
    for role in asked:  # of `photo,breed` one is known by the other
        other = "label" if role == what else what
        if role not in found and (other in found or several) and len(left) == 1:
            found[role] = left.pop()
    for role in asked:
        if role not in found:
            raise _no_column(table, words[role], role)
    if both := next((role for role, column in found.items() if column in several), None):
        message = f"the column `{shown(found[both])}` of `{table.file}` cannot be both {words[both]} and a label"
        raise Refusal("RCP0853", message, f"name another column: `{settings[both]}=`, or leave it out of `label`")
    if twice := [role for role in found if list(found.values()).count(found[role]) > 1]:
        message = f"the column `{shown(found[twice[0]])}` of `{table.file}` cannot be both {words[twice[0]]}"
        raise Refusal("RCP0853", f"{message} and {words[twice[1]]}", f"name another column: `{settings[twice[1]]}=`")
    return found


def _no_column(table: Table, words: str, role: str) -> Refusal:
    data = [column for column in table.columns if any(column.lower().endswith(suffix) for suffix in SUFFIXES)]
    if data:
        message = f"`{table.file}` has no header: its first line is `{shown(','.join(table.columns))[:80]}`"
        return Refusal("RCP0852", message, "write a first line with names of columns, such as `path,label`")
    help = f'write which column: `{role}="{shown(table.columns[0])}"`; the columns are {listed(table.columns)}'
    return Refusal("RCP0853", f"`{table.file}` has no column that is known to hold {words}", help)


def _cell(table: Table, lines: Sequence[int], message: str, help: str) -> Refusal:
    return Refusal("RCP0854", f"`{table.file}`, {lines_of(lines)}: {message}", help)


def _require_filled(table: Table, column: str, place: int) -> None:
    if empty := [line for row, line in zip(table.rows, table.lines, strict=True) if not row[place]]:
        raise _cell(table, empty, f"no `{shown(column)}`", "fill the cells, or remove the lines")


def _classes(table: Table, column: str, names: str) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, and the number of each row's."""
    where = f"the column `{shown(column)}` of `{table.file}`"
    return classes_of(table.cells(column), names, where, partial(_at, table))


def _splits(table: Table, column: str) -> list[str]:
    cells = table.cells(column)
    if odd := [cell for cell in dict.fromkeys(cells) if cell.casefold() not in SPLIT_NAMES]:
        rows = [line for cell, line in zip(cells, table.lines, strict=True) if cell in set(odd)]
        help = f"the splits are {', '.join(SPLIT_NAMES)}"
        if column.casefold() != "split":
            help += f"; if `{shown(column)}` is something else, rename it"
        raise _cell(table, rows, f"{listed(odd)} in `{shown(column)}` is not a split", help)
    return [SPLIT_NAMES[cell.casefold()] for cell in cells]


def _require_trained(table: Table, classes: Sequence[str], labels: Sequence[Any], splits: Sequence[str]) -> None:
    """Every class is trained; whether labels vary is asked when the splits that are missing are cut."""
    if "train" not in splits:
        message = f"`{table.file}` has no rows of the split `train`, only of {listed(sorted(set(splits)))}"
        raise Refusal("RCP0854", message, "write `train` for the rows to train on, or remove the column")
    if isinstance(labels[0], int):
        require_trained(classes, labels, splits, lambda row: f"`{table.file}`, line {table.lines[row]}")


def _each_once(
    table: Table, values: Sequence[str], classes: Sequence[str], labels: Sequence[Any], splits: Sequence[str]
) -> list[int]:
    """The rows without repetitions of the same path in the same split."""
    if not isinstance(labels[0], int):
        require_agreement(values, labels, partial(_at, table))
    first: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    kept = []
    for k, value in enumerate(values):
        before = first.setdefault(value, k)
        if labels[before] != labels[k]:
            one, other = (printable(classes[labels[row]]) for row in (before, k))
            message = f"`{shown(value)[:80]}` is `{one}` and `{other}`"
            raise _cell(table, [table.lines[before], table.lines[k]], message, "an image has one class")
        if (value, splits[k]) not in seen:
            seen.add((value, splits[k]))
            kept.append(k)
    return kept


def _notes(
    table: Table, columns: Mapping[str, str], wanted: Mapping[str, str], repeated: int, classes: Sequence[str]
) -> tuple[str, ...]:
    """Which columns were guessed, and what was left out."""
    guessed = [f"{role} from `{shown(column)}`" for role, column in columns.items() if not wanted.get(role)]
    notes = [f"`{table.file}`: {', '.join(guessed)}"] if guessed else []
    if repeated:
        notes.append(f"{repeated} row{'s' * (repeated != 1)} of `{table.file}` repeated and used once")
    if table.empty:
        notes.append(f"{table.empty} empty row{'s' * (table.empty != 1)} of `{table.file}` skipped")
    for one, other in alike(classes):
        notes.append(f"the classes `{printable(one)}` and `{printable(other)}` look alike and are two classes")
    return tuple(notes)

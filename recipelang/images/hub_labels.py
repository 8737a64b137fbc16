"""Several labels of each row of a data set of the library `datasets`: columns of 0 and 1, lists, names in a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.decode import shown
from recipelang.images.hub_columns import Chosen, kind_of
from recipelang.images.hub_sets import HubSet
from recipelang.images.label_columns import Row, holding, of_lists, of_names
from recipelang.images.naming import Refused
from recipelang.images.table import listed


def several_labels(
    data: HubSet, chosen: Chosen, values: Sequence[Any], separator: str, refused: Refused
) -> tuple[tuple[str, ...], list[Row], list[str]]:
    """The names of the labels, a 0 or 1 of each for every row, and what the user is told.

    Args:
        values: of all rows, tuples of the cells where labels have columns of their own.

    Raises:
        Refusal: RCP0804, RCP0854: labels are missing, or cannot be read; as `refused`.
    """
    if len(chosen.labels) > 1:
        columns = [["" if cell is None else str(cell) for cell in column] for column in zip(*values, strict=True)]
        read = [holding(cells, name, refused) for cells, name in zip(columns, chosen.labels, strict=True)]
        return chosen.labels, list(zip(*read, strict=True)), []
    if empty := [k for k, value in enumerate(values) if value is None or (not separator and None in value)]:
        what = "an empty text" if separator else "an empty list"
        raise refused(empty, f"no `{shown(chosen.label)}`", f"write {what} where no label holds, or leave the rows out")
    column = f"the column `{shown(chosen.label)}` of `{data.name}`"
    feature = data.splits[chosen.splits["train"]].features[chosen.label]
    notes = []
    if separator:
        classes, labels, none = of_names(values, separator, column, refused)
    elif kind_of(feature.feature) == "class":
        classes = own_names(data, feature.feature.names)
        held = [frozenset(value) for value in values]
        if odd := [k for k, some in enumerate(held) if any(not 0 <= one < len(classes) for one in some)]:
            raise refused(odd, "a label that is none of its classes", "leave these rows out: `dataset.filter(…)`")
        counts = range(len(classes))
        labels, none = [tuple(int(k in some) for k in counts) for some in held], sum(not some for some in held)
        if unused := tuple(name for k, name in enumerate(classes) if not any(row[k] for row in labels)):
            kept = [k for k, name in enumerate(classes) if name not in unused]
            classes, labels = tuple(classes[k] for k in kept), [tuple(row[k] for k in kept) for row in labels]
            notes.append(f"left out: {len(unused)} labels of `{data.name}` that no sample has: {listed(unused)}")
    else:
        classes, labels, none = of_lists([[str(one) for one in value] for value in values], column, refused)
    notes += [f"{none} row{'s' * (none != 1)} of `{data.name}` without any label"] if none else []
    return classes, labels, notes


def own_names(data: HubSet, names: Sequence[str]) -> tuple[str, ...]:
    """The names of a column of the type `ClassLabel`.

    Raises:
        Refusal: RCP0804: there are fewer than two.
    """
    classes = tuple(map(str, names))
    if len(classes) < 2:
        message = f"`{data.name}` has the classes {listed(classes)}" if classes else f"`{data.name}` names no classes"
        raise Refusal("RCP0804", f"{message}, which leaves nothing to distinguish", "two classes at least")
    return classes

"""Classes of the labels that a table, a data set or a shard states: numbers, or text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from recipelang.errors import Refusal
from recipelang.images.classes import printable
from recipelang.images.table import listed

LONGEST_NAME = 1_000  # characters, of a class
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")  # pandas writes 1.0 in a column with gaps
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

#: refused(positions, message, help) → the refusal for labels at these positions
Refused = Callable[[Sequence[int], str, str], Refusal]


def classes_of(labels: Sequence[str], names: str, column: str, refused: Refused) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, sorted, numbers by size; and the number of each label.

    Args:
        labels: as they are written; none is empty.
        names: `auto`: labels are all numbers, or all text; `text`: whatever they are, they are names.
        column: where they are, for messages, as a recipe would print it.
        refused: makes refusals in which the place of labels is named.

    Raises:
        Refusal: RCP0804: there is one class; as `refused`: some labels are numbers and some are text, or they are
            decimal numbers or not names.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    if odd := [label for label in places if not label.isprintable() or len(label) > LONGEST_NAME]:
        message = f"`{printable(odd[0])}` is not the name of a class"
        raise refused(places[odd[0]], message, f"name classes in at most {LONGEST_NAME:,} printable characters")
    numbers = names == "auto" and _are_numbers(places, column, refused)
    name_of = {label: str(int(label.partition(".")[0])) if numbers else label for label in places}
    classes = tuple(sorted(set(name_of.values()), key=int if numbers else None))
    if len(classes) == 1:
        message = (
            f"`{printable(classes[0])}` is the only class in {column}, and one class leaves nothing to distinguish"
        )
        raise Refusal("RCP0804", message, 'two classes at least; name other labels: `label="…"`')
    number = {name: k for k, name in enumerate(classes)}
    return classes, [number[name_of[label]] for label in labels]


def _are_numbers(places: Mapping[str, Sequence[int]], column: str, refused: Refused) -> bool:
    """Whether labels are whole numbers; not if they are text.

    Raises:
        Refusal: as `refused`: some are numbers and some are text, or they are decimal numbers.
    """
    numbers = [label for label in places if _NUMBER.fullmatch(label)]
    decimal = [label for label in numbers if not _WHOLE.fullmatch(label)]
    text = [label for label in places if label not in set(numbers)]
    where = lambda labels: sorted(place for label in labels for place in places[label])  # noqa: E731
    if text and numbers:
        count, those = len(where(numbers)), where(text)
        few, many = (numbers, "text") if count < len(those) else (text, "numbers")
        message = f"the labels {listed(few)} are {'numbers' if many == 'text' else 'text'}, the others {many}"
        raise refused(where(few), message, "fix them, or write `labels=text` if all are names of classes")
    if decimal:
        message = f"{column} has numbers with decimals, as `{decimal[0]}`, which are not classes"
        raise refused(where(decimal), message, "write `labels=text` if they are names of classes")
    return bool(numbers)


def require_trained(
    classes: Sequence[str], labels: Sequence[int], splits: Sequence[str], where: Callable[[int], str]
) -> None:
    """Refuse a class of `val` or `test` that is never trained.

    Args:
        classes: names of the classes.
        labels, splits: of each sample.
        where: position of a sample → where it is, for the message.

    Raises:
        Refusal: RCP0810.
    """
    trained = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    for place, (label, split) in enumerate(zip(labels, splits, strict=True)):
        if label not in trained:
            message = f"the class `{printable(classes[label])}` of `{split}` ({where(place)}) is not in `train`"
            raise Refusal("RCP0810", message, "every class needs samples to train on")

"""Which settings say that a sample may have several labels, and how they exclude each other."""

from __future__ import annotations

from recipelang.errors import SettingError

#: what a list of columns is, and the name of the labels in one column, in a help line
OF_COLUMNS = 'write `label="kind"` for one column of classes, `label=["cat", "dog"]` for several of labels'


def require_one_form(label: str | tuple[str, ...], separator: str, labels: str) -> None:
    """Refuse settings that say two different things of how labels are written.

    Args:
        label: the column of classes, or those of 0 and 1.
        separator: between names in one column.
        labels: `auto`, `text` (names of classes) or `list` (lists of labels).

    Raises:
        SettingError: two of them contradict each other.
    """
    several = label if isinstance(label, tuple) else ()
    if several and (twice := next((name for k, name in enumerate(several) if name in several[:k]), None)):
        raise SettingError("label", f"the column `{twice}` is named twice", "name each column of labels once")
    if several and (len(several) < 2 or not all(several)):
        raise SettingError("label", "a list names two columns at least, each of a label", OF_COLUMNS)
    if several and separator:
        message = "`separator` is for the names in one column, and `label` names several"
        raise SettingError("separator", message, "leave one of the two out")
    if (several or separator) and labels != "auto":
        what = "lists of labels in one column" if labels == "list" else "one column of classes"
        raise SettingError("labels", f"`labels={labels}` is for {what}", "leave `labels` out")


def target_of(label: str | tuple[str, ...], separator: str, labels: str) -> str:
    """`labels` where a sample may have several, else `class`."""
    return "labels" if separator or labels == "list" or isinstance(label, tuple) else "class"

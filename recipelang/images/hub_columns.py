"""Which columns and splits of a data set of the library `datasets` hold what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.errors import Refusal, did_you_mean
from recipelang.images.decode import shown
from recipelang.images.hub_sets import HubSet
from recipelang.images.listing import USUAL
from recipelang.images.splits import SPLIT_NAMES, SPLITS
from recipelang.images.table import listed, plain

#: what a recipe says of the labels → kinds of columns that may hold them, the likeliest first, and in words
_LABELS = {
    **dict.fromkeys(("auto", "text"), ("class", "whole", "text", "boolean")),
    "list": ("list",),
    "separated": ("text",),
    "columns": ("boolean", "whole", "decimal", "text"),
}
_LABEL_HELP = {
    "list": "`labels=list` is for lists of `ClassLabel`, names or whole numbers",
    "separated": "`separator` is for names of labels in a text",
    "columns": "a column of a label holds 0 and 1, or booleans",
}
_WHAT = {"image": "images", "text": "texts", "label": "the label"}


@dataclass(frozen=True)
class Chosen:
    """What is read of a data set.

    Attributes:
        splits: `train`, and those of `val` and `test` that there are → name of the split there.
        value: the column of images or texts.
        label: the columns of the labels: one, or one for each label where there are several.
        notes: what the user is told: what was guessed, and what is not used.
    """

    splits: Mapping[str, str]
    value: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The column of the classes, the first where there are several."""
        return self.labels[0]


def choose(
    data: HubSet,
    what: str,
    value: str,
    label: str | tuple[str, ...],
    splits: Mapping[str, str],
    form: str = "auto",
) -> Chosen:
    """Find the splits and columns of a data set.

    Args:
        what: `image` or `text`: what a sample is.
        value, label: columns; "" finds them by their types and usual names. Several of labels hold 0 and 1.
        splits: of `train`, `val` and `test`, the name there; "" finds it by its usual names.
        form: of the labels in their column: `auto` and `text` one class, `list` or `separated` several labels.

    Raises:
        Refusal: RCP0853: there is no such column or split, or it is not clear which; RCP0861: a column holds something
            else.
    """
    chosen, left = _splits(data, splits)
    features = data.splits[chosen["train"]].features
    kinds = {name: kind_of(feature) for name, feature in features.items()}
    of_value = _named(data, kinds, features, what, value) if value else _value(data, kinds, what)
    form = "columns" if isinstance(label, tuple) else form
    named = label if isinstance(label, tuple) else (label,) if label else ()
    of_labels = tuple(_named(data, kinds, features, "label", name, form) for name in named)
    of_labels = of_labels or (_label(data, kinds, features, of_value, form),)
    if of_value in of_labels:
        message = f"the column `{shown(of_value)}` of `{data.name}` cannot hold both {_WHAT[what]} and the label"
        raise Refusal("RCP0853", message, "name another column: `label=`")
    for split in chosen.values():
        own = data.splits[split].features
        for column in (of_value, *of_labels):
            if column not in own or _described(own[column]) != _described(features[column]):
                message = f"the column `{shown(column)}` of `{data.name}` is not the same in `{shown(split)}`"
                raise Refusal("RCP0861", message, "give every split the same columns and types")
    roles = ((what, of_value, value), ("label", of_labels[0], label))
    guessed = [f"{role} from `{shown(column)}`" for role, column, name in roles if not name]
    notes = [f"`{data.name}`: {', '.join(guessed)}"] if guessed else []
    if left:
        notes.append(f"not used: the split{'s' * (len(left) != 1)} {listed(left)}")
    return Chosen(chosen, of_value, of_labels, tuple(notes))


def _splits(data: HubSet, wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """`train`, `val` and `test` → name there; and the splits that are none of them."""
    there = tuple(data.splits)
    found: dict[str, str] = {}
    for split, name in wanted.items():
        if name and name not in there:
            help = f"{did_you_mean(name, there)}the splits are {listed(there)}"
            raise Refusal("RCP0853", f"`{data.name}` has no split `{shown(name)}`", help)
        usual = [one for one in there if SPLIT_NAMES.get(one.lower()) == split and one not in wanted.values()]
        if not name and len(usual) > 1:
            message = f"`{data.name}` has {len(usual)} splits that may be `{split}`: {listed(usual)}"
            raise Refusal("RCP0853", message, f'write which one: `{split}="{shown(usual[0])}"`')
        if name or usual:
            found[split] = name or usual[0]
    if "train" not in found and not data.named:
        found["train"] = there[0]
    if "train" not in found:
        message = f"`{data.name}` has no split `train`, only {listed(there)}"
        raise Refusal("RCP0853", message, f'name the split to train on: `train="{shown(there[0])}"`')
    if twice := [name for name in found.values() if list(found.values()).count(name) > 1]:
        roles = " and ".join(f"`{split}`" for split, name in found.items() if name == twice[0])
        raise Refusal("RCP0853", f"`{shown(twice[0])}` of `{data.name}` is both {roles}", "name different splits")
    return {split: found[split] for split in SPLITS if split in found}, [n for n in there if n not in found.values()]


def kind_of(feature: Any) -> str:
    """What a column holds: `image`, `bytes`, `class`, `whole`, `text`, `boolean`, `decimal`, `list` or `other`.

    A list is one of classes, whole numbers or text.
    """
    import datasets

    if isinstance(feature, datasets.Image):
        return "image"
    if isinstance(feature, datasets.ClassLabel):
        return "class"
    if isinstance(feature, Mapping):  # as others than this library write images into Parquet files
        return "bytes" if "bytes" in feature and kind_of(feature["bytes"]) == "bytes" else "other"
    if isinstance(feature, datasets.List | datasets.LargeList):
        return "list" if kind_of(feature.feature) in ("class", "whole", "text") else "other"
    known = str(getattr(feature, "dtype", ""))
    if not isinstance(feature, datasets.Value):
        return "other"
    if known in ("binary", "large_binary"):
        return "bytes"
    if known in ("string", "large_string"):
        return "text"
    if known.startswith(("int", "uint")):
        return "whole"
    return {"bool": "boolean"}.get(known, "decimal" if known.startswith("float") else "other")


def _described(feature: Any) -> str:
    """The type of a column, as a message says it."""
    return f"ClassLabel of {feature.names}" if kind_of(feature) == "class" else str(feature)


def _inside(feature: Any) -> tuple[str, ...]:
    """The fields of a nested column; () of any other."""
    inner = getattr(feature, "feature", feature)  # of a list
    return tuple(inner) if isinstance(inner, Mapping) and kind_of(inner) == "other" else ()


def nested(features: Mapping[str, Any], column: str = "") -> str:
    """A line of help on a nested field, which has to become a column first; "" where there is no such field.

    Args:
        column: that the recipe names, as `objects.category`; "" asks for any nested column.
    """
    holder = column.partition(".")[0]
    found = [name for name, feature in features.items() if _inside(feature) and holder in ("", name)]
    if not found:
        return ""
    whole = isinstance(features[found[0]], Mapping)
    how = "`dataset.flatten()` makes columns of them" if whole else "make a column of what is needed by `dataset.map`"
    return f"`{shown(found[0])}` has the fields {listed(_inside(features[found[0]]))} inside: {how}; "


def _named(
    data: HubSet, kinds: Mapping[str, str], features: Mapping[str, Any], role: str, column: str, form: str = "auto"
) -> str:
    """A column that the recipe names.

    Raises:
        Refusal: RCP0853: it does not exist; RCP0861: it holds something else.
    """
    if column not in kinds:
        inside = nested(features, column) if "." in column else ""
        help = f"{inside or did_you_mean(column, tuple(kinds))}the columns are {listed(tuple(kinds))}"
        raise Refusal("RCP0853", f"`{data.name}` has no column `{shown(column)}`", help)
    allowed = {"image": ("image", "bytes"), "text": ("text",), "label": _LABELS[form]}[role]
    if role == "label" and form in ("auto", "text"):
        allowed = (*allowed, "decimal")
    if kinds[column] not in allowed:
        message = f"the column `{shown(column)}` of `{data.name}` does not hold {_WHAT[role]}: its type is "
        fitting = [name for name, kind in kinds.items() if kind in allowed]
        help = {
            "image": "images are of the type `Image`: `dataset.cast_column(COLUMN, datasets.Image())`",
            "text": "texts are of the type `Value('string')`",
            "label": _LABEL_HELP.get(form, "a label is one class: `ClassLabel`, a whole number or a name"),
        }[role]
        if kinds[column] == "list" and form == "auto":
            help = "for lists of labels write `task multilabel` and `labels=list`"
        help = (nested({column: features[column]}) if kinds[column] == "other" else "") + help
        more = f"; columns that may: {listed(fitting)}" if fitting else ""
        raise Refusal("RCP0861", message + f"`{shown(_described(features[column]))[:120]}`", help + more)
    return column


def _value(data: HubSet, kinds: Mapping[str, str], what: str) -> str:
    """The column of images; that of texts is always named."""
    found = [name for name, kind in kinds.items() if kind == "image"]
    found = found or [name for name, kind in kinds.items() if kind == "bytes"]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"`{data.name}` has {len(found)} columns of images: {listed(found)}"
        raise Refusal("RCP0853", message, f'write which one: `{what}="{shown(found[0])}"`')
    texts = [name for name, kind in kinds.items() if kind == "text"]
    help = f'for texts write `text="{shown(texts[0])}"` and `tokenizer=`; ' if texts else ""
    raise Refusal("RCP0853", f"`{data.name}` has no column of images", f"{help}the columns are {listed(tuple(kinds))}")


def _label(data: HubSet, kinds: Mapping[str, str], features: Mapping[str, Any], value: str, form: str) -> str:
    """The column of the classes: one of the type ClassLabel, one with a usual name, or the only one that may be it."""
    usual = [name for name in kinds if plain(name) in USUAL["label"] and name != value]
    allowed = _LABELS[form]
    own = [name for name, kind in kinds.items() if kind == "class" and kind in allowed]
    named = [name for name in usual if kinds[name] in allowed]
    rest = [name for name, kind in kinds.items() if kind in allowed and name != value]
    for found in (own, [name for name in own if name in usual], named, rest):
        if len(found) == 1:
            return found[0]
    several: Sequence[str] = own or named
    if several:
        message = f"`{data.name}` has {len(several)} columns that may be the label: {listed(several)}"
        raise Refusal("RCP0853", message, f'write which one: `label="{shown(several[0])}"`')
    if usual:
        return _named(data, kinds, features, "label", usual[0], form)
    lists = [name for name, kind in kinds.items() if kind == "list"]
    told = f"for the lists in `{shown(lists[0])}` write `task multilabel` and `labels=list`; " if lists else ""
    help = f'{told}{nested(features)}write which column: `label="…"`; the columns are {listed(tuple(kinds))}'
    raise Refusal("RCP0853", f"`{data.name}` has no column that is known to hold the label", help)

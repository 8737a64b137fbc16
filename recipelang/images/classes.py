"""Which output of a network is which class of a data set: by name, since positions differ between lists."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.images.imagenet import FOLDERS

_FIRST, _LAST = "tench", "toilet tissue"  # of ImageNet's 1,000 classes in the order of its folders


@dataclass(frozen=True)
class Match:
    """The positions of a data set's classes among the outputs of a network.

    Attributes:
        outputs: for each class of the data, the index of the output.
        how: `name`; `number`, where the data's classes are named 0, 1, …; `order`, where the network's are;
            `imagenet`, where the data's are folders of ImageNet (n01440764, …) and the network's are its classes.
    """

    outputs: tuple[int, ...]
    how: str


def match(own: Sequence[str], names: Sequence[str]) -> Match | None:
    """Find the classes `names` of some data among the classes `own` of a network's outputs; None where one is unknown.

    Names are compared exactly, then ignoring case, Unicode form, `_`, `-` and leading zeros of numbers, then by each of
    several words for one class (`tench, Tinca tinca`), as long as no two of them become equal. Where the two have no
    name in common, numbers (0, 1, … for all outputs, on one side) are positions; those of the network only where it has
    them in this order.
    """
    places = _places(own)
    found = [_place(name, places) for name in names]
    outputs = tuple(place for place in found if place is not None)
    if len(set(outputs)) == len(names):
        return Match(outputs, "name")
    if _is_imagenet(own) and all(name in FOLDERS for name in names):
        return Match(tuple(FOLDERS.index(name) for name in names), "imagenet")
    if _is_imagenet(own) and _is_imagenet(names):  # words for a class differ, and some of them are two classes'
        return Match(tuple(range(len(names))), "imagenet")
    if len(own) != len(names) or outputs:
        return None
    if is_numbered(own):
        return Match(tuple(range(len(own))), "order") if sorted(own, key=int) == list(own) else None
    if is_numbered(names):
        return Match(tuple(int(name) for name in names), "number")
    return None


def unknown_to(own: Sequence[str], names: Sequence[str]) -> str:
    """The names unknown to a network, for a message: `` the classes `a`, `b`, `c` and 3 more ``."""
    known = {_normalised(word) for name in own for word in (name, *_words(name))}
    strange = [name for name in names if known.isdisjoint(map(_normalised, (name, *_words(name))))] or list(names)
    more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
    return f"the class{'es' * (len(strange) > 1)} " + ", ".join(f"`{printable(name)}`" for name in strange[:3]) + more


def listed(names: Sequence[str]) -> str:
    """A few names of a list, for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"`{printable(name)}`" for name in names[:5]) + more


def printable(name: str) -> str:
    """A name that is safe to print: escaped where it is not printable, truncated where it is long."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ only in case, Unicode form, `_`, `-` and leading zeros."""
    seen: dict[str, str] = {}
    return [(seen[form], name) for name in names if seen.setdefault(form := _normalised(name), name) != name]


def is_numbered(names: Sequence[str]) -> bool:
    """Whether the names are the numbers 0 … n−1, that is, mere positions."""
    if not all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        return False
    return sorted(int(name) for name in names) == list(range(len(names)))


def _places(own: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    """The positions of each name: as written, normalised, and of each word for it."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, name in enumerate(own):
        words = dict.fromkeys(("word", _normalised(word)) for word in _words(name))
        for form in (("written", name), ("normalised", _normalised(name)), *words):
            places.setdefault(form, []).append(place)
    return places


def _place(name: str, places: Mapping[tuple[str, str], list[int]]) -> int | None:
    """The position of a name, if there is exactly one; of several words for a class the first that has one counts."""
    standing = places.get(("written", name)) or places.get(("normalised", _normalised(name)), [])
    if standing:
        return standing[0] if len(standing) == 1 else None
    for word in _words(name) or (name,):
        standing = places.get(("normalised", _normalised(word))) or places.get(("word", _normalised(word)), [])
        if len(standing) == 1:
            return standing[0]
    return None


def _words(name: str) -> tuple[str, ...]:
    """The words of a name like `tench, Tinca tinca`; () where it has one."""
    words = tuple(word.strip() for word in name.split(","))
    return words if len(words) > 1 and all(words) else ()


def _normalised(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).casefold()
    plain = " ".join(plain.replace("_", " ").replace("-", " ").split())
    return plain.lstrip("0") or "0" if plain.isascii() and plain.isdigit() else plain


def _is_imagenet(names: Sequence[str]) -> bool:
    return len(names) == 1000 and tuple(names[k].partition(",")[0] for k in (0, -1)) == (_FIRST, _LAST)

"""Names, classes and regular expressions of layers become what stands after `in` and `except`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from recipelang.migrating.finding import Findings
from recipelang.migrating.reading import Value

#: words of theirs for every layer that can be pruned or quantized
EVERYTHING = {"__ALL__", "__ALL_PRUNABLE__", "__ALL_QUANTIZABLE__", "ALL_PRUNABLE", "re:.*"}
#: a regular expression of more alternatives is not written out
MOST_ALTERNATIVES = 32
_STAR = re.compile(r"(\.|\\[dwsDWS]|\[[^\]]*\])[*+]\??")
_CLASS = re.compile(r"\[(\^?)([A-Za-z0-9_-]+)\]")
_GROUP = re.compile(r"\((?:\?:)?([^()]*)\)(?![*+?{])")
_PREFIX = re.compile(r"^(module|_orig_mod)\.")
_PARAMETER = re.compile(r"\.(weight|bias)$")
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
#: classes whose layers quantization looks at by default
_USUAL = {"Linear", "Conv2d"}


def selected(word: str, names: Iterable[Value], findings: Findings, item: str) -> str:
    """The clause: `in "layer1.*", type(Linear)`; "" where everything is meant."""
    values = tuple(names)
    if any(value.text in EVERYTHING for value in values):
        return ""
    found: list[str] = []
    for value in values:
        written = selectors(value.text)
        if not written:
            why = f"`{value.text[:80]}` cannot be written as a dotted name with `*`"
            findings.missing(value, item, why, f"`{word}` with a glob: `recipe layers MODEL` lists the names")
        found.extend(written)
    return f"{word} {', '.join(dict.fromkeys(found))}" if found else ""


def selectors(name: str) -> tuple[str, ...]:
    """One name, class or regular expression as selectors; none where it cannot be written."""
    if name.startswith("re:"):
        return tuple(f'"{glob}"' for glob in globs(name[3:]) if glob)
    if _CLASS_NAME.fullmatch(name):
        return (f"type({name})",)
    plain = module_of(name)
    return (f'"{plain}"',) if plain and not re.search(r'["*?\[\]\s]', plain) else ()


def module_of(name: str) -> str:
    """The module of a parameter, without the prefix of a wrapper: `module.conv1.weight` → `conv1`."""
    return _PARAMETER.sub("", _PREFIX.sub("", name))


def globs(pattern: str) -> tuple[str, ...]:
    """A regular expression as globs, as far as the two agree on the names of modules; none where they do not.

    `.*`, `\\d+` and the like become `*`, groups of alternatives are written out, and a dot is a dot.
    """
    patterns = [pattern]
    while any(_GROUP.search(one) for one in patterns):
        patterns = [
            one[: found.start()] + choice + one[found.end() :]
            for one in patterns
            if (found := _GROUP.search(one))
            for choice in found[1].split("|")
        ] + [one for one in patterns if not _GROUP.search(one)]
        if len(patterns) > MOST_ALTERNATIVES:
            return ()
    written = [_glob(one) for one in patterns]
    return tuple(dict.fromkeys(one for one in written if one)) if all(written) else ()


def _glob(pattern: str) -> str:
    """One expression without groups; "" where it has no glob."""
    text = module_of_pattern(pattern.removeprefix("^").removesuffix("$"))
    if "|" in text:
        return ""
    text = _STAR.sub("\0", text)
    text = _CLASS.sub(lambda found: f"\1{'!' if found[1] else ''}{found[2]}\2", text)
    text = text.replace("\\d", "\0010-9\2").replace("\\.", ".").replace("\\-", "-")
    if re.search(r"[^A-Za-z0-9_./\-\0\1\2!]", text):
        return ""
    return re.sub("\0+", "*", text).replace("\1", "[").replace("\2", "]")


def module_of_pattern(pattern: str) -> str:
    """The same as `module_of` of an expression, in which a dot may be escaped."""
    return re.sub(r"\\?\.(weight|bias)$", "", re.sub(r"^(module|_orig_mod)\\?\.", "", pattern))

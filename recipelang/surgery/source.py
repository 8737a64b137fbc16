"""Where a network comes from: `Network.source`, and how to rebuild the original architecture from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from recipelang.catalogue import Setting, find, settings
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import DEFAULT_TASK, ModelRequest
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.codebase import Code, read_code
from recipelang.surgery.entries import mapping
from recipelang.surgery.manifest import input_shape, whole_numbers
from recipelang.surgery.tasks import task_named

#: where Python files of a given hash were seen in this process
_seen: dict[str, Path] = {}


def rebuild(source: Mapping[str, Any], *, trust: bool, folder: Path, seed: int = 0, redrawn: bool = False) -> nn.Module:
    """Build the original architecture of a source, with random weights; the state of all random generators is restored.

    Args:
        source: `Network.source`, or the JSON of an artifact, which is untrusted.
        trust: whether Python code that it names may run.
        folder: where such code is looked for.
        seed: of the random weights.
        redrawn: whether a network that was given with its weights gets random ones as well.

    Raises:
        Refusal: RCP0714: the source is damaged; RCP0711, RCP0715: code is not trusted, missing or changed; and as the
            model's method.
    """
    try:
        method, request = _method(source), _request(source, trust, folder, redrawn)
    except SettingError as error:
        raise _no_source(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _no_source(f"{type(error).__name__}: {error}") from error
    try:
        with random_numbers(seed):
            module: nn.Module = method.build(request).module
    except Refusal as refusal:
        if refusal.code != "RCP0713":  # it would have been refused before it was saved
            raise
        raise _no_source(refusal.message) from refusal
    return module


def _method(source: Mapping[str, Any]) -> Any:
    """The model method of a source, with its settings."""
    name, given = source["model"], source["settings"]
    cls = find("model", name) if isinstance(name, str) else None
    if cls is None or name == "artifact":
        raise _no_source(f"`{str(name)[:60]}` does not build a network")
    given = {key: value for key, value in given.items() if key != "digest"}  # `_request` checks the code against it
    known = {s.name: s for s in settings(cls)}
    if not set(given) <= set(known):
        raise _no_source(f"`{name}` has no setting {sorted(set(given) - set(known))[0]!r}")
    for key, value in given.items():
        _require_setting(known[key], value)
    if source["classes"] and given.get("classes") != len(source["classes"]):
        raise _no_source("the number of classes differs from the number of their names")
    return cls(**{key: _frozen(value) for key, value in given.items()})


def _require_setting(wanted: Setting, value: Any) -> None:
    """Refuse a value that checking a recipe would refuse."""
    low, high = wanted.low or -math.inf, wanted.high or math.inf
    fits = {
        "integer": type(value) is int and low <= value <= high,
        "number": type(value) in (int, float) and low <= value <= high,
        "boolean": isinstance(value, bool),
        "text": isinstance(value, str) and "\0" not in value,
        "word": value in wanted.choices,
    }
    if wanted.extra:
        good = isinstance(value, list) and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[0].isidentifier()
            for pair in value
        )
    else:
        good = fits.get(wanted.type, True) or (value is None and wanted.default is None)
    if not good:
        raise _no_source(f"the setting `{wanted.name}` cannot be {str(value)[:60]!r}")


def _request(source: Mapping[str, Any], trust: bool, folder: Path, redrawn: bool) -> ModelRequest:
    shape = input_shape(source["input_shape"], "`input_shape`")
    digest, files = source["settings"].get("digest", ""), source.get("files")

    def resolve(text: str) -> Path:
        return find_code(text, str(digest), folder, files)

    classes = tuple(str(name) for name in source["classes"]) or None
    task = task_named(str(source.get("task", DEFAULT_TASK)))
    inputs, built = whole_numbers(source), mapping(source.get("built", {}), "`built`")
    how: dict[str, Any] = {"trust": trust, "weights": False, "redrawn": redrawn}
    return ModelRequest(classes, shape, resolve=resolve, task=task, inputs=inputs, built=built, **how)


def remember_code(path: Path) -> Code:
    """A Python file and what it imports; a network built from it can be rebuilt in this process wherever the file is.

    Raises:
        OSError: the file cannot be read.
        Refusal: RCP0741: there is too much beside it.
    """
    code = read_code(path)
    _seen[code.digest] = code.file
    return code


def find_code(text: str, digest: str, folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """The Python file of a source: beside the artifact, in the working folder, or where it was seen before.

    Args:
        text: the path of the file, as the recipe wrote it.
        digest: of the file and of what it imports from beside it (`Code.digest`).
        folder: of the artifact.
        files: path → SHA-256 of each, the Python file first; None for an artifact that records only its Python file.

    Raises:
        Refusal: RCP0715: it is not found, or it or a file that it imports has changed.
    """
    name = Path(text).name
    inner = [folder / path for path in list(files or ())[:1]]
    places = [folder / name, *inner, Path(text), *([_seen[digest]] if digest in _seen else [])]
    there = [place for place in places if _is_file(place)]
    why = f"the Python file `{name}` that builds the network is missing"
    for place in there:
        try:
            found = read_code(place)
        except OSError:
            continue
        if digest in (found.digest, *([] if files else list(found.hashes.values())[:1])):
            return place
        if place == there[0]:
            why = _difference(name, found.hashes, files or {})
    raise Refusal(
        "RCP0715",
        why,
        "put the original files beside the artifact; `export pt2` writes a network that needs no code",
    )


def _difference(name: str, found: Mapping[str, str], saved: Mapping[str, str]) -> str:
    """Which file of the code is missing, has changed or is new."""
    for path, digest in saved.items():
        if path not in found and Path(path).name != name:
            return f"the file `{path}`, which `{name}` imports to build the network, is missing"
        if path in found and found[path] != digest and Path(path).name != name:
            return f"the file `{path}`, which `{name}` imports, has changed since the network was saved"
    if list(saved.values())[:1] == list(found.values())[:1]:
        more = sorted(set(found) - set(saved))
        return f"`{name}` imports the file `{more[0]}`, which did not exist when the network was saved"
    return f"the Python file `{name}` that builds the network has changed since the network was saved"


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):
        return False


def _no_source(why: str) -> Refusal:
    return Refusal(
        "RCP0714",
        f"the network's source is damaged: {why}",
        "use a folder unchanged since a run or `export safetensors` wrote it",
    )


def _frozen(value: Any) -> Any:
    """JSON lists as tuples, as settings hold them."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value

"""What an entry of the store says about itself, and the digests that verify it.

    manifest.json     the key, what the key was made of, the record, and the SHA-256 of every file of the entry
    manifest.sha256   the SHA-256 of manifest.json

Both are checked before anything in an entry is used, the second one before the first is even parsed. This protects
from torn files, bad disks and careless edits. It is not a signature: an altered entry with new digests is accepted.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.files import write_text

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
MOST_BYTES = 2**28  # a manifest holds numbers and names; the largest ones have some megabytes

#: why an entry is not used, as told to the user
ALTERED = "its entry in the store is damaged"
OLDER = "its entry in the store is in an older form, which does not protect its numbers"


class Unsound(Exception):
    """An entry that cannot be used; says why."""


@dataclass(frozen=True)
class EntryManifest:
    """What an entry says about itself, as `run.store.Entry` keeps it."""

    ingredients: Mapping[str, Any]
    record: Mapping[str, Any]
    files: Mapping[str, str]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path, key: str, manifest: EntryManifest) -> None:
    """Write the manifest of an entry and its digest.

    Raises:
        OSError: the folder cannot be written.
    """
    said = {
        "key": key,
        "ingredients": manifest.ingredients,
        "record": manifest.record,
        "files": dict(manifest.files),
    }
    text = json.dumps(said, indent=1, sort_keys=True) + "\n"
    write_text(folder / MANIFEST, text)
    write_text(folder / SEAL, hashlib.sha256(text.encode()).hexdigest() + "\n")


def sound(folder: Path, key: str) -> EntryManifest:
    """The manifest of an entry, after it and every file of the entry were verified by their digests.

    Raises:
        Unsound: a digest does not match, or the manifest is not one of this key.
    """
    try:
        manifest = read(folder, key)
        whole = all(_regular(folder / name) and file_digest(folder / name) == d for name, d in manifest.files.items())
    except (OSError, ValueError):
        raise Unsound(ALTERED) from None
    if not whole:
        raise Unsound(ALTERED)
    return manifest


def read(folder: Path, key: str) -> EntryManifest:
    """Only the manifest, verified by its digest; the files of the entry are not checked.

    Raises:
        Unsound: it is damaged, or has a form without a digest.
    """
    place = folder / MANIFEST
    try:
        if not _regular(place) or place.stat().st_size > MOST_BYTES:
            raise Unsound(ALTERED)
        if not (folder / SEAL).exists():
            raise Unsound(OLDER)
        if not _regular(folder / SEAL) or (folder / SEAL).stat().st_size > 100:
            raise Unsound(ALTERED)
        raw = place.read_bytes()
        if hashlib.sha256(raw).hexdigest() != (folder / SEAL).read_text("ascii").strip():
            raise Unsound(ALTERED)
        said = json.loads(raw)
    except (OSError, ValueError, RecursionError):
        raise Unsound(ALTERED) from None
    return _checked(said, key)


def _checked(said: Any, key: str) -> EntryManifest:
    """The manifest that a JSON value means."""
    parts = [said.get(name) for name in ("ingredients", "record", "files")] if isinstance(said, dict) else [None]
    if not all(isinstance(part, dict) for part in parts) or said.get("key") != key:
        raise Unsound(ALTERED)
    manifest = EntryManifest(*parts)
    for name, digest in manifest.files.items():
        if not isinstance(digest, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise Unsound(ALTERED)
    return manifest


def _regular(path: Path) -> bool:
    """Whether this is a plain file: not a folder, a pipe that would block, or a link to elsewhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False

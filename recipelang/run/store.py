"""The store: finished work by the hash of everything that decided it.

    .recipe/store/ab/abcdef…/   one finished entry: manifest.json and its files; never changed
    .recipe/work/abcdef…/       unfinished work, checkpoints included; becomes an entry by one rename
    .recipe/locks/abcdef….lock  held while an entry is made; the system frees it when its holder dies
    .recipe/runs/0123….json     which entries a run used, so that `gc` keeps them while its output stands

An entry that was torn, cut short or altered is noticed by its checksums, set aside and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A finished piece of work.

    Attributes:
        key: the hash of its ingredients.
        folder: where its files lie; read-only by convention.
        ingredients: what the key was made of.
        record: JSON that the work left: numbers, what was removed, the content of the network.
    """

    key: str
    folder: Path
    ingredients: Mapping[str, Any]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Freed:
    """What `gc` removed, or would remove."""

    entries: int
    unfinished: int
    bytes: int


def key_of(ingredients: Mapping[str, Any]) -> str:
    """The key of a piece of work: SHA-256 of its ingredients as canonical JSON."""
    text = json.dumps({"store": FORMAT, **ingredients}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside it first, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


class Store:
    """Entries under one folder; safe for several runs at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used: set[str] = set()

    def _place(self, key: str) -> Path:
        return self.root / "store" / key[:2] / key

    def work(self, key: str) -> Path:
        """The folder for the unfinished work of this key; what an interrupted run left there is still there."""
        folder = self.root / "work" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(self, key: str) -> Entry | None:
        """The finished entry, its files checked against their checksums; None where there is none."""
        folder = self._place(key)
        if not folder.is_dir():
            return None
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            sound = manifest["key"] == key and all(
                (folder / name).is_file() and file_digest(folder / name) == digest
                for name, digest in manifest["files"].items()
            )
            entry = Entry(key, folder, manifest["ingredients"], manifest["record"]) if sound else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            entry = None
        if entry is None:
            self._discard(folder)
            return None
        self.used.add(key)
        return entry

    def _discard(self, folder: Path) -> None:
        """Take a damaged entry away; by a rename first, so that nobody reads it half removed."""
        aside = self.root / "work" / f"damaged-{uuid.uuid4().hex}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(aside)
        except FileNotFoundError:
            return  # another run was faster
        shutil.rmtree(aside, ignore_errors=True)

    def finish(self, key: str, ingredients: Mapping[str, Any], record: Mapping[str, Any], files: list[str]) -> Entry:
        """Turn the work folder of `key` into a finished entry, in one rename.

        Args:
            key: as from `key_of(ingredients)`; its lock is held.
            ingredients, record: JSON.
            files: names within the work folder that belong to the entry; everything else there is removed.
        """
        work = self.work(key)
        for path in work.iterdir():
            if path.name not in files:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        digests = {name: file_digest(work / name) for name in files}
        manifest = {"key": key, "ingredients": ingredients, "record": record, "files": digests}
        write_text(work / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True))
        for name in files:
            with (work / name).open("rb") as file:
                os.fsync(file.fileno())
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # `--fresh`, or made again after damage
            self._discard(place)
        os.rename(work, place)
        self.used.add(key)
        return Entry(key, place, ingredients, record)

    @contextmanager
    def hold(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of a key; where another run holds it, say so through `waiting` and wait."""
        path = self.root / "locks" / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> Iterator[Path]:
        """The folders of all finished entries."""
        yield from sorted((self.root / "store").glob("??/*"))

    def size(self) -> int:
        """Bytes that the store takes on disk."""
        return sum(_size(self.root / part) for part in ("store", "work"))

    def remember(self, output: Path) -> None:
        """Note which entries a run used; they stay until its output folder is gone."""
        place = str(output.resolve())
        name = hashlib.sha256(os.fsencode(place)).hexdigest()
        note = {"output": place, "keys": sorted(self.used)}
        write_text(self.root / "runs" / f"{name}.json", json.dumps(note))

    def similar(self, ingredients: Mapping[str, Any]) -> Entry | None:
        """The stored entry of the same verb that shares most ingredients: for the reason why a step must run."""
        best: tuple[int, Entry] | None = None
        for folder in self.entries():
            try:
                manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
                theirs = manifest["ingredients"]
                if theirs.get("verb") != ingredients.get("verb"):
                    continue
                common = sum(theirs.get(name) == value for name, value in ingredients.items())
                entry = Entry(manifest["key"], folder, theirs, manifest["record"])
            except (OSError, ValueError, KeyError, AttributeError):
                continue
            if best is None or common > best[0]:
                best = (common, entry)
        return best[1] if best else None

    def gc(self, *, everything: bool = False, dry_run: bool = False) -> Freed:
        """Free what no standing run uses: entries and unfinished work.

        Args:
            everything: also what standing runs use; they would compute it again.
            dry_run: only count.
        """
        kept: set[str] = set()
        for note in (self.root / "runs").glob("*.json"):
            try:
                run = json.loads(note.read_text(encoding="utf-8"))
                stands = Path(run["output"]).is_dir() and not everything
                kept |= set(run["keys"]) if stands else set()
            except (OSError, ValueError, KeyError):
                stands = False
            if not (stands or dry_run):
                note.unlink(missing_ok=True)
        counts = {"store": 0, "work": 0}
        freed = 0
        for part, folders in (("store", list(self.entries())), ("work", sorted((self.root / "work").glob("*")))):
            for folder in folders:
                if part == "store" and folder.name in kept:
                    continue
                size = _size(folder)
                if self._free(folder, dry_run):
                    counts[part] += 1
                    freed += size
        return Freed(counts["store"], counts["work"], freed)

    def _free(self, folder: Path, dry_run: bool) -> bool:
        """Remove a folder unless a run is at work on it; whether it was free."""
        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / "locks" / f"{folder.name}.lock", timeout=0):
                if not dry_run:
                    shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            return False
        return True


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())

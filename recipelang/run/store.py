"""The store: finished work by the hash of everything that determined it.

    .recipe/store/ab/abcdef…/   one finished entry: its files, a manifest and the manifest's digest; never changed
    .recipe/work/abcdef…/       unfinished work, checkpoints included; becomes an entry by one rename
    .recipe/locks/abcdef….lock  held while an entry is made; the system frees it when its holder dies
    .recipe/runs/0123….json     which entries a run used, so that `gc` keeps them while its output exists
    .recipe/answers/            results of whole runs, in the same form (`run/answers.py`)

An entry that was torn, cut short or altered is noticed by its digests, removed and made again, and the reason is
reported: see `run/manifest.py` for what the digests cover and what they do not protect from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recipelang.files import write_text
from recipelang.run.manifest import ALTERED, EntryManifest, Unsound, file_digest, read, seal, sound

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A finished piece of work.

    Attributes:
        key: the hash of its ingredients.
        folder: the folder of its files; read-only by convention.
        ingredients: what the key was made of.
        record: JSON of the work: numbers, what was removed, the content of the network.
        files: names of its files; other files in the folder do not belong to it.
    """

    key: str
    folder: Path
    ingredients: Mapping[str, Any]
    record: Mapping[str, Any]
    files: tuple[str, ...] = ()


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


class Store:
    """Entries under one folder; safe for several runs at once.

    Attributes:
        root: the folder.
        used: keys of the entries that were found or made.
        missed: keys that were looked for in vain.
        unsound: why entries could not be used, by key.
    """

    def __init__(self, root: Path, *, looks_only: bool = False) -> None:
        """`looks_only`: leave damaged entries where they are; a plan changes nothing."""
        self.root, self.looks_only = root, looks_only
        self.used: set[str] = set()
        self.missed: set[str] = set()
        self.unsound: dict[str, str] = {}

    def place(self, key: str) -> Path:
        """The folder of a finished entry, whether or not there is one."""
        return self.root / "store" / key[:2] / key

    def work(self, key: str) -> Path:
        """The folder for the unfinished work of this key; it keeps what an interrupted run left."""
        folder = self.root / "work" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(self, key: str) -> Entry | None:
        """The finished entry, verified by its digests; None if there is none that can be used."""
        folder = self.place(key)
        if not folder.is_dir():
            self.missed.add(key)
            return None
        try:
            manifest = sound(folder, key)
        except Unsound as unsound:
            self.disbelieve(key, str(unsound))
            return None
        self.used.add(key)
        return Entry(key, folder, manifest.ingredients, manifest.record, tuple(manifest.files))

    def disbelieve(self, key: str, why: str = ALTERED) -> None:
        """Remove an entry that cannot be used, and note why."""
        self.unsound[key] = why
        self.missed.add(key)
        self.used.discard(key)
        if not self.looks_only:
            self._discard(self.place(key))

    def why_again(self, key: str) -> str:
        """Why a piece of work that was done before is done again; "" if it was not. Returned once."""
        return self.unsound.pop(key, "")

    def _discard(self, folder: Path) -> None:
        """Remove a damaged entry, by a rename first, so that it is never read half removed."""
        aside = self.root / "work" / f"damaged-{uuid.uuid4().hex}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(aside)
        except FileNotFoundError:
            return  # another run was faster
        remove(aside)

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
        seal(work, key, EntryManifest(ingredients, record, digests))
        for name in files:
            with (work / name).open("rb") as file:
                os.fsync(file.fileno())
        place = self.place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # `--fresh`, or made again after damage
            self._discard(place)
        os.rename(work, place)
        self.used.add(key)
        return Entry(key, place, ingredients, record, tuple(files))

    @contextmanager
    def hold(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of a key; if another run holds it, call `waiting` and wait."""
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
        """The stored entry of the same operation that shares most ingredients: for the reason why a step must run."""
        best: tuple[int, Entry] | None = None
        for folder in self.entries():
            try:
                manifest = read(folder, folder.name)
            except Unsound:
                continue
            theirs = manifest.ingredients
            if theirs.get("verb") != ingredients.get("verb") or _kind(theirs) != _kind(ingredients):
                continue
            common = sum(name in theirs and theirs[name] == value for name, value in ingredients.items())
            entry = Entry(folder.name, folder, theirs, manifest.record, tuple(manifest.files))
            if best is None or common > best[0]:
                best = (common, entry)
        return best[1] if best else None

    def gc(self, *, everything: bool = False, dry_run: bool = False) -> Freed:
        """Remove what no existing run uses: entries and unfinished work.

        Args:
            everything: also what existing runs use; they would compute it again.
            dry_run: only count.
        """
        kept: set[str] = set()
        for note in (self.root / "runs").glob("*.json"):
            try:
                run = json.loads(note.read_text(encoding="utf-8"))
                stands = Path(run["output"]).is_dir() and not everything
                kept |= set(run["keys"]) if stands else set()
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
        beside = Store(self.root / "answers")
        if beside.root.is_dir():
            freed += beside.gc(everything=everything, dry_run=dry_run).bytes
        return Freed(counts["store"], counts["work"], freed)

    def _free(self, folder: Path, dry_run: bool) -> bool:
        """Remove a folder unless a run is working on it; returns whether it was free."""
        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / "locks" / f"{folder.name}.lock", timeout=0):
                if not dry_run:
                    remove(folder)
        except Timeout:
            return False
        return True


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, as far as the system allows; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _kind(ingredients: Mapping[str, Any]) -> Any:
    """What the operation is: `resnet20` and `python` are both of the verb `model`, and no relatives."""
    operation = ingredients.get("operation")
    return operation.get("is") if isinstance(operation, Mapping) else None


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())

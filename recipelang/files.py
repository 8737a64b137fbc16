"""Valid paths, and files written whole or not at all, never through a link that leads elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from recipelang.errors import Refusal
from recipelang.lazy import tempfile

#: the longest name and path on Linux, macOS and Windows, in bytes
LONGEST_NAME, LONGEST_PATH = 255, 4000
#: of a recipe, this much is read, far more than any has: some files have no end
MOST_BYTES = 2**24
#: a link to the cache of the user, wherever wandb keeps its files
LOG_OF_WANDB = "wandb/*/logs/debug-core.log"
#: the name of a file of `atomic` until it is whole: `tempfile` draws eight letters or digits
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.part")


def expanded(text: str) -> Path:
    """A path as the user wrote it, `~` replaced by the home folder.

    Raises:
        Refusal: RCP1214: the path is invalid: `~` names no user, it contains a zero byte, or it is too long.
    """
    why = ""
    if "\0" in text:
        why = "it contains a zero byte"
    elif len(os.fsencode(text)) > LONGEST_PATH:
        why = f"a path has at most {LONGEST_PATH} bytes"
    elif any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(text).parts):
        why = f"a file or folder name has at most {LONGEST_NAME} bytes"
    else:
        try:
            return Path(text).expanduser()
        except RuntimeError:
            why = f"there is no home folder for `{Path(text).parts[0]}`"
    raise Refusal("RCP1214", f"`{shortened(text)}` is not a path: {why}", "use another path")


def used_text(file: Path) -> str:
    """The text of a file that a recipe names; a stranger's recipe may name a pipe, and reading it would wait.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8 text.
    """
    try:
        expanded(str(file))
    except Refusal as refusal:
        raise OSError(0, refusal.message) from None
    if file.exists() and not file.is_file():
        raise OSError(0, "it is not a file")
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES).decode("utf-8-sig")


def cache_folder() -> Path:
    """`$RECIPELANG_CACHE`, else the user's cache folder; without a home folder, one in the temporary folder."""
    import platformdirs  # only what keeps something needs it

    chosen = os.environ.get("RECIPELANG_CACHE")
    folder = Path(chosen or platformdirs.user_cache_dir("recipelang"))
    return folder if chosen or folder.is_absolute() else Path(tempfile.gettempdir()) / f"recipelang-{os.getuid()}"


def used(path: Path) -> None:
    """Note that a file of the cache was used: `recipe gc` frees what nothing has used for long."""
    with contextlib.suppress(OSError):  # a cache that others fill
        os.utime(path)


def shortened(text: str, most: int = 100) -> str:
    """The text, without its middle where it is longer than `most` characters."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


@contextlib.contextmanager
def atomic(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Write a file so that it exists whole or not at all, even when the machine crashes meanwhile.

    A link at `path` is replaced, not followed. `mode` is the permissions of the file; by default the umask decides.

    Raises:
        OSError: the file cannot be written; the previous content remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _permissions() if mode is None else mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def sweep(folder: Path) -> None:
    """Remove what `atomic` left in a folder when its process was killed; nobody else may be writing into it now."""
    with contextlib.suppress(OSError):  # a folder that is not there has nothing, and what stays does no harm
        for left in folder.iterdir():
            if _LEFT.fullmatch(left.name) and left.is_file():
                left.unlink()


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Write a text file (UTF-8, line ends as they are) whole or not at all."""
    with atomic(path, mode) as file:
        file.write(text.encode("utf-8"))


def below(folder: Path, name: str | Path) -> Path:
    """The path `name` below a folder, for writing: no part of it is a link that leads out of the folder.

    Args:
        folder: may itself be reached through links, which its owner made.
        name: a relative path.

    Raises:
        Refusal: RCP0918: a link below the folder leads out of it, and the file would be written elsewhere.
    """
    place = folder / name
    try:
        within = place.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        within = False
    if not within:
        raise Refusal(
            "RCP0918",
            f"`{place}` leads out of `{folder}` through a link, and nothing is written through it",
            "remove the link, or name another `--out`",
        )
    return place


def keep_inside(folder: Path) -> None:
    """Refuse a folder that contains a link leading out, so that what is written into it stays in it.

    A log that wandb links in its own folder is left alone: no run writes a file of that name.

    Raises:
        Refusal: RCP0918, naming the first such link.
    """
    for root, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            path = Path(root) / name
            if path.is_symlink() and not path.match(LOG_OF_WANDB):
                below(folder, path.relative_to(folder))


def _permissions() -> int:
    """What the user's umask leaves a new file; a temporary file is private."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask

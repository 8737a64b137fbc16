"""Tar files of samples: which members belong to one sample, and where they lie."""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.decode import shown

_NO_SAMPLE = r"__[^/]*__($|/)"  # names that WebDataset leaves out
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


def damaged(shard: Path, why: object, help: str = "") -> Refusal:
    """The refusal for a shard that is not a whole tar file."""
    return Refusal(
        "RCP0863", f"the shard `{shown(shard.name)}` {shown(str(why))}", help or "copy or download the shard again"
    )


def incomplete(shard: Path, key: str, why: str, help: str) -> Refusal:
    """The refusal for a sample of a shard."""
    return Refusal("RCP0864", f"the sample `{shown(key)}` of `{shown(shard.name)}` {why}", help)


@contextlib.contextmanager
def opened(shard: Path) -> Iterator[Any]:
    """The file; whatever tarfile raises is refused.

    Raises:
        Refusal: RCP0863: it is not a whole tar file, or a compressed one.
    """
    try:
        with shard.open("rb") as file:
            start = file.read(4)
            if packed := next((name for mark, name in _PACKED.items() if start.startswith(mark)), None):
                help = "decompress it: samples are read in any order, which compression makes impossible"
                raise damaged(shard, f"is compressed ({packed})", help)
            yield file
    except (tarfile.TarError, OSError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise damaged(shard, f"cannot be read as a tar file: {error or type(error).__name__}") from error


def grouped(shard: Path, file: Any) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Key and members of each sample: extension → (offset, size); grouped as WebDataset does.

    Raises:
        Refusal: RCP0863: the file ends early; RCP0864: a sample has two members of one extension.
    """
    from webdataset.tariterators import group_by_keys

    members = ({"fname": name, "data": place, "__url__": ""} for name, place in _members(shard, file))
    try:
        for sample in group_by_keys(members):
            key = sample.pop("__key__")
            yield key, {ext: place for ext, place in sample.items() if ext != "__url__"}
    except ValueError as error:
        name, _, why = str(error.args[0]).partition(": duplicate file name")
        if not why:
            raise
        raise incomplete(shard, name.partition(".")[0], f"has two members `{shown(name)}`", "remove one") from error


def _members(shard: Path, file: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name, and offset and size, of every file in a tar file."""
    length = os.fstat(file.fileno()).st_size
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.offset_data + member.size > length:
                raise damaged(shard, f"is cut off within `{shown(member.name)}`")
            if member.isreg() and not member.issparse() and not re.match(_NO_SAMPLE, member.name):
                yield member.name, (member.offset_data, member.size)
            archive.members = []  # type: ignore[attr-defined]  # of a large shard, they would fill the memory
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise damaged(shard, "has no mark of its end, so that samples may be missing")

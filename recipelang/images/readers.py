"""Where the images of a data set are: files below a folder, or anything else that gives the bytes of an image file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recipelang.images.decode import read_bytes

#: two stamps are equal only if nothing was written in between: numbers, as JSON keeps them
Stamp = list[int]


class Reader(Protocol):
    """Gives the bytes of image files by name, from several threads at a time.

    Attributes:
        place: identifies the whole; what was found out about its images is kept under it.
        shown: what the whole is called in messages.
    """

    @property
    def place(self) -> str: ...
    @property
    def shown(self) -> str: ...

    def stamp(self, name: str) -> Stamp:
        """What changes whenever the bytes of this image may have changed.

        Raises:
            OSError: it is not there.
        """

    def read(self, name: str) -> bytes:
        """The bytes of an image file.

        Raises:
            Refusal: RCP0805 it cannot be read; RCP0806 it is too large to be an image.
        """


@dataclass(frozen=True)
class FolderReader:
    """Files below a folder; names are relative paths.

    Attributes:
        root: the folder.
        of: what lists the files, where that is not the folder itself.
    """

    root: Path
    of: str = ""

    @property
    def place(self) -> str:
        """See `Reader`."""
        where = os.fsdecode(self.root.resolve())
        return f"{where}\0{self.of}" if self.of else where

    @property
    def shown(self) -> str:
        """See `Reader`."""
        return self.of or self.root.name

    def stamp(self, name: str) -> Stamp:
        """See `Reader`."""
        return file_stamp(f"{self.root}{os.sep}{name}")

    def read(self, name: str) -> bytes:
        """See `Reader`."""
        return read_bytes(self.root / name, name)


def file_stamp(path: str | Path) -> Stamp:
    """Size and two times of change of a file.

    Two times: a tool can set that of the content back, as archives and `touch` do, and not that of the file's record.

    Raises:
        OSError: it is not there.
    """
    return stamp_of(os.stat(path))


def stamp_of(status: os.stat_result) -> Stamp:
    """The same of what the system says of a file."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

"""Files that may come from anyone, read with bounds: only regular ones, no larger than they can be.

What is wrong is raised as `Wrong`, an OSError or a ValueError; who reads the file turns it into a refusal.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from recipelang.surgery.entries import Wrong, mapping, shown

LARGEST_JSON = LARGEST_HEADER = 2**24  # bytes
TYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


def require_regular(path: Path) -> None:
    """Refuse pipes, devices and folders: reading one could block forever or never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Wrong("it is not a regular file")


def json_of(path: Path) -> Any:
    """The value of a JSON file in which every number is one and no entry appears twice."""
    require_regular(path)
    with path.open("rb") as file:
        text = file.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON:
        raise Wrong(f"it is larger than {LARGEST_JSON // 2**20} MiB")
    return json.loads(text.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)


def check_header(path: Path, most: int) -> None:
    """Refuse what is larger than the network or of a type that no network may have, before it takes memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LARGEST_HEADER, size):
            raise Wrong("its header is longer than the file" if length > size else "its header is too long")
        header = json.loads(file.read(length), parse_constant=_no_number)
    for name, tensor in mapping(header, "its header").items():
        if name != "__metadata__" and tensor["dtype"] not in TYPES:
            raise Wrong(f"it holds {shown(name)} as {shown(tensor['dtype'])}, a type that no network uses")
    if size > most + 8 + length:
        raise Wrong(f"it has {size:,} bytes, more than the network can hold")


def _no_number(text: str) -> Any:
    raise Wrong(f"`{text}` is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Wrong("an entry appears twice")
    return found

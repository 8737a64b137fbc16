"""The files of a saved network (`surgery/artifact.py`); naming them needs no torch."""

from __future__ import annotations

from pathlib import Path

FILES = ("model.json", "surgery.json", "restrictions.safetensors", "model.safetensors")
MODEL, SURGERY, RESTRICTIONS, WEIGHTS = FILES
#: where version 1 kept its masks, by the names of their weights, in place of RESTRICTIONS
MASKS = "masks.safetensors"


def files_in(folder: Path) -> tuple[str, ...]:
    """The names of the files of a saved network that are in `folder`, also where an earlier version wrote them."""
    return tuple(name for name in (*FILES, MASKS) if (folder / name).exists())

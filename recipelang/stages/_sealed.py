"""Finished pieces of a step as files, which the step reads again after a kill where they are complete and its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from recipelang.files import atomic
from recipelang.surgery.weights import digest


def write(path: Path, form: str, identity: str, tensors: Mapping[str, Tensor], **entries: str) -> None:
    """Write a piece.

    Args:
        path: the file.
        form: name and version of its format.
        identity: everything that decides the piece, apart from the step, whose folder this is.
        tensors: what it holds; contiguous on the CPU.
        entries: what else it holds.
    """
    header = {"format": form, "identity": identity, **entries}
    header["digest"] = digest(tensors, of=json.dumps(header, sort_keys=True))
    with atomic(path) as file:
        file.write(to_safetensors(dict(tensors), metadata=header))


def read(path: Path, form: str, identity: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and entries of a piece; None where the file is missing, incomplete, altered or of another piece."""
    with contextlib.suppress(OSError, SafetensorError, ValueError, KeyError):
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        told = header.pop("digest", "")
        own = (header.get("format"), header.get("identity")) == (form, identity)
        if own and told == digest(tensors, of=json.dumps(header, sort_keys=True)):
            return tensors, header
    return None

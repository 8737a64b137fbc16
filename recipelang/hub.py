"""Downloads of the Hugging Face hub: where they are on this machine. Nothing is downloaded here."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)


def snapshot(name: str, revision: str = "main", kind: str = "models") -> Path | None:
    """The newest downloaded folder of an id in the hub's cache; None where it was never downloaded.

    The layout is that of `huggingface_hub`: `models--ORG--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT` the
    files; `kind` may be `datasets` instead.
    """
    if not is_id(name) or ".." in revision:
        return None
    root = cache_folder() / f"{kind}--{name.replace('/', '--')}"
    try:
        commit = (root / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    found = root / "snapshots" / commit
    return found if re.fullmatch(r"\w+", commit) and found.is_dir() else None


def is_id(name: str) -> bool:
    """Whether something may be the id of a network or data set: `NAME` or `ORG/NAME`."""
    return bool(_ID.fullmatch(name)) and ".." not in name and not name.startswith(".")


def cache_folder() -> Path:
    """Where the hub's downloads are, as `huggingface_hub` decides it."""
    return _cache("hub", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")


def prepared_folder() -> Path:
    """Where the library `datasets` keeps what it has prepared, as it decides it."""
    return _cache("datasets", "HF_DATASETS_CACHE")


def _cache(name: str, *variables: str) -> Path:
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    found = next(filter(None, map(os.environ.get, variables)), os.path.join(home, name))
    return Path(os.path.expandvars(found)).expanduser()


def calm() -> None:
    """torch warns of enumerations of torchao, which transformers imports where it is installed; no user has them."""
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


@contextmanager
def offline() -> Iterator[None]:
    """Whatever the libraries of the hub would download in this block is an error instead."""
    import huggingface_hub

    name, before, known = "HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE"), huggingface_hub.constants.HF_HUB_OFFLINE
    os.environ[name], huggingface_hub.constants.HF_HUB_OFFLINE = "1", True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = known
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

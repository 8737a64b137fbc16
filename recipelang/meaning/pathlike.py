"""What a path stands for where a model or a data set is expected: `labels.csv` is `csv("labels.csv")`."""

from __future__ import annotations

import re
from pathlib import Path

#: how a recipe writes what a file of this suffix holds, by role
_FILES = {
    "data": {".csv": "csv", ".tsv": "csv", ".tar": "webdataset", ".py": "python"},
    "model": {".onnx": "onnx", ".py": "python"},
}
_WEIGHTS = {".pt", ".pth", ".safetensors", ".ckpt", ".bin"}
_PACKED = {".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
#: a file of Python and a function in it, or the file alone
_FUNCTION = re.compile(r"(.+\.py)(?::(\w+))?")
#: what the Hugging Face hub calls its models and data sets
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def meant_by(role: str, text: str) -> str:
    """The help for a path that is written without the method that reads it; "" where the text is no path.

    Args:
        role: `model` or `data`; no other kind has a path.
        text: as it is written, perhaps with quotes.
    """
    name = text.strip().strip("\"'").strip()
    if role not in _FILES or not name or any(c in name for c in '("\n'):
        return ""
    path = name.replace("\\", "/")
    suffix = Path(path).suffix.lower()
    if found := _FUNCTION.fullmatch(path):
        return f'write `python("{found[1]}:{found[2] or "build"}")`, the file and its function that builds it'
    if method := _FILES[role].get(suffix):
        return f'for the file write `{method}("{path}")`'
    if suffix in _WEIGHTS and role == "model":
        return f'weights need the network that they belong to: `resnet20(weights="{path}")`'
    if suffix in _PACKED and role == "data":
        return f'unpack it, and write `folder("{path[: -len(suffix)].removesuffix(".tar")}")`'
    return _folder(role, path)


def _folder(role: str, path: str) -> str:
    there = _is_folder(path)
    if not there and "/" not in path:
        return ""
    if role == "data" and there and any(Path(path).glob("*.tar")):
        return f'for shards write `webdataset("{path}")`'
    own = f'`folder("{path}")`' if role == "data" else f'`artifact("{path}")`'
    if _HUB.fullmatch(path) and not there:
        return f'for a folder write {own}, for what is on the Hugging Face hub `huggingface("{path}")`'
    if role == "model" and there and (Path(path) / "config.json").is_file():
        return f'for the folder write `huggingface("{path}")`'
    return f"for the folder write {own}"


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, or not a path at all
        return False

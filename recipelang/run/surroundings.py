"""What a run and a plan depend on besides the recipe and the store: this machine and the software on it.

It is read without torch, and so is finer than necessary: a file of the project that was touched, or any package that
was installed, counts as a change. Then the answer is found out again, which costs seconds and computes nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import recipelang
from recipelang import plugins
from recipelang.measuring.machine import cores, cpu_features, cpu_model, memory_bytes

#: where Linux shows the devices and the driver that torch may use
DEVICES = ("/dev/nvidia*", "/dev/dri/*", "/dev/kfd", "/dev/dxg", "/dev/accel/*", "/proc/driver/nvidia/gpus/*")
DRIVERS = ("/proc/driver/nvidia/version", "/sys/module/amdgpu/version")
#: what installers leave beside the code
INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")
#: variables that hide devices from torch
HIDING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@cache
def surroundings() -> dict[str, Any]:
    """As JSON; equal if nothing has changed. Read once in a process, whose code is what it was when it was loaded."""
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "cpu": [cpu_model(), *cpu_features()],
        "cores": cores(),
        "memory": memory_bytes(),
        "devices": [*_devices(), *map(_text, DRIVERS), *(os.environ.get(name) for name in HIDING)],
        "code": _digest(_sources()),
        "packages": _digest(_packages()),
    }


def _devices() -> list[str]:
    root = Path("/")
    return [str(found) for pattern in DEVICES for found in sorted(root.glob(pattern.lstrip("/")))]


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _digest(lines: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _sources() -> Iterator[str]:
    """The Python files of the project and of every installed plug-in, with their sizes and times."""
    roots = [Path(recipelang.__file__).parent]
    for package in {point.module.partition(".")[0] for point in plugins.declared().values()}:
        found = find_spec(package)
        if found is None:
            continue
        roots += [Path(place) for place in found.submodule_search_locations or ()]
        if found.origin and not found.submodule_search_locations:
            yield _stamp(Path(found.origin))
    for root in roots:
        for folder, _, names in os.walk(root):
            yield from (_stamp(Path(folder, name)) for name in names if name.endswith(".py"))


def _packages() -> Iterator[str]:
    """What is installed: the folders in which installers say so, by name and time, and whatever else leads to code."""
    for entry in dict.fromkeys(sys.path):
        yield entry
        try:
            with os.scandir(entry or os.curdir) as inside:
                yield from (_stamp(Path(one.path)) for one in inside if one.name.endswith(INSTALLED))
        except OSError:  # not a folder
            continue


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} -"
    return f"{path} {status.st_size} {status.st_mtime_ns}"

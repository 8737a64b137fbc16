"""`recipe doctor`: what this machine can do for a recipe, and what would improve it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recipelang.catalogue import find, names
from recipelang.kinds import Finding
from recipelang.measuring.machine import cores, cpu_features, cpu_model, gpus, memory_bytes, package_version

OLDEST_TORCH = (2, 9)
MEMORY_GIB, DISK_GIB = 4, 5
BF16 = ("avx512_bf16", "amx_bf16", "bf16")
INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
X86 = ("x86_64", "AMD64")
SLOW_INT8 = "int8 networks run with little gain in speed"
OVERFLOWS = (
    ", and products of uint8 and int8 overflow: they are executed here with unsigned integers, and files that this "
    "processor executes are written by `export onnx(integers=unsigned)`"
)


def doctor(folder: Path = Path()) -> tuple[Finding, ...]:
    """What this machine can do; `folder` is where runs and their store are written.

    It loads torch and inspects the machine; it runs nothing, writes nothing and does not use the internet.
    """
    return tuple(row for check in CHECKS for row in check()) + (_disk(folder),)


def _versions() -> Iterator[Finding]:
    yield Finding("recipelang", package_version("recipelang") or "not installed", "ok")
    yield Finding("Python", platform.python_version(), "ok")
    torch = package_version("torch")
    new_enough = tuple(int(part) for part in torch.split(".")[:2]) >= OLDEST_TORCH
    oldest = ".".join(map(str, OLDEST_TORCH))
    yield Finding(
        "torch",
        torch,
        "ok" if new_enough else "limited",
        "" if new_enough else f"recipelang needs torch {oldest} or newer: `pip install --upgrade torch`",
    )
    yield Finding("torchvision", package_version("torchvision"), "ok")


def _cpu() -> Iterator[Finding]:
    features, count = cpu_features(), cores()
    yield Finding("CPU", cpu_model(), "ok")
    yield Finding("cores", str(count), "ok" if count > 1 else "limited", "" if count > 1 else "training will be slow")
    yield _feature("CPU bfloat16", BF16, features, "training runs in float32, about 1.7 times slower")
    yield _feature("CPU int8 (VNNI)", INT8, features, SLOW_INT8 + (OVERFLOWS if platform.machine() in X86 else ""))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > 0.5 * count
    yield Finding(
        "load",
        f"{load:.1f} of {count} cores",
        "limited" if busy else "ok",
        "other processes disturb latency measurements: their intervals get wider, and they take longer" if busy else "",
    )


def _feature(what: str, wanted: tuple[str, ...], features: tuple[str, ...], without: str) -> Finding:
    found = [feature for feature in wanted if feature in features]
    return Finding(what, ", ".join(found), "ok") if found else Finding(what, "none", "limited", without)


def _memory() -> Iterator[Finding]:
    memory = memory_bytes()
    if memory:
        enough = memory >= MEMORY_GIB * 2**30
        yield Finding(
            "memory",
            f"{memory / 2**30:.0f} GiB",
            "ok" if enough else "limited",
            "" if enough else "large networks and data sets may not fit: choose smaller batches",
        )


def _gpu() -> Iterator[Finding]:
    found = gpus()
    if not found:
        yield Finding("GPU", "none", "limited", "recipes run on the CPU; sparse layers run dense (masked only)")
        return
    for name, capability, memory in found:
        yield Finding("GPU", f"{name}, {memory / 2**30:.0f} GiB, sm_{capability[0]}{capability[1]}", "ok")


def _energy() -> Iterator[Finding]:
    from recipelang.measuring.energy import energy_findings

    yield from energy_findings()


def _runtimes() -> Iterator[Finding]:
    for name in names("runtime"):
        runtime: Any = find("runtime", name)
        yield from runtime().findings()


def _disk(folder: Path) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    enough = free >= DISK_GIB * 2**30
    return Finding(
        "free disk",
        f"{free / 2**30:.0f} GiB",
        "ok" if enough else "limited",
        "" if enough else "the store keeps a network for each step: `recipe gc` removes those that no run needs",
    )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_versions, _cpu, _memory, _gpu, _energy, _runtimes)

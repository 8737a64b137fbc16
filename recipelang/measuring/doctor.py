"""`recipe doctor`: what this machine can do for a recipe, and what would improve it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from recipelang.kernels.nm.device import OLDEST_TRITON, SPARSE_TENSOR_CORES, triton_version
from recipelang.measuring.machine import cores, cpu_features, cpu_model, gpus, memory_bytes, package_version

OLDEST_TORCH = (2, 9)
MEMORY_GIB, DISK_GIB = 4, 5
BF16 = ("avx512_bf16", "amx_bf16", "bf16")
INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


class Row(NamedTuple):
    """One thing that a recipe may need.

    Attributes:
        what: the thing.
        value: what was found.
        verdict: `ok`, `limited` (works, with the limits in `advice`), or `missing`.
        advice: what it means and what to do; "" if there is nothing to do.
    """

    what: str
    value: str
    verdict: str
    advice: str = ""


def doctor(folder: Path = Path()) -> tuple[Row, ...]:
    """What this machine can do; `folder` is where runs and their store are written.

    It loads torch and inspects the machine; it runs nothing, writes nothing and does not use the internet.
    """
    return tuple(row for check in CHECKS for row in check()) + (_disk(folder),)


def _versions() -> Iterator[Row]:
    yield Row("recipelang", package_version("recipelang") or "not installed", "ok")
    yield Row("Python", platform.python_version(), "ok")
    torch = package_version("torch")
    new_enough = tuple(int(part) for part in torch.split(".")[:2]) >= OLDEST_TORCH
    oldest = ".".join(map(str, OLDEST_TORCH))
    yield Row(
        "torch",
        torch,
        "ok" if new_enough else "limited",
        "" if new_enough else f"recipelang needs torch {oldest} or newer: `pip install --upgrade torch`",
    )
    yield Row("torchvision", package_version("torchvision"), "ok")


def _cpu() -> Iterator[Row]:
    features, count = cpu_features(), cores()
    yield Row("CPU", cpu_model(), "ok")
    yield Row("cores", str(count), "ok" if count > 1 else "limited", "" if count > 1 else "training will be slow")
    yield _feature("CPU bfloat16", BF16, features, "training runs in float32, about 1.7 times slower")
    yield _feature("CPU int8 (VNNI)", INT8, features, "int8 networks run with little gain in speed")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > 0.5 * count
    yield Row(
        "load",
        f"{load:.1f} of {count} cores",
        "limited" if busy else "ok",
        "other processes disturb latency measurements: their intervals get wider, and they take longer" if busy else "",
    )


def _feature(what: str, wanted: tuple[str, ...], features: tuple[str, ...], without: str) -> Row:
    found = [feature for feature in wanted if feature in features]
    return Row(what, ", ".join(found), "ok") if found else Row(what, "none", "limited", without)


def _memory() -> Iterator[Row]:
    memory = memory_bytes()
    if memory:
        enough = memory >= MEMORY_GIB * 2**30
        yield Row(
            "memory",
            f"{memory / 2**30:.0f} GiB",
            "ok" if enough else "limited",
            "" if enough else "large networks and data sets may not fit: choose smaller batches",
        )


def _gpu() -> Iterator[Row]:
    found = gpus()
    if not found:
        yield Row("GPU", "none", "limited", "recipes run on the CPU; sparse layers run dense (masked only)")
        return
    for name, capability, memory in found:
        yield Row("GPU", f"{name}, {memory / 2**30:.0f} GiB, sm_{capability[0]}{capability[1]}", "ok")
    sparse = any(capability >= SPARSE_TENSOR_CORES for _, capability, _ in found)
    yield Row(
        "sparse tensor cores",
        "2:4" if sparse else "none",
        "ok" if sparse else "limited",
        "" if sparse else "2:4 networks run dense on this GPU: sparse kernels need compute capability 8.0 or newer",
    )


def _libraries() -> Iterator[Row]:
    import torch

    cusparselt = torch.backends.cusparselt.is_available()
    useful = bool(gpus())
    yield Row(
        "cuSPARSELt",
        _dotted(torch.backends.cusparselt.version()) if cusparselt else "none",
        "ok" if cusparselt or not useful else "limited",
        "" if cusparselt or not useful else "the vendor's 2:4 kernels are missing: install a CUDA build of torch",
    )
    triton = package_version("triton") if importlib.util.find_spec("triton") else ""
    new_enough = (triton_version() or (0, 0)) >= OLDEST_TRITON
    yield Row(
        "Triton",
        triton or "none",
        "ok" if new_enough or not useful else "limited",
        ""
        if new_enough or not useful
        else f"our own GPU kernels need {'.'.join(map(str, OLDEST_TRITON))} or newer: `pip install --upgrade triton`",
    )


def _dotted(number: int | None) -> str:
    """cuSPARSELt encodes its version 0.8.1 as 801."""
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}" if number else "unknown version"


def _compiler() -> Iterator[Row]:
    compiler = next((c for c in (os.environ.get("CXX"), "g++", "clang++", "cl") if c and shutil.which(c)), None)
    headers = (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()
    lacking = " and ".join(
        name for name, there in (("a C++ compiler", compiler), ("Python's headers", headers)) if not there
    )
    yield Row(
        "torch.compile on the CPU",
        f"with {Path(compiler or '').name}" if not lacking else "not available",
        "ok" if not lacking else "limited",
        f"`latency(compiled=true)` needs {lacking}, as in the packages g++ and python3-dev" if lacking else "",
    )


def _disk(folder: Path) -> Row:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    enough = free >= DISK_GIB * 2**30
    return Row(
        "free disk",
        f"{free / 2**30:.0f} GiB",
        "ok" if enough else "limited",
        "" if enough else "the store keeps a network for each step: `recipe gc` removes those that no run needs",
    )


CHECKS: tuple[Callable[[], Iterator[Row]], ...] = (_versions, _cpu, _memory, _gpu, _libraries, _compiler)

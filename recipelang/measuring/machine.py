"""Facts about this machine, as reported by the system."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from recipelang.surgery.room import memory_of_machine

#: CPU features that change how fast a network runs, by their names in /proc/cpuinfo (x86, then ARM).
FEATURES = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip

MOST_THREADS = 1024


@cache
def _cpuinfo() -> Mapping[str, str]:
    """The first processor of /proc/cpuinfo, or what sysctl says on macOS; empty if neither exists."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = _sysctl() if platform.system() == "Darwin" else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _sysctl() -> list[str]:
    try:
        done = subprocess.run(["sysctl", "machdep.cpu", "hw.memsize"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.lower().splitlines()


def cpu_model() -> str:
    """Name of the processor, as exactly as the system reports it."""
    info = _cpuinfo()
    return info.get("model name") or info.get("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Those of FEATURES that this processor has."""
    info = _cpuinfo()
    flags = " ".join((info.get("flags", ""), info.get("Features", ""), info.get("machdep.cpu.features", ""))).split()
    return tuple(feature for feature in FEATURES if feature in flags)


def cores() -> int:
    """Cores that this process may use: fewer than the machine has if it is pinned or in a container with a CPU set."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def default_threads() -> int:
    """CPU threads by default: `OMP_NUM_THREADS`, else the cores granted to this process.

    It does not depend on the machine's load: it is part of a training's key, and a rerun must find the same number.
    """
    asked = (
        os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    )  # a list has one number for each nesting level
    if asked.isascii() and asked.isdigit() and 0 < int(asked[:9]) <= MOST_THREADS:
        return int(asked[:9])
    quota = _quota()
    return min(cores(), max(1, math.ceil(quota))) if quota else cores()


def _quota() -> float | None:
    """The number of cores whose time a container grants (cgroup v2); None if it sets no limit."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # `max` is not a number
        return None


def busy() -> bool:
    """Whether more processes want to run on this machine than it has cores."""
    try:
        return os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5
    except (AttributeError, OSError):
        return False


def memory_bytes() -> int | None:
    """Memory of the machine; None if the system does not report it."""
    return memory_of_machine() or None


def gpus() -> tuple[tuple[str, tuple[int, int], int], ...]:
    """(name, compute capability, memory in bytes) of each CUDA device that torch can use."""
    import torch

    if not torch.cuda.is_available():
        return ()
    found = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return tuple((p.name, (p.major, p.minor), p.total_memory) for p in found)


def package_version(name: str) -> str:
    """Version of an installed package, or "" if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes long to import, and few ask for it

    try:
        return version(name)
    except PackageNotFoundError:
        return ""

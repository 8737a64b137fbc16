"""What torch can do on this machine: its sparse kernels, its compiler, and what they need."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch

from recipelang.kernels.nm.device import OLDEST_TRITON, SPARSE_TENSOR_CORES, triton_version
from recipelang.kinds import Finding
from recipelang.measuring.machine import gpus, package_version


def findings() -> tuple[Finding, ...]:
    """Rows of `recipe doctor`; nothing is run."""
    found = gpus()
    sparse = any(capability >= SPARSE_TENSOR_CORES for _, capability, _ in found)
    cores = Finding(
        "sparse tensor cores",
        "2:4" if sparse else "none",
        "ok" if sparse else "limited",
        "" if sparse else "2:4 networks run dense on this GPU: sparse kernels need compute capability 8.0 or newer",
    )
    return (*([cores] if found else []), *_libraries(bool(found)), _compiler())


def _libraries(useful: bool) -> tuple[Finding, ...]:
    """Libraries of sparse kernels, which are useful where there is a GPU."""
    cusparselt = torch.backends.cusparselt.is_available()
    triton = package_version("triton") if importlib.util.find_spec("triton") else ""
    new_enough = (triton_version() or (0, 0)) >= OLDEST_TRITON
    oldest = ".".join(map(str, OLDEST_TRITON))
    return (
        Finding(
            "cuSPARSELt",
            _dotted(torch.backends.cusparselt.version()) if cusparselt else "none",
            "ok" if cusparselt or not useful else "limited",
            "" if cusparselt or not useful else "the vendor's 2:4 kernels are missing: install a CUDA build of torch",
        ),
        Finding(
            "Triton",
            triton or "none",
            "ok" if new_enough or not useful else "limited",
            ""
            if new_enough or not useful
            else f"our own GPU kernels need {oldest} or newer: `pip install --upgrade triton`",
        ),
    )


def _dotted(number: int | None) -> str:
    """cuSPARSELt encodes its version 0.8.1 as 801."""
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}" if number else "unknown version"


def _compiler() -> Finding:
    compiler = next((c for c in (os.environ.get("CXX"), "g++", "clang++", "cl") if c and shutil.which(c)), None)
    headers = (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()
    lacking = " and ".join(
        name for name, there in (("a C++ compiler", compiler), ("Python's headers", headers)) if not there
    )
    return Finding(
        "torch.compile on the CPU",
        f"with {Path(compiler or '').name}" if not lacking else "not available",
        "ok" if not lacking else "limited",
        f"`latency(compiled=true)` needs {lacking}, as in the packages g++ and python3-dev" if lacking else "",
    )

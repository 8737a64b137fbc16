"""What this machine's devices can run, looked up once."""

from __future__ import annotations

import importlib.util
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import torch

from recipelang.kernels.nm.problem import Device

#: The oldest Triton whose Gluon the kernels are written for.
OLDEST_TRITON = (3, 6)
#: N:M sparse tensor cores came with compute capability 8.0 (Ampere).
SPARSE_TENSOR_CORES = (8, 0)


@lru_cache
def describe(device: torch.device) -> Device:
    """The properties of the device that kernels depend on."""
    if device.type != "cuda":
        return Device("cpu", triton=triton_version())
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:  # AMD's GPUs have the same device type
        return Device("rocm", name=properties.name, triton=triton_version())
    return Device(
        "cuda",
        name=properties.name,
        capability=(properties.major, properties.minor),
        triton=triton_version(),
        cusparselt=torch.backends.cusparselt.version() if torch.backends.cusparselt.is_available() else None,
        l2_bytes=int(getattr(properties, "L2_cache_size", 0)),
    )


def answers(device: torch.device) -> bool:
    """Whether the device still works: after an invalid access by a kernel, nothing runs there in this process."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:  # torch.AcceleratorError is one
        return False
    return True


@lru_cache
def triton_version() -> tuple[int, int] | None:
    """(major, minor) of the installed Triton; None where it is missing or its version cannot be read."""
    if importlib.util.find_spec("triton") is None:
        return None
    try:
        major, minor = version("triton").split(".")[:2]
        return int(major), int(minor)
    except (PackageNotFoundError, ValueError):
        return None


def no_sparse_tensor_cores(device: Device) -> str | None:
    """Why nothing on this device multiplies 2:4 weights faster than dense ones; None where something may."""
    if device.type == "cpu":
        return "a CPU has no sparse matrix units: packed weights are unpacked once and run dense"
    if device.type != "cuda":
        return f"{device.name} is not an NVIDIA GPU, and the kernels are written for NVIDIA's sparse tensor cores"
    if device.capability < SPARSE_TENSOR_CORES:
        major, minor = device.capability
        return f"{device.name} (compute capability {major}.{minor}) has no sparse tensor cores, which start with 8.0"
    return None


def triton_too_old(device: Device) -> str | None:
    """Why Triton kernels cannot be compiled here; None where they can."""
    oldest = ".".join(map(str, OLDEST_TRITON))
    if device.triton is None:
        return f"Triton is not installed (`pip install triton`, {oldest} or newer)"
    if device.triton < OLDEST_TRITON:
        return f"Triton {'.'.join(map(str, device.triton))} is too old: the kernels need {oldest} or newer"
    return None


def versions(device: Device) -> dict[str, str]:
    """What a measured time is valid for: the device and the software that compiles and runs its kernels."""
    return {
        "device": device.name or platform.processor(),
        "capability": ".".join(map(str, device.capability)),
        "torch": torch.__version__,
        "triton": ".".join(map(str, device.triton)) if device.triton else "none",
        "cusparselt": str(device.cusparselt or "none"),
    }

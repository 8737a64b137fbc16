"""This machine as records describe it: a fingerprint for keys, the environment for reports, a summary for people."""

from __future__ import annotations

import datetime
import platform

from recipelang.measuring.machine import cores, cpu_features, cpu_model, gpus, memory_bytes, package_version


def summary() -> str:
    """The machine in a few words: `AMD EPYC, 2 cores, no GPU`."""
    graphics = ", ".join(name for name, _, _ in gpus()) or "no GPU"
    count = cores()
    return f"{cpu_model()}, {count} core{'s' * (count > 1)}, {graphics}"


def fingerprint() -> dict[str, object]:
    """What determines how fast a network runs on this machine, as JSON; the same at every call, in every process."""
    memory = memory_bytes()
    return {
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": cores(),
        "features": list(cpu_features()),
        "memory_gib": round(memory / 2**30) if memory else None,
        "gpus": [{"name": name, "capability": list(capability)} for name, capability, _ in gpus()],
    }


def environment(threads: int | None = None) -> dict[str, str]:
    """What a reader needs to reproduce a run, by name.

    Args:
        threads: CPU threads of the run; default: torch's current number.
    """
    import torch

    memory = memory_bytes()
    return {
        "recipelang": package_version("recipelang"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": package_version("torchvision"),
        "numpy": package_version("numpy"),
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cores": str(cores()),
        "threads": str(threads or torch.get_num_threads()),
        "memory": f"{memory / 2**30:.0f} GiB" if memory else "unknown",
        "gpu": ", ".join(name for name, _, _ in gpus()) or "none",
        "cuda": torch.version.cuda or "none",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }

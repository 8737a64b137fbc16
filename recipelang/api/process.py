"""The process of a program that calls: as it was before, after a run in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock

#: runs in one process follow one another: torch's threads and random numbers are those of the process
_turn = RLock()


@contextmanager
def borrowed(device: str) -> Iterator[None]:
    """Work in the process of a program: with gradients, in float32, on the CPU unless said otherwise.

    Afterwards random numbers of Python, numpy and torch, torch's threads, default type and device, its modes, and the
    filters of warnings are as before. A second call, of another thread, waits.

    Args:
        device: on which training draws random numbers.
    """
    _load_torch()
    import torch

    from recipelang.surgery.chance import random_numbers
    from recipelang.surgery.surroundings import restored

    with _turn, ExitStack() as stack:
        stack.enter_context(restored())
        stack.enter_context(random_numbers(device=torch.device(device) if _usable(device) else None))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            torch.set_default_device("cpu")
        yield


def _usable(device: str) -> bool:
    import torch

    return device.startswith("cuda") and torch.cuda.is_available()


def _load_torch() -> None:
    """Load torch, as the command line does (`cli.main`), with threads that wait without spinning; a program that has
    loaded it has decided that itself."""
    if "torch" in sys.modules or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        import torch  # noqa: F401 (reads the variable)
    finally:
        del os.environ["OMP_WAIT_POLICY"]

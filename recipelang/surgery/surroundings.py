"""State of the process that a user's code may change while it builds a network, restored afterwards."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.utils import _device

_told: set[tuple[str, type[Warning], str, int]] = set()


@contextmanager
def undisturbed(file: Path) -> Iterator[None]:
    """Run the code of `file` in isolation: afterwards the process is as before, however the code ends.

    What it prints goes to stderr, and it sees no arguments. Restored are: the working folder, `sys.path`, warning
    filters, torch's default type and device, gradient mode, number of threads, deterministic and precision modes.
    A warning is shown once, however often the network is built. Random numbers are restored by `chance.random_numbers`.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        stack.enter_context(restored())
        _show_once()
        sys.argv = [str(file)]
        yield


@contextmanager
def restored() -> Iterator[None]:
    """After the block everything that `undisturbed` names is as before, however it ends."""
    before = [(write, read()) for read, write in _STATES]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for write, value in before:
                write(value)


def _show_once() -> None:
    show = warnings.showwarning

    def once(message: Any, category: type[Warning], filename: str, lineno: int, *rest: Any, **more: Any) -> None:
        warning = str(message), category, filename, lineno
        if warning not in _told:
            _told.add(warning)
            show(message, category, filename, lineno, *rest, **more)

    warnings.showwarning = once


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def _set_arguments(arguments: list[str]) -> None:
    sys.argv = arguments


def _set_device(device: Any) -> None:
    if device != _device.CURRENT_DEVICE:
        torch.set_default_device(device)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(modes: tuple[bool, bool]) -> None:
    if modes != _deterministic():  # setting it loads torch's compiler
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])


def _set_threads(count: int) -> None:
    if count != torch.get_num_threads():
        torch.set_num_threads(count)


def _flag(holder: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value)


#: how each state is read and written
_STATES: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (os.getcwd, os.chdir),
    (lambda: list(sys.path), _set_path),
    (lambda: sys.argv, _set_arguments),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (torch.get_default_dtype, torch.set_default_dtype),
    (lambda: _device.CURRENT_DEVICE, _set_device),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_num_threads, _set_threads),
    (_deterministic, _set_deterministic),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _flag(torch.backends.cudnn, "benchmark"),
    _flag(torch.backends.cudnn, "deterministic"),
)

"""Samples read by other processes, given back in the order in which they are asked for.

The processes are those of torch's DataLoader: forked, so that a user's data sets need not be pickled, each with one
thread; they end with this process, however it ends. Work is given in pieces that do not depend on how many processes
share it, and neither do its results.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from recipelang.errors import Refusal

T = TypeVar("T")
R = TypeVar("R")
#: died(sample, why) → the refusal for a process that ended while it read this sample; None where it is not known
Died = Callable[[int | None, str], Refusal]
_AHEAD = 2  # pieces of work that each process does in advance
_here: Tensor | None = None  # in a worker: its process, and the sample that it reads


def at(sample: int) -> None:
    """Note which sample is being read, for the message if the process dies of it."""
    if _here is not None:
        _here[1] = sample


def in_processes(work: Callable[[T], R], pieces: Iterable[T], workers: int, died: Died) -> Iterator[R]:
    """What `work` makes of each piece, in their order.

    Args:
        work: is called by one thread; calls `at` before each sample, and may raise a Refusal. What it returns is
            pickled, tensors are shared.
        pieces: of work.
        workers: how many processes; 0 is this one.
        died: makes the refusal for a process that ends by itself.

    Raises:
        Refusal: as `work`, or as `died`.
    """
    if not workers:
        for piece in pieces:
            with one_thread():
                result = work(piece)
            yield result
        return
    places = torch.full((workers, 2), -1, dtype=torch.int64).share_memory_()

    def begin(number: int) -> None:
        global _here
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when reading ends
        _here = places[number]
        _here[0] = os.getpid()

    results = _started(
        _Pieces(work),
        batch_size=None,
        sampler=pieces,  # only iterated over
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=begin,
        prefetch_factor=_AHEAD,
        multiprocessing_context="fork",
        generator=torch.Generator(),  # else a number of the global generator would be drawn
    )
    processes = multiprocessing.active_children()
    try:
        for result in results:
            if isinstance(result, _Refused):
                raise Refusal(result.code, result.message, result.help)
            yield result
    except (RuntimeError, OSError, EOFError):  # its death, or what it had given was gone with it
        gone = wait([process.sentinel for process in processes], 1)
        dead = {process.pid: process for process in processes if process.sentinel in gone}
        place = next(((pid, sample) for pid, sample in places.tolist() if pid in dead), None)
        if place is None:
            raise
        raise died(place[1] if place[1] >= 0 else None, _why(dead[place[0]])) from None
    finally:
        results._shutdown_workers()  # an exception that is kept would keep the processes too


def require_processes() -> None:
    """Refuse where there is no fork.

    Raises:
        Refusal: RCP0856.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        message = "`workers` needs processes that are forked, which this system does not have"
        raise Refusal("RCP0856", message, "leave `workers` out")


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread, as workers do: sums depend on how they are split among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Refused:
    """A Refusal as it travels between processes."""

    code: str
    message: str
    help: str


@dataclass(frozen=True)
class _Pieces(Dataset[Any]):
    """Work as torch's DataLoader asks for it."""

    work: Callable[[Any], Any]

    def __getitem__(self, piece: Any) -> Any:
        assert get_worker_info() is not None
        try:
            return self.work(piece)
        except Refusal as refusal:
            return _Refused(refusal.code, refusal.message, refusal.help)


def _as_it_is(result: Any) -> Any:
    return result


def _started(pieces: _Pieces, **how: Any) -> Any:
    with warnings.catch_warnings():
        # Locks of other threads would stay held in a worker; those of torch are not needed there.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        loader: Any = DataLoader(pieces, **how)
        return iter(loader)


def _why(process: BaseProcess) -> str:
    """Why a process ended."""
    process.join(1)
    code = process.exitcode
    if code is None or code >= 0:
        return "it exited" if code is None else f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"

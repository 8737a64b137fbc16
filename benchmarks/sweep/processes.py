"""Each network is measured in a process of its own, for its peak memory, and given up where it takes too much."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.sweep.networks import Case


def run(case: Case, share: float, seconds: float, memory: int) -> dict[str, Any]:
    """The row of a network, measured in a process of its own.

    Args:
        share: of the units of every group.
        seconds, memory: after which time, and from how many MB on, it is given up.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=work, args=(case, share, sender))
    worker.start()
    sender.close()
    start, why = time.monotonic(), ""
    while not receiver.poll(0.5) and worker.is_alive() and not why:
        if time.monotonic() - start > seconds:
            why = f"did not end in {seconds:g} s"
        elif (used := resident(worker.pid)) > memory:
            why = f"took over {used} MB"
    if why:
        worker.kill()
    try:
        row: dict[str, Any] = receiver.recv() if not why else {"failed": why}
    except EOFError:
        row = {"failed": "its process ended"}
    worker.join()
    return row


def work(case: Case, share: float, sender: Connection) -> None:
    """Measure a network, and send its row or why there is none."""
    from benchmarks.sweep.measure import measured

    try:
        sender.send(measured(case.build, case.size, share))
    except Exception as error:  # whatever goes wrong is a row of the table
        sender.send({"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})


def resident(pid: int | None) -> int:
    """MB that a process has at present; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)

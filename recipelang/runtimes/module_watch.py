"""What each module of a network takes on the clock, without the modules inside it: torch executes, and is watched.

A call is cut at the beginning and at the end of every module, so that the pieces add up to the whole:

    network ─┬─────────┬───┬──────────┬───┬─────   what follows a module's end is its parent's again
             └ conv1 ──┘   └ layer1 ──┘   └ …

What the watching itself takes lies between two pieces and counts for none. Modules keep their class, hooks and path:
only their `forward` is replaced for the time of the watching, since hooks would make torch leave its fast paths.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds.layer_times import Watched
from recipelang.surgery.simulated import INNER

#: a piece that is shorter has not waited for its core: the system gives it away for a millisecond or more
LONG_S = 5e-4
#: modules that only call others, or do nothing in evaluation mode: what they take is their parent's
TRANSPARENT = (nn.Sequential, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class Ticks:
    """Seconds of this thread, without those for which another process held its core."""

    def __init__(self) -> None:
        self._file = -1
        with suppress(OSError):
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def waited(self) -> float:
        """Seconds for which this thread was ready and did not run; 0 where the system does not count them."""
        try:
            return int(os.pread(self._file, 100, 0).split()[1]) * 1e-9 if self._file >= 0 else 0.0
        except (OSError, IndexError, ValueError):
            return 0.0

    def close(self) -> None:
        """Give the counter back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class CpuCuts:
    """Pieces of a call on the CPU, each of which belongs to a module.

    Args:
        now: seconds of a monotonic clock. waited: seconds for which the thread has waited; tests have their own.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter, waited: Callable[[], float] | None = None) -> None:
        self._ticks = Ticks() if waited is None else None
        self._now, self._waited = now, waited or self._ticks.waited  # type: ignore[union-attr]
        self._pieces: list[tuple[str, float]] = []
        self._began, self._last = 0.0, self._waited()
        self.owner: str | None = None

    def cut(self, owner: str | None) -> None:
        """The piece ends, and the next one is of this module; None: nobody's."""
        now = self._now()
        if self.owner is not None:
            seconds = now - self._began
            if seconds > LONG_S:  # shorter ones have not waited, and looking takes time
                waited = self._waited()
                seconds, self._last = max(0.0, seconds - (waited - self._last)), waited
            self._pieces.append((self.owner, seconds))
        self.owner = owner
        self._began = self._now()

    def seconds(self) -> list[tuple[str, float]]:
        """Owner and length of each piece since the last time."""
        found, self._pieces = self._pieces, []
        self._last = self._waited()
        return found

    def close(self) -> None:
        """Give back what it holds."""
        if self._ticks:
            self._ticks.close()


class CudaCuts:
    """Pieces of a call on the stream of a GPU, between two events; gaps in which it waits for Python are included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pieces: list[tuple[str, Any, Any]] = []
        self._event: Any = None
        self.owner: str | None = None

    def cut(self, owner: str | None) -> None:
        """The piece ends, and the next one is of this module; None: nobody's."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        if self.owner is not None:
            self._pieces.append((self.owner, self._event, event))
        self.owner, self._event = owner, event

    def seconds(self) -> list[tuple[str, float]]:
        """Owner and length of each piece since the last time."""
        torch.cuda.synchronize(self._device)
        found = [(owner, first.elapsed_time(last) / 1000) for owner, first, last in self._pieces]
        self._pieces = []
        return found

    def close(self) -> None:
        """It holds nothing."""


class ModuleWatch:
    """A `kinds.Watch` of a module.

    Args:
        module: in evaluation mode; between samples it is as it was.
        cuts: cuts a call into pieces.
    """

    settling = 0.0
    how = "between the beginning and the end of each module, without those inside it"

    def __init__(self, module: nn.Module, cuts: Any) -> None:
        self.module, self.cuts = module, cuts
        self.rows: dict[str, list[float]] = {}
        self.calls: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self._samples, self._entered = 0, dict[str, int]()
        self._forwards = [
            (part, part.__dict__.get("forward"), self._around(path, part, part.forward))
            for path, part in module.named_modules()
            if not path or not (type(part) in TRANSPARENT or isinstance(part, torch.jit.ScriptModule))
        ]

    def sample(self, inputs: Tensor, calls: int) -> None:
        """Call the network so many times; the means over these calls are one sample."""
        self._entered.clear()
        try:
            for part, _, watched in self._forwards:
                part.__dict__["forward"] = watched
            for _ in range(calls):
                self.module(inputs)
        finally:
            self._restore()
        totals: dict[str, float] = {}
        for owner, seconds in self.cuts.seconds():
            totals[owner] = totals.get(owner, 0.0) + seconds
        for owner, entered in self._entered.items():
            self.rows.setdefault(owner, [0.0] * self._samples).append(totals.get(owner, 0.0) / calls)
            self.calls[owner] = max(1, round(entered / calls))
        self._samples += 1
        for row in self.rows.values():
            row += [0.0] * (self._samples - len(row))  # of a layer that this call did not reach

    def finish(self) -> Watched:
        """What all samples say."""
        once = {"": 1} if "" in self.rows else {}  # what simulates grids and what is inside it are one network
        return Watched(self.rows, self.kinds, {**self.calls, **once})

    def close(self) -> None:
        """Give back the counter of the system."""
        self.cuts.close()

    def _restore(self) -> None:
        for part, forward, _ in self._forwards:
            if forward is None:
                part.__dict__.pop("forward", None)
            else:
                part.__dict__["forward"] = forward

    def _around(self, path: str, part: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The function that stands for a module's `forward`."""
        name, cuts, cut, entered = _layer(path), self.cuts, self.cuts.cut, self._entered
        self.kinds[name] = type(part).__name__

        def watched(*args: Any, **kwargs: Any) -> Any:
            caller = cuts.owner
            entered[name] = entered.get(name, 0) + 1
            cut(name)
            try:
                return forward(*args, **kwargs)
            finally:
                cut(caller)

        return watched


def _layer(path: str) -> str:
    """The name of a layer: its path in the network, not in what simulates its grids."""
    return path.removeprefix(INNER) if path.startswith(INNER) else "" if path == INNER.rstrip(".") else path


def watch_of(module: nn.Module, device: torch.device) -> ModuleWatch:
    """The watch of a module on its device."""
    return ModuleWatch(module, CudaCuts(device) if device.type == "cuda" else CpuCuts())

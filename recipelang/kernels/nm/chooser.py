"""Which kernel computes a layer: decided by measured times, never by assumption.

trials (measured, or read from the table) ──decide──▶ Choice
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from recipelang.kernels.nm.device import describe, no_sparse_tensor_cores
from recipelang.kernels.nm.format import Packed
from recipelang.kernels.nm.problem import Configuration, Kernel, Problem
from recipelang.kernels.nm.registry import CANDIDATES
from recipelang.kernels.nm.table import Table
from recipelang.kernels.nm.trials import Timer, Trial, try_all

#: A sparse kernel is chosen where it is at least this much faster than dense: less is noise, and costs memory.
WORTH = 1.03


@dataclass(frozen=True)
class Choice:
    """How a product is computed.

    Attributes:
        kernel: name of the kernel; `dense` where no sparse one is used.
        configuration: of that kernel.
        seconds, dense_seconds: of one call; None where nothing was timed.
        why: the reason, as text.
    """

    kernel: str
    configuration: Configuration
    seconds: float | None
    dense_seconds: float | None
    why: str


@dataclass
class Chooser:
    """Chooses kernels on one device and remembers what it measured.

    Attributes:
        device: where the network runs.
        goal: `latency`, the fastest, or `memory`, the packed form wherever a kernel can read it.
        allowed: names of kernels that the recipe allows.
        timer: measures times.
        table: stores the trials.
        timing: how the network will be called, `eager` or `graph`: a launch costs more than a small product.
        resident_bytes: size of all weights of the network: where they fit into the cache they are read from there.
    """

    device: torch.device
    goal: str
    allowed: tuple[str, ...]
    timer: Timer
    table: Table
    timing: str = "eager"
    resident_bytes: int = 0
    kernels: Sequence[Kernel] = field(default_factory=lambda: CANDIDATES)

    def choose(self, problem: Problem, packed: Packed) -> Choice:
        """The kernel for a product with this weight."""
        if reason := self._hopeless(problem):
            return Choice("dense", {}, None, None, reason)
        copies = self._copies(packed)
        key = problem_key(problem, self.timing, cold=copies > 1)
        trials = self.table.find(key)
        if trials is None or not _covers(trials, self.kernels, problem):
            trials = try_all(problem, packed, self.kernels, self.timer, self.device, copies)
            self.table.keep(key, trials)
        return decide(trials, self.allowed, self.goal)

    def _hopeless(self, problem: Problem) -> str | None:
        """Why no allowed sparse kernel can compute the problem; then nothing is timed."""
        if reason := no_sparse_tensor_cores(problem.device):
            return reason
        if problem.dtype not in (torch.float16, torch.bfloat16):
            # Predictions are made in float32: nothing is timed for them, and no kernel is chosen only to save memory.
            return f"sparse kernels compute in float16 or bfloat16, not in {str(problem.dtype).removeprefix('torch.')}"
        reasons = {k.why_not(problem) for k in self.kernels if k.sparse and k.name in self.allowed}
        return (
            None
            if None in reasons
            else "; ".join(sorted(str(reason) for reason in reasons)) or "the recipe allows no sparse kernel"
        )

    def _copies(self, packed: Packed) -> int:
        """Number of copies of the weight: more than the cache holds, where the network's weights do not fit into it."""
        l2 = describe(self.device).l2_bytes
        if self.resident_bytes <= l2:
            return 1
        smallest = packed.values.nbytes + packed.meta.nbytes
        return max(2, min(32, 2 * l2 // max(smallest, 1) + 1))


def rows_alike(rows: int) -> int:
    """The number of rows up to which a measurement at this many is valid: the next power of two."""
    return 1 << max(0, rows - 1).bit_length()


def problem_key(problem: Problem, timing: str, *, cold: bool) -> str:
    """The key of what a measured time is valid for, on one device."""
    return " ".join(
        (
            f"{problem.outputs}x{problem.inputs}",
            f"rows<={rows_alike(problem.rows)}",
            str(problem.dtype).removeprefix("torch."),
            str(problem.values).removeprefix("torch."),
            "bias" if problem.bias else "plain",
            problem.activation,
            timing,
            "cold" if cold else "cached",
        )
    )


def decide(trials: Sequence[Trial], allowed: Sequence[str], goal: str) -> Choice:
    """The choice that follows from measured times.

    Args:
        trials: of all kernels.
        allowed: kernels that may be chosen. Where `dense` is not among them, the fastest sparse one is.
        goal: `latency` chooses a sparse kernel that is at least 3 % faster than dense, `memory` the fastest sparse one.
    """
    timed = [trial for trial in trials if trial.seconds is not None]
    dense = next((trial.seconds for trial in timed if trial.kernel == "dense"), None)
    sparse = [trial for trial in timed if trial.kernel != "dense" and trial.kernel in allowed]
    if not sparse:
        reasons = dict.fromkeys(t.refused for t in trials if t.refused and t.kernel in allowed)
        return Choice("dense", {}, dense, dense, "; ".join(reasons) or "no sparse kernel is allowed")
    best = min(sparse, key=lambda trial: trial.seconds or 0.0)
    gain = (dense or 0.0) / (best.seconds or 1.0)
    times = f"{_time(best.seconds)} against {_time(dense)} dense" if dense else _time(best.seconds)
    if goal == "memory":
        why = f"the packed form takes less memory; {times}"
    elif "dense" not in allowed:
        why = f"the recipe asks for it; {times}"
    elif gain >= WORTH:
        why = f"{gain:.2f} times as fast: {times}"
    else:
        return Choice("dense", {}, dense, dense, f"{best.kernel} is not 3 % faster: {times}")
    return Choice(best.kernel, best.configuration, best.seconds, dense, why)


def _covers(trials: Sequence[Trial], kernels: Sequence[Kernel], problem: Problem) -> bool:
    """Whether every kernel was refused or tried with its current tiles: another version may have written the table."""
    tried: dict[str, set[tuple[tuple[str, int], ...]]] = {}
    for trial in trials:
        tried.setdefault(trial.kernel, set()).add(tuple(sorted(trial.configuration.items())))
    return all(
        tried.get(kernel.name) in ({()}, {tuple(sorted(tiles.items())) for tiles in kernel.configurations(problem)})
        for kernel in kernels
    )


def _time(seconds: float | None) -> str:
    return "not timed" if seconds is None else f"{seconds * 1e6:.1f} µs"

"""2:4 kernels compared with dense ones on a GPU: correctness, tuning and timing in one call.

    python benchmarks/kernels.py [--quick] [--budget 420] [--json FILE]

Every kernel is verified on new random inputs before it is timed. Times are medians of CUDA graphs that walk over more
copies of the weight than the L2 cache holds, all candidates alternating. Bandwidth is that of a copy on the same device
in the same minute. Results are written even if something fails on the way. Without a GPU it says so and does nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from kernels_network import network
from torch import Tensor

from recipelang.kernels.nm.chooser import decide
from recipelang.kernels.nm.device import answers, describe, versions
from recipelang.kernels.nm.format import Packed, pack
from recipelang.kernels.nm.problem import ACTIVATIONS, Device, Problem
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kernels.nm.registry import CANDIDATES
from recipelang.kernels.nm.timer import CudaTimer
from recipelang.kernels.nm.trials import Trial, agrees, reference, try_all

GPU = torch.device("cuda")
ALLOWED = tuple(kernel.name for kernel in CANDIDATES)
#: outputs × inputs, the most informative first: the budget cuts off the end.
LARGE = ((8192, 8192), (14336, 4096), (4096, 14336), (28672, 8192))
MIDDLE = ((4096, 4096), (1024, 4096), (4096, 1024), (3072, 768), (768, 3072))
FEW, SOME, MANY = (1, 8, 16), (32, 64), (256, 1024, 4096)
MILLION = 1 << 20
#: Bytes of the copy that measures the bandwidth.
COPIED = 1 << 30
#: Shapes to verify: some that are not a whole number of tiles, and one that is.
RAGGED, WHOLE = ((64, 64), (100, 320), (136, 1028)), (4096, 4096)


@dataclass(frozen=True)
class Line:
    """One row of the table: seconds of one call, None where no kernel of the kind could run.

    Attributes:
        values: `16 bit` or `int8`.
        dispatched: of the chooser's choice, which is `kernel`.
        bandwidth: share of the measured memory bandwidth at which the dispatched kernel reads its weight.
        target: speedup over dense that is asked for; None if there is no target.
    """

    outputs: int
    inputs: int
    rows: int
    values: str
    dense: float
    cusparselt: float | None
    ours: float | None
    dispatched: float
    kernel: str
    bandwidth: float
    target: float | None

    @property
    def ratio(self) -> float:
        """Speedup of the dispatched kernel over dense."""
        return self.dense / self.dispatched


def weight(outputs: int, inputs: int, *, int8: bool, dtype: torch.dtype = torch.float16) -> Packed:
    """A random 2:4 weight on the GPU, scaled so that products are of the size of 1."""
    dense = torch.randn(outputs, inputs, device=GPU) / inputs**0.5
    return pack((dense * nm_mask(dense.abs(), 2, 4)).to(dtype), int8=int8)


def problem(packed: Packed, rows: int, dtype: torch.dtype, device: Device, activation: str = "none") -> Problem:
    outputs, inputs = packed.shape
    return Problem(rows, outputs, inputs, dtype, device, packed.values.dtype, True, activation)


def cases() -> Iterator[tuple[tuple[int, int], torch.dtype, bool, int, str, bool]]:
    """((outputs, inputs), dtype, int8, rows, activation, whether in every configuration) of what is verified.

    Each costs a compilation of about a second, so kinds rotate instead of being combined in full; every configuration
    is tried on what is timed afterwards, for which it is compiled anyway.
    """
    kinds = [(dtype, int8) for int8 in (False, True) for dtype in (torch.float16, torch.bfloat16)]
    for i, shape in enumerate(RAGGED):
        for j, (rows, activation) in enumerate(zip((1, 5, 16, 33, 64), ACTIVATIONS, strict=True)):
            yield shape, *kinds[(i + j) % len(kinds)], rows, activation, False
    for rows in (8, 16, 32, 64):
        yield from ((WHOLE, dtype, int8, rows, "none", dtype == torch.float16) for dtype, int8 in kinds)


def correctness(device: Device) -> tuple[int, list[str]]:
    """The number of correct results, and what was wrong."""
    right, wrong = 0, []
    for (outputs, inputs), dtype, int8, rows, activation, everything in cases():
        packed = weight(outputs, inputs, int8=int8, dtype=dtype)
        asked = problem(packed, rows, dtype, device, activation)
        x = torch.randn(rows, inputs, device=GPU, dtype=dtype)
        bias = torch.randn(outputs, device=GPU, dtype=dtype)
        for what, error in _judged(asked, packed, x, bias, everything=everything):
            right += not error
            wrong += [f"{what}: {error}"] if error else []
            if error and not answers(GPU):
                return right, [*wrong, "the GPU no longer responds: nothing after this could be verified"]
    return right, wrong


def _judged(asked: Problem, packed: Packed, x: Tensor, bias: Tensor, *, everything: bool) -> Iterator[tuple[str, str]]:
    """(what ran, what was wrong with it) for every kernel that takes the problem; its first configuration or all."""
    expected, allowed = reference(asked, packed, x, bias)
    shape = f"{asked.outputs}×{asked.inputs}, {asked.rows} rows, {asked.dtype}, {asked.values}, {asked.activation}"
    for kernel in CANDIDATES:
        if kernel.why_not(asked):
            continue
        operands = kernel.operands(packed, asked.dtype, GPU)
        tried = kernel.configurations(asked)
        # The vendor numbers algorithms that a version may lack: only the first must work.
        for tiles in tried if everything and kernel.name != "cuSPARSELt" else tried[:1]:
            try:
                y = kernel.run(x, operands, bias, asked, tiles)
                error = "" if agrees(y, expected, allowed) else f"off by {(y.double() - expected).abs().max():.2e}"
            except Exception as raised:  # an error of a compiler or a driver is a result
                error = _said(raised)
            yield f"{kernel.name} {dict(tiles)} {shape}", error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"


def target(outputs: int, inputs: int, rows: int, int8: bool) -> float | None:
    """The target speedup over dense float16 on an H200."""
    if rows <= 16 and outputs * inputs >= 32 * MILLION:
        return 2.4 if int8 else 1.5
    if int8:
        return None
    if rows in (32, 64) and outputs * inputs >= 32 * MILLION:
        return 1.2
    if rows >= 1024 and min(outputs, inputs) >= 4096:
        return 1.15
    return 0.97


def line(
    outputs: int, inputs: int, rows: int, device: Device, bandwidth: float, *, int8: bool
) -> tuple[Line, tuple[Trial, ...]]:
    """Time every kernel on one shape."""
    packed = weight(outputs, inputs, int8=int8)
    copies = max(2, min(48, 2 * device.l2_bytes // (packed.values.nbytes + packed.meta.nbytes) + 1))
    asked = problem(packed, rows, torch.float16, device)
    kernels = [kernel for kernel in CANDIDATES if kernel.name != "portable"]
    trials = try_all(asked, packed, kernels, CudaTimer(graph=True, device=GPU), GPU, copies)
    chosen = decide(trials, ALLOWED, "latency")
    best = {name: _best(trials, name) for name in ("dense", "cuSPARSELt", "mma.sp")}
    dense = best["dense"] or float("nan")
    bits = {"dense": 16, "cuSPARSELt": 9}.get(chosen.kernel, packed.bits)
    read = outputs * inputs * bits / 8
    seconds = chosen.seconds or dense
    made = Line(
        outputs,
        inputs,
        rows,
        "int8" if int8 else "16 bit",
        dense,
        best["cuSPARSELt"],
        best["mma.sp"],
        seconds,
        kernel=f"{chosen.kernel} {_tiles(chosen.configuration)}".strip(),
        bandwidth=read / seconds / bandwidth,
        target=target(outputs, inputs, rows, int8),
    )
    return made, trials


def _best(trials: Sequence[Trial], name: str) -> float | None:
    return min((t.seconds for t in trials if t.kernel == name and t.seconds is not None), default=None)


def _tiles(configuration: object) -> str:
    return " ".join(f"{name}{value}" for name, value in dict(configuration).items())  # type: ignore[call-overload]


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a device-to-device copy."""
    source = torch.empty(COPIED, dtype=torch.uint8, device=GPU)
    goal = torch.empty_like(source)
    sample = CudaTimer(device=GPU).sampler([lambda: goal.copy_(source)])
    return 2 * source.nbytes / statistics.median(sample() for _ in range(5))


def table(lines: Sequence[Line]) -> str:
    """The lines as Markdown, for docs/kernels.md."""
    times = "dense µs | cuSPARSELt µs | mma.sp µs | dispatched µs"
    rows = [
        f"| outputs × inputs | rows | values | {times} | by | over dense | of bandwidth | asked |",
        "|---" * 11 + "|",
    ]
    for one in lines:
        asked = "" if one.target is None else f"{one.target:.2f} {'✓' if one.ratio >= one.target else '✗'}"
        taken = (_us(one.dense), _us(one.cusparselt), _us(one.ours), _us(one.dispatched))
        rows.append(
            f"| {one.outputs} × {one.inputs} | {one.rows} | {one.values} | {' | '.join(taken)} | {one.kernel} "
            f"| {one.ratio:.2f} | {one.bandwidth:.0%} | {asked} |"
        )
    return "\n".join(rows)


def _us(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e6:.2f}"


def plan(quick: bool) -> Iterator[tuple[int, int, int, bool]]:
    """(outputs, inputs, rows, int8), the most informative first."""
    large, middle = (LARGE[:1], MIDDLE[:1]) if quick else (LARGE, MIDDLE)
    few, some, many = (FEW[-1:], SOME[-1:], MANY[-1:]) if quick else (FEW, SOME, MANY)
    yield from ((n, k, m, int8) for n, k in large for m in few for int8 in (False, True))
    yield from ((n, k, m, False) for n, k in large for m in some)
    yield from ((n, k, m, False) for n, k in (*large, middle[0]) for m in many)
    yield from ((n, k, m, int8) for n, k in middle for m in (*few, *some) for int8 in (False, True))
    yield from ((n, k, m, False) for n, k in middle[1:] for m in many)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; with --json also write everything that was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one shape of each kind")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds after which no shape is started")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: nothing is timed here; the kernels' correctness is tested in tests/kernels without one")
        return
    found: dict[str, Any] = {}
    lines: list[Line] = []
    try:
        _measure(found, lines, asked.quick, time.monotonic() + asked.budget)
    finally:
        print(table(lines))
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))


def _measure(found: dict[str, Any], lines: list[Line], quick: bool, end: float) -> None:
    """Everything in turn, the most informative first, into `found` and `lines`; no shape is started after `end`."""
    start = time.monotonic()
    device = describe(GPU)
    found["about"] = {**versions(device), "driver": _driver(), "date": time.strftime("%Y-%m-%d")}
    found["bandwidth"] = bandwidth = copy_bandwidth()
    print(json.dumps(found["about"]), f"copy {bandwidth / 1e12:.2f} TB/s", flush=True)
    right, wrong = correctness(device)
    found |= {"right": right, "wrong": wrong, "lines": []}
    print(f"correct: {right} of {right + len(wrong)}", *wrong[:40], sep="\n  ")
    print(f"{time.monotonic() - start:.0f} s so far", flush=True)
    try:
        found["network"] = network(quick, GPU)
    except Exception as error:  # the shapes are worth measuring without it
        found["network"] = _said(error)
        print(f"the network was not timed: {_said(error)}", flush=True)
    for outputs, inputs, rows, int8 in plan(quick):
        if time.monotonic() > end:
            print("the budget is used up: the remaining shapes were not timed")
            break
        try:
            made, trials = line(outputs, inputs, rows, device, bandwidth, int8=int8)
        except Exception as error:
            print(f"{outputs}×{inputs}, {rows} rows was not timed: {_said(error)}", flush=True)
            if not answers(GPU):
                break
            continue
        lines.append(made)
        found["lines"].append({**asdict(made), "trials": [trial.json() for trial in trials]})
        print(table([made]).splitlines()[-1], flush=True)
    print(f"{time.monotonic() - start:.0f} s")


def _driver() -> str:
    """The driver's version and the clocks, as reported by nvidia-smi; "" if it is not there."""
    query = "--query-gpu=driver_version,clocks.sm,clocks.mem,power.draw"
    try:
        command = ["nvidia-smi", query, "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    main()

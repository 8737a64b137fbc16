"""Energy of a network, timed alternately with the healthy one: counters of the machine read around calls.

RAPL (Linux, /sys/class/powercap) counts the joules of processor packages and of their memory, NVML those of a GPU. A
sample is many calls in a row, since counters are updated every millisecond (RAPL) or a few times a second (NVML).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Finding, Measurement, Progress
from recipelang.measuring.clock import (
    CpuStopwatch,
    CudaStopwatch,
    Executable,
    check_device,
    measurement,
    series,
    undisturbed,
    warm_up,
)

POWERCAP = Path("/sys/class/powercap")
#: seconds of calls in one sample
RAPL_BLOCK_S, NVML_BLOCK_S = 0.5, 2.0
MIN_PAIRS, HALF_WIDTH, BUDGET_S = 10, 0.02, 60.0
ELSEWHERE = "measure `latency` or `flops`, or run the recipe on a machine that has counters: `recipe doctor` says so"


class Meter(Protocol):
    """Counts joules.

    Attributes:
        block_s: seconds of calls in one sample.
    """

    @property
    def block_s(self) -> float: ...

    def read(self) -> Mapping[str, int]:
        """Counter → its count."""

    def joules(self, before: Mapping[str, int], after: Mapping[str, int]) -> float:
        """What was used between two readings."""


@dataclass(frozen=True)
class Rapl:
    """The counters of processor packages and of their memory.

    Attributes:
        zones: name of a zone → its folder.
        ranges: name → microjoules after which its counter begins at 0 again.
    """

    zones: Mapping[str, Path]
    ranges: Mapping[str, int]
    block_s: float = RAPL_BLOCK_S

    def read(self) -> Mapping[str, int]:
        """Zone → microjoules."""
        return {name: int((folder / "energy_uj").read_text()) for name, folder in self.zones.items()}

    def joules(self, before: Mapping[str, int], after: Mapping[str, int]) -> float:
        """What all zones have used; a counter that is lower than before has begun at 0 once."""
        used = [after[name] - before[name] for name in self.zones]
        whole = [u if u >= 0 else u + self.ranges[name] for u, name in zip(used, self.zones, strict=True)]
        return sum(whole) * 1e-6


@dataclass(frozen=True)
class Nvml:
    """The counter of a GPU, since its driver was loaded."""

    handle: Any
    nvml: Any = field(repr=False)
    block_s: float = NVML_BLOCK_S

    def read(self) -> Mapping[str, int]:
        """Millijoules of the GPU."""
        return {"gpu": int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))}

    def joules(self, before: Mapping[str, int], after: Mapping[str, int]) -> float:
        """What it has used."""
        return (after["gpu"] - before["gpu"]) * 1e-3


def meter_of(device: str) -> Meter:
    """What counts the energy of a device.

    Raises:
        Refusal: RCP1001: this machine does not have the device; RCP1080: it does not tell its energy; RCP1027: the
            library that reads a GPU is not installed.
    """
    place = check_device(device)
    return _nvml(place) if place.type == "cuda" else _rapl()


def _rapl() -> Rapl:
    """The packages, and the memory of each where it is counted apart (`dram`). Their cores and graphics are parts of
    a package, `psys` contains it, and `intel-rapl-mmio` shows it a second time."""
    zones: dict[str, Path] = {}
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):
        name = _text(folder / "name")
        if name.startswith("package") or name == "dram":
            zones[f"{folder.name.removeprefix('intel-rapl:')} {name}"] = folder
    if not zones:
        raise Refusal(
            "RCP1080",
            f"this machine does not tell its energy: {POWERCAP} has no counters of the processor (RAPL); "
            "virtual machines and containers hide them",
            ELSEWHERE,
        )
    ranges = {}
    for name, folder in zones.items():
        try:
            int((folder / "energy_uj").read_text())
            ranges[name] = int((folder / "max_energy_range_uj").read_text())
        except PermissionError as error:
            raise Refusal(
                "RCP1080",
                f"the machine's energy counter {folder / 'energy_uj'} may not be read by this user",
                f"`sudo chmod a+r {POWERCAP}/intel-rapl:*/energy_uj` until the next start, or run as root",
            ) from error
        except (OSError, ValueError) as error:
            message = f"the machine's energy counter {folder} cannot be read: {error}"
            raise Refusal("RCP1080", message, ELSEWHERE) from error
    return Rapl(zones, ranges)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _nvml(place: torch.device) -> Nvml:
    try:
        import pynvml
    except ImportError as error:
        message = '`energy(device="cuda")` needs pynvml, and it is not installed'
        raise Refusal("RCP1027", message, '`pip install "recipelang[energy]"`') from error
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(place).uuid
        found = Nvml(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"), pynvml)
        found.read()
    except pynvml.NVMLError as error:
        raise Refusal("RCP1080", f"`{place}` does not tell its energy: NVML says {error}", ELSEWHERE) from error
    return found


class _EnergyWatch:
    """A stopwatch (`clock.Stopwatch`) whose samples are joules."""

    def __init__(self, meter: Meter, example: Tensor) -> None:
        self.meter, self.example = meter, example

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.perf_counter()

    def sample(self, executable: Executable, calls: int) -> float:
        """Mean joules of a call, of `calls` calls in a row."""
        before = self.meter.read()
        for _ in range(calls):
            executable(self.example)
        if self.example.is_cuda:
            torch.cuda.synchronize(self.example.device)
        return self.meter.joules(before, self.meter.read()) / calls


def compare_energy(
    candidate: Executable,
    healthy: Executable,
    example: Tensor,
    meter: Meter,
    *,
    threads: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Measurement:
    """Joules of one call of `candidate`, and its ratio to `healthy`.

    As `compare_latency`: both are called alternately, and the ratio of medians has its bootstrap interval. A sample is
    as many calls as take `meter.block_s`.

    Args:
        candidate, healthy: prepared by one runtime for `device`.
        example: one input, B×….
        meter: as of `meter_of`.

    Raises:
        Refusal: RCP1080: the counter stands still.
    """
    example = example.to(device)
    clock = (CudaStopwatch if example.is_cuda else CpuStopwatch)(example)
    networks = (healthy,) if candidate is healthy else (healthy, candidate)
    watch = _EnergyWatch(meter, example)
    if progress:
        progress.start("counting joules, pairs" if len(networks) == 2 else "counting joules, samples")
    try:
        with undisturbed(threads):
            calls = warm_up(networks, clock, meter.block_s)
            if not watch.sample(healthy, calls[0]) > 0:
                raise Refusal("RCP1080", "the machine's energy counter stands still during the calls", ELSEWHERE)
            samples = series(networks, calls, watch, MIN_PAIRS, HALF_WIDTH, BUDGET_S, progress)
    finally:
        if progress:
            progress.stop()
    return measurement(samples, "samples")


def energy_findings() -> tuple[Finding, ...]:
    """The rows of `recipe doctor`: whether energy can be measured, and why not."""
    rows = [_finding("CPU energy", "cpu")]
    return (*rows, _finding("GPU energy", "cuda")) if torch.cuda.is_available() else tuple(rows)


def _finding(what: str, device: str) -> Finding:
    try:
        meter = meter_of(device)
    except Refusal as refusal:
        return Finding(what, "cannot be measured", "limited", f"`energy` is refused: {refusal.message}")
    value = f"RAPL: {', '.join(meter.zones)}" if isinstance(meter, Rapl) else "NVML"
    return Finding(what, value, "ok")

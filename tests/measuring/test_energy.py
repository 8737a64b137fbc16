"""Energy from a powercap folder and an NVML that the test writes; nothing here depends on this machine's counters."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.measuring import energy
from recipelang.measuring.energy import Nvml, Rapl, compare_energy, energy_findings, meter_of
from recipelang.methods.metrics.energy import Energy

RANGE = 1_000_000


def zone(folder: Path, name: str, count: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{count}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return folder


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One package with its cores and memory, shown a second time, and a whole board."""
    for path, name in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "psys",
        "intel-rapl-mmio:0": "package-0",
    }.items():
        zone(tmp_path / path, name, RANGE - 5_000)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return tmp_path


class Uses:
    """What is called: it adds to the counters of the package and its memory, which begin again at their range."""

    note = ""

    def __init__(self, powercap: Path, package: int, dram: int = 0) -> None:
        self.files = {powercap / "intel-rapl:0": package, powercap / "intel-rapl:0:1": dram}

    def __call__(self, images: Tensor) -> Tensor:
        for folder, used in self.files.items():
            count = int((folder / "energy_uj").read_text())
            (folder / "energy_uj").write_text(str((count + used) % RANGE))
        return images


def test_packages_and_their_memory_are_added_and_nothing_twice(powercap: Path) -> None:
    meter = meter_of("cpu")
    assert isinstance(meter, Rapl) and list(meter.zones) == ["0 package-0", "0:1 dram"]
    before = meter.read()
    Uses(powercap, 3_000, 500)(torch.zeros(1))
    assert meter.joules(before, meter.read()) == pytest.approx(3.5e-3)


def test_a_counter_that_begins_again_goes_on(powercap: Path) -> None:
    meter = meter_of("cpu")
    before = meter.read()
    Uses(powercap, 9_000)(torch.zeros(1))
    assert int((powercap / "intel-rapl:0" / "energy_uj").read_text()) == 4_000
    assert meter.joules(before, meter.read()) == pytest.approx(9e-3)


def test_joules_of_an_image_and_the_ratio_to_healthy(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "warm_up", lambda networks, clock, block: [5, 8][: len(networks)])
    metric = Energy(batch=4)
    healthy, candidate = Uses(powercap, 2_000, 400), Uses(powercap, 1_500, 300)
    found = metric.measure(candidate, healthy, (1,))
    assert found.value == found.low == found.high == pytest.approx(1.8e-3 / 4)
    assert found.ratio == pytest.approx(0.75) and found.n == 10 and found.interval == "bootstrap of 10 pairs"
    alone = metric.measure(healthy, healthy, (1,))
    assert alone.ratio == 1 and alone.value == pytest.approx(2.4e-3 / 4) and alone.percentiles is None


def test_a_counter_that_stands_still_is_refused(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "warm_up", lambda networks, clock, block: [1, 1])
    with pytest.raises(Refusal) as refused:
        compare_energy(Uses(powercap, 0), Uses(powercap, 0), torch.zeros(1, 1), meter_of("cpu"))
    assert refused.value.code == "RCP1080" and "stands still" in refused.value.message


def test_a_machine_without_counters_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    with pytest.raises(Refusal) as refused:
        Energy().require()
    assert refused.value.code == "RCP1080" and "has no counters of the processor (RAPL)" in refused.value.message
    (row, *_) = energy_findings()
    assert (row.what, row.value, row.verdict) == ("CPU energy", "cannot be measured", "limited")
    assert "RAPL" in row.advice


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_counter_that_only_root_may_read(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(Refusal, match="may not be read") as refused:
        meter_of("cpu")
    assert "chmod" in refused.value.help


def test_a_counter_that_may_not_be_read(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def guarded(path: Path, *rest: Any, **more: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "read_text", guarded)
    with pytest.raises(Refusal, match="may not be read by this user") as refused:
        meter_of("cpu")
    assert refused.value.code == "RCP1080" and "sudo chmod a+r" in refused.value.help


def test_a_counter_that_is_not_a_number(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").write_text("?\n")
    with pytest.raises(Refusal, match="cannot be read"):
        meter_of("cpu")


def test_the_doctor_names_the_counters(powercap: Path) -> None:
    (row, *_) = energy_findings()
    assert (row.value, row.verdict, row.advice) == ("RAPL: 0 package-0, 0:1 dram", "ok", "")


class NVMLError(Exception):
    pass


def nvml(**functions: Any) -> SimpleNamespace:
    """A module as nvidia-ml-py is one."""
    own = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 7_000,
    }
    return SimpleNamespace(**(own | functions))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "check_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: SimpleNamespace(uuid="1234"))


def test_a_gpu_is_found_by_its_uuid_and_counts_millijoules(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    meter = meter_of("cuda:1")
    assert isinstance(meter, Nvml) and meter.handle == "GPU-1234"
    assert meter.joules(meter.read(), {"gpu": 9_500}) == 2.5


def test_a_gpu_without_a_counter_is_refused_with_what_nvml_says(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: str) -> int:
        raise NVMLError("Not Supported")

    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetTotalEnergyConsumption=unsupported))
    with pytest.raises(Refusal, match="NVML says Not Supported") as refused:
        meter_of("cuda")
    assert refused.value.code == "RCP1080"


def test_a_gpu_needs_a_library(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Refusal) as refused:
        meter_of("cuda")
    assert refused.value.code == "RCP1027" and "recipelang[energy]" in refused.value.help

"""What the machine says about itself: complete, stable, and free of what changes from call to call."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recipelang.measuring import doctor as rooms
from recipelang.measuring import machine
from recipelang.measuring.doctor import doctor
from recipelang.measuring.hardware import environment, fingerprint, summary
from recipelang.runtimes import torch_here


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    line = "import json; from recipelang.measuring.hardware import fingerprint; print(json.dumps(fingerprint()))"
    other = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == fingerprint() == json.loads(json.dumps(fingerprint()))


def test_the_fingerprint_tells_machines_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = fingerprint()
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"model name": "Abacus", "flags": "fpu avx2 avx512_bf16 made_up"})
    there = fingerprint()
    assert there != here and there["cpu"] == "Abacus" and there["features"] == ["avx2", "avx512_bf16"]


def test_arm_and_silent_systems_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"Features": "fp asimd asimddp bf16 i8mm"})
    assert machine.cpu_features() == ("asimd", "asimddp", "bf16", "i8mm")
    monkeypatch.setattr(machine, "_cpuinfo", dict)
    assert machine.cpu_model() and machine.cpu_features() == ()


def test_the_environment_is_flat_text() -> None:
    found = environment(threads=3)
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["threads"] == "3" and found["torch"] == torch.__version__
    assert "date" in found and "date" not in fingerprint()


def test_the_summary_names_the_processor() -> None:
    assert machine.cpu_model() in summary()


def test_doctor_gives_a_verdict_on_everything_and_advice_where_it_is_not_ok(tmp_path: Path) -> None:
    rows = doctor(tmp_path / "not" / "there" / "yet")
    names = [row.what for row in rows]
    wanted = {"CPU", "cores", "CPU bfloat16", "CPU int8 (VNNI)", "GPU", "cuSPARSELt", "Triton", "torch", "free disk"}
    assert wanted <= set(names) and len(names) == len(set(names))
    for row in rows:
        assert row.value and row.verdict in ("ok", "limited", "missing")
        assert bool(row.advice) == (row.verdict != "ok"), row


def _gpus(monkeypatch: pytest.MonkeyPatch, *cards: tuple[str, tuple[int, int], int]) -> None:
    for room in (rooms, torch_here):
        monkeypatch.setattr(room, "gpus", lambda: cards)


def test_doctor_sees_what_is_lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rooms, "cpu_features", lambda: ("avx2",))
    monkeypatch.setattr(rooms, "cores", lambda: 1)
    monkeypatch.setattr(rooms, "memory_bytes", lambda: 2**30)
    _gpus(monkeypatch, ("Old card", (7, 5), 8 * 2**30))
    monkeypatch.setattr("shutil.which", lambda name: None)
    verdicts = {row.what: row.verdict for row in doctor(tmp_path)}
    lacking = ("CPU bfloat16", "CPU int8 (VNNI)", "cores", "memory", "sparse tensor cores", "torch.compile on the CPU")
    assert {what: verdicts[what] for what in lacking} == dict.fromkeys(lacking, "limited")
    assert verdicts["GPU"] == "ok"


@pytest.mark.parametrize(("processor", "told"), [("x86_64", True), ("AMD64", True), ("aarch64", False)])
def test_doctor_says_where_products_of_integers_overflow(
    processor: str, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rooms, "cpu_features", lambda: ("avx2",))
    monkeypatch.setattr("platform.machine", lambda: processor)
    advice = next(row.advice for row in doctor(tmp_path) if row.what == "CPU int8 (VNNI)")
    assert "little gain in speed" in advice and ("`export onnx(integers=unsigned)`" in advice) == told


def test_doctor_knows_a_gpu_with_sparse_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    _gpus(monkeypatch, ("New card", (9, 0), 80 * 2**30))
    rows = {row.what: row for row in doctor()}
    assert rows["sparse tensor cores"].verdict == "ok" and "sm_90" in rows["GPU"].value


def test_doctor_says_how_to_install_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.runtimes import installed

    assert {row.what: row for row in doctor()}["onnxruntime"].value
    monkeypatch.setattr(installed, "absent", lambda libraries: ["onnxscript"])
    row = {row.what: row for row in doctor()}["onnxruntime"]
    assert row.verdict == "limited" and "without onnxscript" in row.value
    assert 'pip install "recipelang[onnxruntime]"' in row.advice

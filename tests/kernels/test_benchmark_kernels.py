"""`benchmarks/kernels.py` from its first line to its last: the CPU plays the GPU, compiled kernels are executed there,
times come from a script, shapes are tiny."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from gpuless.pretended import GPU
from torch import Tensor

from recipelang.kernels.nm import chooser, trials
from recipelang.kernels.nm.mma_sp import MmaSp
from recipelang.kernels.nm.portable import Portable
from recipelang.kernels.nm.problem import Configuration, Problem

pytest.importorskip("triton")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kernels.py"
CPU = torch.device("cpu")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark as a module that has not been run."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("benchmark_kernels", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmark_kernels", module)
    spec.loader.exec_module(module)
    yield module


class Timer:
    """Each candidate is faster than the one before it; all of them run once, as in a capture."""

    def __init__(self, graph: bool = False, device: torch.device = CPU) -> None:
        self.asked = 0

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        self.asked += 1
        calls[0]()
        return lambda seconds=10e-6 / self.asked: seconds


def tiny(weights: None) -> torch.nn.Module:
    return torchvision.models.VisionTransformer(16, 8, 1, 2, 32, 64, num_classes=10)


@pytest.fixture
def pretended(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulated: Callable[..., None]
) -> ModuleType:
    """The benchmark on a machine that has a GPU, for all it can tell."""
    simulated((8, 0))
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    device = replace(GPU, cusparselt=None, l2_bytes=1000)
    places = ("runtimes.eager", "runtimes.sparse", "kernels.nm.operations", "kernels.nm.chooser")
    for place in places:
        monkeypatch.setattr(f"recipelang.{place}.describe", lambda _: device)
    monkeypatch.setattr("recipelang.runtimes.eager.CudaTimer", Timer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, value in {
        "GPU": CPU,
        "describe": lambda _: device,
        "CudaTimer": Timer,
        "COPIED": 1 << 10,
        "RAGGED": ((36, 20),),
        "WHOLE": (32, 64),
        "LARGE": ((64, 32), (32, 64)),
        "MIDDLE": ((16, 32), (32, 16)),
        "FEW": (1, 3),
        "SOME": (9,),
        "MANY": (140,),
    }.items():
        assert hasattr(script, name)
        monkeypatch.setattr(script, name, value)
    parts = {"CudaTimer": Timer, "PIXELS": 16, "BATCH": 2}
    for name, value in parts.items():
        monkeypatch.setattr(f"kernels_network.{name}", value)
    monkeypatch.setattr(torchvision.models, "vit_l_16", tiny)

    def one(self: MmaSp, problem: Problem, all_of_them: Any = MmaSp.configurations) -> tuple[Configuration, ...]:
        return tuple(all_of_them(self, problem)[:1])

    monkeypatch.setattr(MmaSp, "configurations", one)
    # The portable kernel's PTX has tests of its own; it takes the simulator longer.
    monkeypatch.setattr(Portable, "why_not", lambda self, problem: "left out")
    monkeypatch.setattr(trials, "VERIFIED_RUNS", 1)
    monkeypatch.setattr(chooser, "CANDIDATES", tuple(k for k in chooser.CANDIDATES if k.name != "portable"))
    return script


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch importing itself
def test_it_runs_from_the_first_line_to_the_last(
    pretended: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kernels.json"
    cases = list(pretended.cases())[::3]  # each is a compilation
    monkeypatch.setattr(pretended, "cases", lambda: cases)
    pretended.main(["--json", str(path)])
    found, told = json.loads(path.read_text()), capsys.readouterr().out
    assert found["wrong"] == [] and found["right"] == 2 * len(cases)
    assert len(found["lines"]) == len(list(pretended.plan(False)))
    assert told.count("| 64 × 32 | 3 | int8 |") == 2, "once when it is measured, once in the table"
    by_rows = {(line["rows"], line["values"]): line for line in found["lines"] if line["outputs"] == 64}
    assert by_rows[3, "16 bit"]["kernel"].startswith("mma.sp TN")
    assert by_rows[3, "16 bit"]["ours"] == by_rows[3, "16 bit"]["dispatched"] < by_rows[3, "16 bit"]["dense"]
    assert by_rows[140, "16 bit"]["kernel"] == "dense", "more rows than the kernel takes"
    assert {trial["kernel"] for trial in by_rows[3, "int8"]["trials"]} == {"dense", "cuSPARSELt", "mma.sp"}
    assert found["about"]["device"] == GPU.name and found["bandwidth"] > 0
    executes = {path: executes for path, (executes, _) in found["network"]["ways"].items()}
    assert len(executes) == 2 and set(executes.values()) == {"mma.sp 2:4"}, "both layers of the only block's MLP"
    assert found["network"]["ratio"] > 0


def test_what_was_found_is_written_even_where_something_fails(
    pretended: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(pretended, "RAGGED", ())
    monkeypatch.setattr(torchvision.models, "vit_b_16", broken, raising=True)
    path = tmp_path / "kernels.json"
    pretended.main(["--json", str(path), "--quick"])
    found = json.loads(path.read_text())
    assert found["network"] == "RuntimeError: CUDA error: out of memory"
    assert len(found["lines"]) == len(list(pretended.plan(True)))
    monkeypatch.setattr(pretended, "try_all", broken)
    pretended.main(["--json", str(path), "--quick"])
    assert json.loads(path.read_text())["lines"] == []
    monkeypatch.setattr(pretended, "correctness", broken)
    with pytest.raises(RuntimeError):
        pretended.main(["--json", str(path), "--quick"])
    assert json.loads(path.read_text())["bandwidth"] > 0
    assert "was not timed: RuntimeError: CUDA error: out of memory" in capsys.readouterr().out


def test_a_wrong_kernel_is_reported(pretended: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    run = MmaSp.run
    cases = list(pretended.cases())[::9]
    monkeypatch.setattr(pretended, "cases", lambda: cases)
    monkeypatch.setattr(MmaSp, "run", lambda self, *arguments: run(self, *arguments) * 1.05)
    right, wrong = pretended.correctness(pretended.describe(CPU))
    assert right == len(wrong) == len(cases), "dense is right and mma.sp is wrong"
    assert all("off by" in line and line.startswith("mma.sp") for line in wrong)
    monkeypatch.setattr(pretended, "answers", lambda device: False)
    right, wrong = pretended.correctness(pretended.describe(CPU))
    assert right == 1 and "no longer responds" in wrong[-1]


def test_nothing_is_begun_after_the_budget(
    pretended: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretended, "correctness", lambda device: (0, []))
    monkeypatch.setattr(pretended, "network", lambda quick, gpu: {})
    pretended.main(["--budget", "-1"])
    assert "the budget is used up" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    script.main([])
    assert "no CUDA device" in capsys.readouterr().out


def test_every_kind_of_product_is_verified(script: ModuleType) -> None:
    """Though not all are crossed: each costs a compilation."""
    cases = list(script.cases())
    ragged, whole = ([case for case in cases if (case[0] == script.WHOLE) == which] for which in (False, True))
    kinds = {(dtype, int8) for _, dtype, int8, *_ in ragged}
    assert len(kinds) == 4
    assert {(shape, activation) for shape, _, _, _, activation, _ in ragged} == {
        (shape, activation) for shape in script.RAGGED for activation in script.ACTIVATIONS
    }
    assert {(dtype, int8, rows) for _, dtype, int8, rows, *_ in whole} == {
        (dtype, int8, rows) for dtype, int8 in kinds for rows in (8, 16, 32, 64)
    }
    assert len(cases) <= 32

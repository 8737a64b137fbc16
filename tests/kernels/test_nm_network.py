"""A whole network whose sparse layers run the PTX that was compiled for a GPU: chosen, packed, fused and executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gpuless.pretended import GPU
from torch import Tensor, nn

from recipelang.kernels.nm import chooser, trials
from recipelang.kernels.nm.layers import SparseLinear
from recipelang.kernels.nm.mma_sp import MmaSp
from recipelang.kernels.nm.problem import Configuration, Problem
from recipelang.kernels.nm.registry import CANDIDATES
from recipelang.kinds import Deployment
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes.eager import placed
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Accelerated, Network

pytest.importorskip("triton")
FOUR = Deployment("cpu", "float16", batch=4)


class Net(nn.Module):
    """A 1×1 convolution over 3×3 pixels, then linear layers with and without activation and bias; nothing is a round
    number of tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 24, 2)
        self.point = nn.Conv2d(24, 36, 1)
        self.act = nn.SiLU()
        self.fc1 = nn.Linear(36, 52)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(52, 20, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.act(self.point(self.stem(images)))
        return self.fc2(self.gelu(self.fc1(x.mean((2, 3)))))


def network(kernels: tuple[str, ...], goal: str = "latency", *, int8: bool = False) -> Network:
    torch.manual_seed(0)
    plain = Network(Net().eval(), {"model": "test", "settings": {}}, (4, 4, 4))
    weights = dict(plain.module.named_parameters())
    masked = sparsify(plain, NM(), {name: weights[name].detach().abs() for name in eligible(plain, NM())[0]})
    layers = ("point", "fc1", "fc2")
    return replace(masked, accelerated=Accelerated(layers, kernels, goal, int8))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulated: Callable[..., None]) -> Iterator[list[str]]:
    """The CPU as a GPU that runs what Triton compiles; times from a script. The names of the kernels that were run."""
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    launched: list[str] = []
    simulated((8, 0), seen=lambda compiled: launched.append(compiled.name))

    class Timer:
        """Dense takes longest."""

        def __init__(self, graph: bool, device: torch.device) -> None:
            self.asked = 0

        def sampler(self, calls: Any) -> Callable[[], float]:
            self.asked += 1
            return lambda: 1e-5

    def one(self: MmaSp, problem: Problem, all_of_them: Any = MmaSp.configurations) -> tuple[Configuration, ...]:
        return tuple(all_of_them(self, problem)[:1])

    for place in ("runtimes.eager", "runtimes.sparse", "kernels.nm.operations"):
        monkeypatch.setattr(f"recipelang.{place}.describe", lambda device: replace(GPU, cusparselt=None))
    monkeypatch.setattr("recipelang.runtimes.eager.CudaTimer", Timer)
    monkeypatch.setattr(MmaSp, "configurations", one)
    monkeypatch.setattr(trials, "VERIFIED_RUNS", 1)
    monkeypatch.setattr(chooser, "CANDIDATES", tuple(kernel for kernel in CANDIDATES if kernel.name != "portable"))
    yield launched


@pytest.mark.parametrize("int8", [False, True], ids=["16 bits", "int8"])
def test_a_network_runs_on_sparse_tensor_cores(gpu: list[str], int8: bool) -> None:
    one = network(("mma.sp",), int8=int8)
    dense = placed(replace(one, accelerated=replace(one.accelerated, layers=())), FOUR)
    ready = placed(one, FOUR)
    module = ready.module
    assert {path: way.executes for path, way in ready.ways.items()} == dict.fromkeys(
        ("point.weight", "fc1.weight", "fc2.weight"), "mma.sp 2:4 int8" if int8 else "mma.sp 2:4"
    )
    assert (module.point.activation, module.fc1.activation, module.fc2.activation) == ("silu", "gelu", "none")
    gpu.clear()
    images = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(5)).half()
    with torch.no_grad():
        packed, plain = module(images).float(), dense(images).float()
    assert len(gpu) >= 3, "three layers, each launched"
    rounding = 0.02 if int8 else 4e-3  # of weights to int8; of sums to float16
    assert float((packed - plain).norm() / plain.norm()) < rounding
    assert float(plain.norm()) > 0


def test_what_does_not_fit_the_kernel_runs_dense(gpu: list[str]) -> None:
    module = placed(network(("dense", "mma.sp"), goal="memory"), FOUR).module
    assert isinstance(module.fc1, SparseLinear)
    gpu.clear()
    many = torch.randn(200, 36, generator=torch.Generator().manual_seed(5)).half()
    with torch.no_grad():
        wide = module.fc1(many)
        few = module.fc1(many[:7])
    assert len(gpu) == 1, "200 rows are unpacked and multiplied by torch, 7 are launched"
    torch.testing.assert_close(wide[:7], few, rtol=4e-3, atol=4e-3)

"""The kernels in plain Triton as a GPU would run them: compiled ahead of time, their machine code counted, and the PTX
for sm_80 executed on the CPU through the real host code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.portable import FEW, MANY, Portable, prune_and_pack
from recipelang.kernels.nm.problem import Configuration, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask

pytest.importorskip("triton")

AMPERE = Device("cuda", "NVIDIA A100", (8, 0), triton=(3, 9))
CPU = torch.device("cpu")
#: Shared memory that a CTA may have where it has least: sm_86, sm_89 and sm_120.
LEAST_SHARED = 99 * 1024


def packed_weight(outputs: int, inputs: int, dtype: torch.dtype, int8: bool) -> Packed:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs)).to(dtype)
    return pack(weight * nm_mask(weight.abs(), 2, 4), int8=int8)


def multiply(
    rows: int,
    packed: Packed,
    dtype: torch.dtype,
    configuration: Configuration,
    bias: bool = True,
    activation: str = "none",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the kernel says, what is right in float64, and how far apart they may be."""
    outputs, inputs = packed.shape
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, inputs, generator=generator).to(dtype)
    b = torch.randn(outputs, generator=generator).to(dtype) if bias else None
    problem = Problem(rows, outputs, inputs, dtype, AMPERE, packed.values.dtype, bias, activation)
    kernel = Portable()
    y = kernel.run(x, kernel.operands(packed, dtype, CPU), b, problem, configuration)

    weight = unpack(packed, torch.float64)
    exact = x.double() @ weight.t() + (0 if b is None else b.double())
    # Every partial sum is rounded to float32 at most once per input; an activation's slope is below 1.13, its own error
    # a few units in the last place of a float32; then one rounding to the dtype of the result.
    size = x.double().abs() @ weight.abs().t() + (0 if b is None else b.double().abs())
    wanted = activate(exact, activation)
    bound = 1.2 * (inputs + 8) * 2.0**-24 * size + torch.finfo(dtype).eps * wanted.abs() + 1e-7
    return y.double(), wanted, bound


@pytest.mark.parametrize(
    ("rows", "outputs", "inputs", "configuration", "activation"),
    [(13, 70, 132, FEW, "gelu"), (1, 64, 256, FEW, "silu"), (67, 72, 160, MANY, "relu"), (3, 9, 36, MANY, "gelu_tanh")],
)
@pytest.mark.parametrize(("dtype", "int8"), [(torch.float16, False), (torch.float16, True), (torch.bfloat16, True)])
def test_compiled_products(
    simulated: Callable[..., None],
    rows: int,
    outputs: int,
    inputs: int,
    configuration: Configuration,
    activation: str,
    dtype: torch.dtype,
    int8: bool,
) -> None:
    simulated((8, 0))
    packed = packed_weight(outputs, inputs, dtype, int8)
    y, wanted, bound = multiply(rows, packed, dtype, configuration, activation=activation)
    assert ((y - wanted).abs() <= bound).all()


def test_compiled_products_in_float32(simulated: Callable[..., None]) -> None:
    simulated((8, 0))
    packed = packed_weight(33, 68, torch.float32, False)
    y, wanted, bound = multiply(5, packed, torch.float32, FEW, bias=False)
    assert ((y - wanted).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_compiled_pruning(simulated: Callable[..., None], dtype: torch.dtype) -> None:
    simulated((8, 0))
    weight = torch.randn(35, 132, generator=torch.Generator().manual_seed(1)).to(dtype)
    weight[0, :8] = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.0, 2.0, -2.0, 2.0])
    found, crowded = prune_and_pack(weight)
    wanted = pack(weight.where(nm_mask(weight.abs(), 2, 4), 0))
    assert torch.equal(found.values, wanted.values) and torch.equal(found.meta, wanted.meta)
    assert crowded == int((weight.reshape(35, 33, 4) != 0).sum(-1).gt(2).sum())


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
@pytest.mark.parametrize("configuration", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize(("dtype", "int8"), [(torch.float16, False), (torch.bfloat16, True), (torch.float32, False)])
def test_registers_and_shared_memory_suffice(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    configuration: Configuration,
    dtype: torch.dtype,
    int8: bool,
) -> None:
    from gpuless.compile import compile
    from gpuless.sass import Statistics, statistics

    found: list[Statistics] = []

    def look(kernel: Any, grid: Any, arguments: Any, constants: Mapping[str, Any], warps: int) -> None:
        found.append(statistics(compile(kernel, arguments, constants, warps, capability)))

    monkeypatch.setattr(launch, "launch", look)
    multiply(32, packed_weight(64, 256, dtype, int8), dtype, configuration, activation="gelu")
    prune_and_pack(torch.zeros(64, 256, dtype=dtype))
    cost, pruning = found
    assert (cost.spills, pruning.spills) == (0, 0)
    assert max(cost.shared_bytes, pruning.shared_bytes) <= LEAST_SHARED
    tensor_cores = cost.count("HGMMA" if capability == (9, 0) else "HMMA", loop=True)
    assert (tensor_cores > 0) == (dtype is not torch.float32)

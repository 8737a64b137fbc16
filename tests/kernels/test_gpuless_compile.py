"""Ahead-of-time compilation follows the arguments as a launch would, and machine code is counted right."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl
from gpuless.compile import Compiled, compile
from gpuless.launch import launcher
from gpuless.sass import statistics, weight_bytes_per_instruction


@triton.jit
def add(x, y, out, n, stride, SIZE: tl.constexpr):
    place = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    mask = place < n
    total = tl.load(x + place * stride, mask=mask) + tl.load(y + place * stride, mask=mask)
    tl.store(out + place, total, mask=mask)


@triton.jit
def harmonic(out, n):
    total = 0.0
    for i in range(n):
        total += 1.0 / (tl.load(out + i) + i)
    tl.store(out, total)


def compiled(x: torch.Tensor, stride: int = 1, n: int = 1024, capability: tuple[int, int] = (8, 0)) -> Compiled:
    return compile(add, (x, x, x, n, stride), {"SIZE": 512}, 4, capability)


def test_what_the_arguments_tell_is_used() -> None:
    whole = torch.zeros(2048, dtype=torch.float16)
    wide = compiled(whole)
    assert wide.threads == 128 and wide.name == "add"
    assert wide.parameters == (0, 1, 2, 3)  # a stride of 1 is compiled in
    assert statistics(wide).count("LDG.E.64") == 2
    assert compiled(whole, stride=3).parameters == (0, 1, 2, 3, 4)
    assert statistics(compiled(whole[1:])).count("LDG.E.64") == 0  # the address is not a multiple of 16
    assert statistics(compiled(whole, n=1023)).count("LDG.E.64") == 0  # nor is the end
    assert ".param .u64 add_param_3" in compiled(whole, n=2**40).ptx
    assert "bf16" in compiled(whole.bfloat16()).ptx


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_every_capability_compiles(capability: tuple[int, int]) -> None:
    found = compiled(torch.zeros(2048), capability=capability)
    assert f".target sm_{capability[0]}{capability[1]}" in found.ptx
    assert found.cubin[:4] == b"\x7fELF" and found.capability == capability


def test_a_launch_fills_the_tensors() -> None:
    x, y, out = torch.randn(1000), torch.randn(1000), torch.full((1000,), torch.nan)
    seen: list[Compiled] = []
    launcher((9, 0), seen=seen.append)(add, (2,), (x, y, out, 1000, 1), {"SIZE": 512}, 4)
    assert torch.equal(out, x + y) and len(seen) == 1


def test_an_edit_is_executed() -> None:
    x, out = torch.ones(64), torch.zeros(64)
    launcher(edit=lambda ptx: ptx.replace("add.f32", "sub.f32"))(add, (1,), (x, x, out, 64, 1), {"SIZE": 64}, 4)
    assert out.tolist() == [0.0] * 64


def test_the_loop_is_found() -> None:
    found = statistics(compile(harmonic, (torch.zeros(64), 64), {}, 1))
    assert 1 <= found.count("LDG", loop=True) < found.count("LDG")  # what unrolling left over has a loop of its own
    assert found.count("STG", loop=True) == 0 and found.count("STG") == 1
    assert found.count("BRA", loop=True) >= 1 and 0 < sum(found.loop.values()) < sum(found.whole.values())
    assert (found.spills, found.shared_bytes) == (0, 0) and found.registers >= 8


def test_without_a_loop_there_is_no_budget() -> None:
    found = compiled(torch.zeros(2048))
    assert not statistics(found).loop
    with pytest.raises(ValueError, match="no loop"):
        weight_bytes_per_instruction(found)


def test_spills_are_counted() -> None:
    x = torch.zeros(2**14)
    roomy = compile(add, (x, x, x, 2**14, 3), {"SIZE": 2**13, "maxnreg": 255}, 1)
    cramped = compile(add, (x, x, x, 2**14, 3), {"SIZE": 2**13, "maxnreg": 32}, 1)
    assert statistics(cramped).registers <= 32 < statistics(roomy).registers
    assert statistics(cramped).spills > 0 and statistics(cramped).stack_bytes > 0


def test_what_is_interpreted_is_not_compiled() -> None:
    with pytest.raises(TypeError, match="interprets"):
        compile(add.fn, (torch.zeros(4),), {}, 1)

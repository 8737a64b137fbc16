"""The simulator's global memory: what arrives where, and that addresses outside every tensor are refused."""

from __future__ import annotations

import math

import pytest
import torch
from gpuless.ptx.faults import BadAccess, Fault, Race, UnknownInstruction
from gpuless.ptx.global_memory import Distant
from gpuless.snippet import execute

MINE = "mad.wide.u32 %rd1, %r0, 4, %rd50;"  # the address of this thread's word of the first tensor


def numbers(n: int = 32) -> torch.Tensor:
    return torch.arange(1, n + 1, dtype=torch.int32)


def test_vectors_and_parts_of_words() -> None:
    x, y = numbers(128), torch.zeros(128, dtype=torch.int32)
    execute(
        "mad.wide.u32 %rd1, %r0, 16, %rd50; mad.wide.u32 %rd2, %r0, 16, %rd51;"
        "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1]; st.global.v2.b32 [%rd2 + 8], {%r1, %r2};"
        "ld.global.b8 %rs1, [%rd1 + 12]; cvt.u32.u16 %r5, %rs1; st.global.b32 [%rd2], %r5;",
        x,
        y,
    )
    wanted = torch.stack([x[3::4], torch.zeros(32, dtype=torch.int32), x[0::4], x[1::4]], 1).reshape(-1)
    assert torch.equal(y, wanted)


def test_signs_are_extended_to_the_register() -> None:
    x, y = torch.full((32,), -5, dtype=torch.int8), torch.zeros(64, dtype=torch.int32)
    execute(
        "cvt.u64.u32 %rd1, %r0; add.s64 %rd1, %rd50, %rd1; ld.global.s8 %r1, [%rd1]; ld.global.u8 %r2, [%rd1];"
        "mad.wide.u32 %rd2, %r0, 8, %rd51; st.global.v2.b32 [%rd2], {%r1, %r2};",
        x,
        y,
    )
    assert y.tolist() == [-5, 251] * 32


def test_the_guard_keeps_what_was_there() -> None:
    x, y = numbers(), torch.zeros(32, dtype=torch.int32)
    execute(
        f"{MINE} setp.lt.u32 %p1, %r0, 5; mov.b32 %r1, 77; @%p1 ld.global.b32 %r1, [%rd1];"
        "mad.wide.u32 %rd2, %r0, 4, %rd51; @!%p1 add.s32 %r1, %r1, 1; st.global.b32 [%rd2], %r1;",
        x,
        y,
    )
    assert y.tolist() == [1, 2, 3, 4, 5] + [78] * 27


def test_guarded_threads_may_point_anywhere() -> None:
    x = numbers(5)
    execute(f"{MINE} setp.lt.u32 %p1, %r0, 5; @%p1 st.global.b32 [%rd1], 9;", x)
    assert x.tolist() == [9] * 5


@pytest.mark.parametrize(
    "where, reason",
    [
        ("[%rd1 + 4]", "out of bounds"),
        ("[%rd1 + -4]", "out of bounds"),
        ("[%rd1 + 2]", "misaligned"),
        ("[%rd1 + 549755813888]", "out of bounds"),
        ("[0]", "out of bounds"),
    ],
)
@pytest.mark.parametrize("code", ["ld.global.b32 %r1, {};", "st.global.b32 {}, 5;"])
def test_addresses_outside_every_tensor(where: str, reason: str, code: str) -> None:
    x = numbers()
    with pytest.raises(BadAccess, match=reason):
        execute(f"{MINE} {code.format(where)}", x, numbers())
    assert torch.equal(x, numbers())


def test_an_address_cut_to_32_bits_is_outside_every_tensor() -> None:
    with pytest.raises(BadAccess):
        execute(f"{MINE} cvt.u32.u64 %r1, %rd1; cvt.u64.u32 %rd1, %r1; ld.global.b32 %r1, [%rd1];", numbers())


def test_only_the_view_is_in_bounds() -> None:
    whole = numbers(64)
    with pytest.raises(BadAccess):
        execute(f"{MINE} ld.global.b32 %r1, [%rd1 + 4];", whole[:32])
    with pytest.raises(BadAccess, match="misaligned"):
        execute(
            "mad.wide.u32 %rd1, %r0, 16, %rd50; setp.lt.u32 %p1, %r0, 4;"
            "@%p1 ld.global.v4.b32 {%r1,%r2,%r3,%r4}, [%rd1];",
            whole[1:33],
        )


def test_views_of_one_tensor_share_their_bytes() -> None:
    whole = numbers(64)
    execute(f"{MINE} ld.global.b32 %r1, [%rd51]; st.global.b32 [%rd1], %r1;", whole[:40], whole[36:])
    assert whole[:33].tolist() == [37] * 32 + [33]


def test_what_was_never_written_is_not_a_number() -> None:
    y = torch.zeros(32)
    execute(f"{MINE} add.f32 %r9, %r8, 0f3F800000; st.global.b32 [%rd1], %r9;", y)
    assert y.isnan().all()
    half = torch.zeros(32, dtype=torch.float16)
    execute("mad.wide.u32 %rd1, %r0, 2, %rd50; add.f16 %rs9, %rs8, %rs7; st.global.b16 [%rd1], %rs9;", half)
    assert half.isnan().all()
    with pytest.raises(BadAccess):
        execute("ld.global.b32 %r1, [%rd3];", y)


def test_two_threads_may_not_disagree_about_a_result() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    execute("st.global.b32 [%rd50], 3;", y)
    assert y.item() == 3
    with pytest.raises(Race):
        execute("st.global.b32 [%rd50], %r0;", y)
    with pytest.raises(Race):
        execute("mov.u32 %r1, %ctaid.x; st.global.b32 [%rd50], %r1;", y, grid=(2,))


def test_one_launch_does_not_read_what_it_writes() -> None:
    y = numbers()
    execute(f"{MINE} st.global.b32 [%rd1], 3; ld.global.b32 %r1, [%rd1];", y)
    with pytest.raises(Race):
        execute(f"{MINE} st.global.b32 [%rd1], 5; bar.sync 0; ld.global.b32 %r1, [%rd50];", y)


def test_the_end_of_a_tensor_too_large_to_exist() -> None:
    x, y = numbers(), torch.zeros(32, dtype=torch.int32)
    code = f"{MINE} add.s64 %rd1, %rd1, {{}}; ld.global.b32 %r1, [%rd1];"
    code += "mad.wide.u32 %rd2, %r0, 4, %rd51; st.global.b32 [%rd2], %r1;"
    execute(code.format(2**34), Distant(x, 2**34), y)
    assert torch.equal(x, y)
    with pytest.raises(BadAccess):
        execute(code.format(2**34 % 2**32), Distant(x, 2**34), y)


@pytest.mark.parametrize("space", ["ld.b32", "ld.local.b32", "ld.shared::cluster.b32", "ld.const.b32"])
def test_an_address_space_is_never_guessed(space: str) -> None:
    with pytest.raises(UnknownInstruction):
        execute(f"{space} %r1, [%rd50];", numbers())


def test_atomics() -> None:
    y, old = torch.zeros(2), torch.full((64,), math.nan)
    execute(
        "mad.wide.u32 %rd1, %r0, 4, %rd51; atom.global.gpu.acq_rel.add.f32 %r1, [%rd50], 0f3F800000;"
        "st.global.b32 [%rd1], %r1;"
        "red.global.add.f32 [%rd50 + 4], 0f40000000;",
        y,
        old,
        threads=64,
    )
    assert y.tolist() == [64.0, 128.0]
    assert sorted(old.tolist()) == list(range(64))
    largest = torch.zeros(1, dtype=torch.int32)
    execute("atom.global.max.s32 %r1, [%rd50], %r0; atom.shared.add.u32 %r1, [memory], 1;", largest, shared=16)
    assert largest.item() == 31


def test_a_fault_leaves_the_tensors_alone_and_names_the_instruction() -> None:
    x = numbers()
    with pytest.raises(Fault, match=r"ld\.global\.b32 %r9"):
        execute(f"{MINE} st.global.b32 [%rd1], 5; ld.global.b32 %r9, [%rd1 + 400];", x)
    assert torch.equal(x, numbers())

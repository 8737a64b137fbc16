"""The simulator's shared memory: what no barrier orders is refused, and a copy is there once it was waited for."""

from __future__ import annotations

import pytest
import torch
from gpuless.ptx.faults import BadAccess, Race, TooEarly
from gpuless.snippet import execute

MINE = "mad.wide.u32 %rd1, %r0, 4, %rd50;"  # the address of this thread's word of the first tensor
SLOT = "mov.b32 %r1, memory; shl.b32 %r2, %r0, 2; add.s32 %r1, %r1, %r2;"  # and of its word in shared memory
NEIGHBOUR = "xor.b32 %r3, %r2, {bytes}; add.s32 %r3, %r3, memory;"  # another thread's


def numbers(n: int = 32) -> torch.Tensor:
    return torch.arange(1, n + 1, dtype=torch.int32)


def exchange(between: str, xor: int = 4, threads: int = 64, shared: int = 256) -> torch.Tensor:
    """Every thread puts its index into shared memory and takes that of another."""
    y = torch.zeros(threads, dtype=torch.int32)
    take = NEIGHBOUR.format(bytes=xor)
    execute(
        f"{SLOT} {take} st.shared.b32 [%r1], %r0; {between} ld.shared.b32 %r4, [%r3];{MINE} st.global.b32 [%rd1], %r4;",
        y,
        threads=threads,
        shared=shared,
    )
    return y


def test_a_barrier_orders_threads() -> None:
    assert exchange("bar.sync 0;").tolist() == [i ^ 1 for i in range(64)]
    assert exchange("barrier.sync.aligned 0;", 128).tolist() == [i ^ 32 for i in range(64)]
    assert exchange("bar.warp.sync -1;").tolist() == [i ^ 1 for i in range(64)]


@pytest.mark.parametrize("between, xor", [("", 4), ("", 128), ("bar.warp.sync -1;", 128), ("membar.cta;", 4)])
def test_reading_without_a_barrier_is_a_race(between: str, xor: int) -> None:
    with pytest.raises(Race):
        exchange(between, xor)


def test_a_thread_needs_no_barrier_for_itself() -> None:
    assert exchange("", 0).tolist() == list(range(64))


@pytest.mark.parametrize("between, fine", [("bar.sync 0;", True), ("", False), ("bar.warp.sync -1;", False)])
def test_overwriting_what_others_read(between: str, fine: bool) -> None:
    """Thread i reads the word of thread i ^ 32, which then overwrites it."""
    code = f"{SLOT} {NEIGHBOUR.format(bytes=128)} st.shared.b32 [%r1], %r0; bar.sync 0; ld.shared.b32 %r4, [%r3];"
    code += f"{between} st.shared.b32 [%r1], 99;"
    if fine:
        execute(code, threads=64, shared=256)
    else:
        with pytest.raises(Race, match="reads"):
            execute(code, threads=64, shared=256)


def test_many_readers_and_one_writer() -> None:
    read_by_all = (
        "mov.b32 %r1, memory; ld.shared.b32 %r4, [%r1]; setp.eq.u32 %p1, %r0, 3; {} @%p1 st.shared.b32 [%r1], 7;"
    )
    execute(read_by_all.format("bar.sync 0;"), threads=64, shared=16)
    with pytest.raises(Race):
        execute(read_by_all.format(""), threads=64, shared=16)


def test_two_writers() -> None:
    same = "mov.b32 %r1, memory; st.shared.b32 [%r1], {};"
    execute(same.format("5"), threads=64, shared=16)
    with pytest.raises(Race):
        execute(same.format("%r0"), threads=64, shared=16)
    half = "mov.b32 %r1, memory; setp.lt.u32 %p1, %r0, 1; @%p1 st.shared.b32 [%r1], 1; @!%p1 st.shared.b32 [%r1], 2;"
    with pytest.raises(Race):
        execute(half, threads=64, shared=16)


@pytest.mark.parametrize("offset", [-4, 252, 2])
def test_shared_memory_has_bounds(offset: int) -> None:
    with pytest.raises(BadAccess):
        execute(f"{SLOT} ld.shared.b32 %r4, [%r1 + {offset}];", threads=64, shared=256)


def copies(between: str, size: str = "", xor: int = 0) -> torch.Tensor:
    """Each thread copies a word to shared memory and stores a word from there."""
    x, y = numbers(64), torch.zeros(64, dtype=torch.int32)
    execute(
        f"{SLOT} {NEIGHBOUR.format(bytes=xor)} {MINE} mad.wide.u32 %rd2, %r0, 4, %rd51;"
        f"cp.async.ca.shared.global [%r1], [%rd1], 4{size}; {between}"
        "ld.shared.b32 %r4, [%r3]; st.global.b32 [%rd2], %r4;",
        x,
        y,
        threads=64,
        shared=256,
    )
    return y


DONE = "cp.async.commit_group; cp.async.wait_group 0;"


def test_copies_arrive() -> None:
    assert torch.equal(copies(DONE), numbers(64))
    assert torch.equal(copies("cp.async.wait_all;"), numbers(64))
    assert torch.equal(copies(f"{DONE} bar.sync 0;", xor=128), torch.cat([numbers(64)[32:], numbers(64)[:32]]))
    assert copies(f"setp.lt.u32 %p1, %r0, 2; {DONE}", size=", 0").tolist() == [0] * 64


@pytest.mark.parametrize(
    "between",
    [
        "",
        "bar.sync 0;",
        "cp.async.commit_group; bar.sync 0;",
        "cp.async.wait_group 0;",
        "cp.async.commit_group; cp.async.wait_group 1;",
    ],
)
def test_a_copy_is_not_there_before_it_was_waited_for(between: str) -> None:
    with pytest.raises(TooEarly):
        copies(between)


def test_another_threads_copy_needs_a_barrier_too() -> None:
    with pytest.raises(Race):
        copies(DONE, xor=4)
    with pytest.raises(TooEarly):  # the barrier comes first: the copy may still be under way in the other thread
        copies("cp.async.commit_group; bar.sync 0; setp.lt.u32 %p1, %r0, 32; @%p1 cp.async.wait_group 0;", xor=128)


def test_groups_land_in_order() -> None:
    def two(wait: int, read: str) -> torch.Tensor:
        y = torch.zeros(32, dtype=torch.int32)
        execute(
            f"{SLOT} {MINE} mad.wide.u32 %rd2, %r0, 4, %rd51;"
            "cp.async.ca.shared.global [%r1], [%rd1], 4; cp.async.commit_group;"
            "cp.async.ca.shared.global [%r1 + 128], [%rd1 + 128], 4; cp.async.commit_group;"
            f"cp.async.wait_group {wait}; ld.shared.b32 %r4, [%r1{read}]; st.global.b32 [%rd2], %r4;",
            numbers(64),
            y,
            shared=256,
        )
        return y

    assert torch.equal(two(1, ""), numbers(64)[:32])
    assert torch.equal(two(0, " + 128"), numbers(64)[32:])
    with pytest.raises(TooEarly):
        two(1, " + 128")


def test_a_copy_over_what_others_still_read_is_a_race() -> None:
    code = (
        f"{SLOT} {NEIGHBOUR.format(bytes=4)} {MINE} st.shared.b32 [%r1], 5; bar.sync 0; ld.shared.b32 %r4, [%r3]; {{}}"
    )
    code += "cp.async.ca.shared.global [%r1], [%rd1], 4;"
    execute(code.format("bar.sync 0;"), numbers(), shared=128)
    with pytest.raises(Race):
        execute(code.format(""), numbers(), shared=128)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices(count: int, transposed: bool) -> None:
    """ldmatrix hands each lane two neighbours of a row (transposed: of a column), stmatrix puts them back."""
    tiles = torch.arange(count * 64, dtype=torch.int16).reshape(count, 8, 8)
    given = tiles.reshape(-1).clone()
    fragments, back = torch.zeros(count, 32, 2, dtype=torch.int16), torch.zeros_like(given)
    registers = "{" + ", ".join(f"%r{10 + i}" for i in range(count)) + "}"
    trans = ".trans" if transposed else ""
    execute(
        SLOT
        + "".join(
            f"{MINE} ld.global.b32 %r4, [%rd1 + {128 * i}]; st.shared.b32 [%r1 + {128 * i}], %r4;" for i in range(count)
        )
        + "bar.sync 0; shl.b32 %r5, %r0, 4; add.s32 %r5, %r5, memory;"
        + f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {registers}, [%r5];"
        + "".join(
            f"mad.wide.u32 %rd1, %r0, 4, %rd51; st.global.b32 [%rd1 + {128 * i}], %r{10 + i};" for i in range(count)
        )
        + f"stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 [%r5 + 512], {registers}; bar.sync 0;"
        + "".join(
            f"mad.wide.u32 %rd1, %r0, 4, %rd52; ld.shared.b32 %r4, [%r1 + {512 + 128 * i}];"
            f"st.global.b32 [%rd1 + {128 * i}], %r4;"
            for i in range(count)
        ),
        given,
        fragments,
        back,
        shared=1024,
    )
    for i in range(count):
        tile = tiles[i].t() if transposed else tiles[i]
        for lane in range(32):
            row, column = lane // 4, 2 * (lane % 4)
            assert fragments[i, lane].tolist() == tile[row, column : column + 2].tolist()
    assert torch.equal(back, given)


def test_rows_of_matrices_are_aligned() -> None:
    with pytest.raises(BadAccess, match="misaligned"):
        execute(f"{SLOT} ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r10, %r11, %r12, %r13}}, [%r1];", shared=1024)

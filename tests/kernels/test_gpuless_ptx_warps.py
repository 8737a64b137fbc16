"""The simulator's control flow, warp instructions and tensor cores, the last against the text of the PTX ISA."""

from __future__ import annotations

import pytest
import torch
from gpuless.ptx.faults import Divergence, Undefined, UnknownInstruction
from gpuless.snippet import each, execute

MINE = "mad.wide.u32 %rd1, %r0, 4, %rd50;"
LANES = list(range(32))


def test_threads_that_part_meet_again() -> None:
    code = (
        "setp.lt.u32 %p1, {0}, 7; @%p1 bra $less; mov.b32 %r20, 100; bra.uni $end; $less: mov.b32 %r20, 200; "
        "$end: shfl.sync.bfly.b32 %r21, %r20, 1, 31, -1; add.s32 {d}, %r20, %r21;"
    )
    value = [200 if i < 7 else 100 for i in LANES]
    assert each(code, LANES) == [value[i] + value[i ^ 1] for i in LANES]


def test_each_thread_loops_as_often_as_it_likes() -> None:
    code = (
        "mov.b32 {d}, 0; mov.b32 %r20, 0; $again: setp.ge.u32 %p1, %r20, {0}; @%p1 bra $done; "
        "add.s32 {d}, {d}, %r20; add.s32 %r20, %r20, 1; bra $again; $done:"
    )
    assert each(code, LANES) == [i * (i - 1) // 2 for i in LANES]


def test_ctas_part_without_a_word() -> None:
    """Half of the CTAs return early; the others meet at a barrier."""
    y = torch.zeros(6, dtype=torch.int32)
    execute(
        "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x; mov.u32 %r3, %ctaid.y; mad.lo.s32 %r4, %r3, %r2, %r1;"
        "setp.lt.u32 %p1, %r4, 3; @%p1 ret; bar.sync 0; mad.wide.u32 %rd1, %r4, 4, %rd50; add.s32 %r4, %r4, 10;"
        "st.global.b32 [%rd1], %r4;",
        y,
        threads=64,
        grid=(2, 3),
    )
    assert y.tolist() == [0, 0, 0, 13, 14, 15]


def test_a_large_grid_runs_in_batches() -> None:
    y = torch.zeros(300, dtype=torch.int32)
    execute("mov.u32 %r1, %ctaid.x; mad.wide.u32 %rd1, %r1, 4, %rd50; st.global.b32 [%rd1], %r1;", y, grid=(300,))
    assert torch.equal(y, torch.arange(300, dtype=torch.int32))


@pytest.mark.parametrize(
    "together",
    [
        "bar.sync 0;",
        "shfl.sync.idx.b32 %r2, %r1, 0, 31, -1;",
        "redux.sync.add.s32 %r2, %r1, -1;",
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [memory];",
    ],
)
def test_what_threads_do_together_must_not_be_done_by_some(together: str) -> None:
    with pytest.raises(Divergence):
        execute(f"setp.lt.u32 %p1, %r0, 9; @%p1 bra $skip; {together} $skip: mov.b32 %r3, 0;", shared=64)


def test_a_loop_without_an_end_is_noticed() -> None:
    from gpuless.ptx.executor import run

    with pytest.raises(Undefined, match="no end"):
        run(".visible .entry f() .reqntid 32 { .reg .b32 %r<2>; $top: mov.b32 %r1, 0; bra $top; }", (1,), (), limit=99)


def test_a_predicate_that_was_never_set_decides_nothing() -> None:
    with pytest.raises(Undefined):
        execute("@%p1 bra $end; mov.b32 %r1, 0; $end:")


def test_names_belong_to_their_scope() -> None:
    code = "{{ .reg .b32 t; add.s32 t, {0}, 1; mov.b32 {d}, t; }}"
    code += "{{ .reg .b64 t; cvt.u64.u32 t, {d}; cvt.u32.u64 {d}, t; }}"
    assert each(code, LANES) == [i + 1 for i in LANES]


def test_parameters_of_every_kind() -> None:
    from gpuless.ptx.executor import run

    y = torch.zeros(4, dtype=torch.int64)
    run(
        """.visible .entry f(.param .u64 .ptr .global .align 1 a, .param .u32 b, .param .f32 c, .param .u64 d)
        .reqntid 32 { .reg .b64 %rd<9>; .reg .b32 %r<9>; ld.param.b64 %rd1, [a]; ld.param.s32 %rd2, [b];
        ld.param.b32 %r1, [c]; ld.param.b64 %rd3, [d]; cvt.u64.u32 %rd4, %r1;
        st.global.v2.b64 [%rd1], {%rd2, %rd4}; st.global.b64 [%rd1+16], %rd3; }""",
        (1,),
        (y, -7, 1.5),
    )
    assert y.tolist() == [-7, 0x3FC00000, 0, 0]


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("by", [0, 1, 5, 16, 31])
@pytest.mark.parametrize("width", [8, 32])
def test_shuffles(mode: str, by: int, width: int) -> None:
    clamp = (32 - width) << 8 | (0 if mode == "up" else 31)
    got = each(f"shfl.sync.{mode}.b32 {{d}}|%p1, {{0}}, {by}, {clamp}, 0xffffffff;", [100 + i for i in LANES])
    inside = each(f"shfl.sync.{mode}.b32 %r9|%p1, {{0}}, {by}, {clamp}, -1; selp.b32 {{d}}, 1, 0, %p1;", LANES)
    for lane in LANES:
        first = lane // width * width
        origin = {"up": lane - by, "down": lane + by, "bfly": lane ^ by, "idx": first + by % width}[mode]
        valid = origin >= first if mode == "up" else origin < first + width
        assert (got[lane], inside[lane]) == ((100 + origin, 1) if valid else (100 + lane, 0))


def test_reductions_and_votes() -> None:
    values = [(i * 7919) % 101 - 50 for i in LANES]
    bits = [v % 2**32 for v in values]
    for name, wanted in (("add", sum(values)), ("min", min(values)), ("max", max(values))):
        assert each(f"redux.sync.{name}.s32 {{d}}, {{0}}, -1;", bits) == [wanted % 2**32] * 32
    ballot = each("setp.gt.s32 %p1, {0}, 0; vote.sync.ballot.b32 {d}, %p1, -1;", bits)
    assert ballot == [sum(1 << i for i, v in enumerate(values) if v > 0)] * 32
    with pytest.raises((Divergence, UnknownInstruction)):
        each("shfl.sync.idx.b32 {d}, {0}, 0, 31, 3;", bits)


# --- Tensor cores. Everything below is written lane by lane and element by element from the PTX ISA. ---


def words(halves: torch.Tensor) -> torch.Tensor:
    """…×2n halves → …×n registers."""
    return halves.contiguous().view(torch.int32)


def multiply(code: str, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
    """32×4 registers a, b (32×2 or 32×4), c float32 and metadata e → 32×4."""
    d = torch.zeros(32, 4)
    load = "mad.wide.u32 %rd1, %r0, {}, {}; ld.global.v{}.b32 {{{}}}, [%rd1];"
    names = {
        n: [f"%r{at + i}" for i in range(size)] for n, at, size in (("a", 10, 4), ("b", 20, b.shape[1]), ("c", 30, 4))
    }
    body = "".join(
        load.format(4 * tensor.shape[1], f"%rd{50 + i}", tensor.shape[1], ", ".join(names[n]))
        for i, (n, tensor) in enumerate((("a", a), ("b", b), ("c", c)))
    )
    body += "mad.wide.u32 %rd1, %r0, 4, %rd53; ld.global.b32 %r40, [%rd1];"
    vectors = {n: "{" + ", ".join(registers) + "}" for n, registers in names.items()}
    body += code.format(d="{%r41, %r42, %r43, %r44}", e="%r40", **vectors)
    body += "mad.wide.u32 %rd1, %r0, 16, %rd54; st.global.v4.b32 [%rd1], {%r41, %r42, %r43, %r44};"
    execute(body, a, b, c, e, d)
    return d


def assemble(c: torch.Tensor) -> torch.Tensor:
    """Accumulators 32×4 → 16×8: "row = groupID for ci where i < 2, groupID + 8 for i >= 2; col = threadID_in_group * 2
    + (i & 0x1)"."""
    full = torch.zeros(16, 8, dtype=torch.float64)
    for lane in range(32):
        for i in range(4):
            full[lane // 4 + (0 if i < 2 else 8), lane % 4 * 2 + (i & 1)] = c[lane, i]
    return full


def assemble_b(b: torch.Tensor, depth: int) -> torch.Tensor:
    """ "row = (threadID_in_group * 2) + (i & 0x1) + 8 for every two of bi; col = groupID"."""
    full = torch.zeros(depth, 8, dtype=torch.float64)
    for lane in range(32):
        for i in range(b.shape[1]):
            full[lane % 4 * 2 + (i & 1) + 8 * (i // 2), lane // 4] = b[lane, i]
    return full


def dense_a(a: torch.Tensor) -> torch.Tensor:
    """m16n8k16: "row = groupID for ai where 0 <= i < 2 || 4 <= i < 6, else groupID + 8; col = threadID_in_group * 2 +
    (i & 0x1), + 8 for i >= 4"."""
    full = torch.zeros(16, 16, dtype=torch.float64)
    for lane in range(32):
        for i in range(8):
            row = lane // 4 + (0 if i in (0, 1, 4, 5) else 8)
            full[row, lane % 4 * 2 + (i & 1) + (8 if i >= 4 else 0)] = a[lane, i]
    return full


def sparse_a(a: torch.Tensor, e: torch.Tensor, selector: int) -> torch.Tensor:
    """m16n8k32: the pair ai, ai+1 stands for a group of four columns that begins at threadID_in_group * 4, + 16 for
    i >= 4; rows as for m16n8k16. Its two places stand in four bits of the metadata: lanes 2·selector of a quad hold
    those of columns 0 to 15, of row groupID in the low 16 bits, of groupID + 8 in the high ones; lanes 2·selector + 1
    those of columns 16 to 31."""
    full = torch.zeros(16, 32, dtype=torch.float64)
    for lane in range(32):
        for i in range(0, 8, 2):
            lower = i in (2, 6)
            row, group = lane // 4 + 8 * lower, lane % 4 + (4 if i >= 4 else 0)
            word = int(e[lane // 4 * 4 + 2 * selector + group // 4]) & 0xFFFFFFFF
            nibble = word >> (16 * lower + 4 * (group % 4)) & 15
            full[row, 4 * group + (nibble & 3)] = a[lane, i]
            full[row, 4 * group + (nibble >> 2)] = a[lane, i + 1]
    return full


ORDERED = (0x4, 0x8, 0xC, 0x9, 0xD, 0xE)
NAMES = {torch.float16: "f16", torch.bfloat16: "bf16"}


def random(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def metadata() -> torch.Tensor:
    chosen = torch.randint(0, 6, (32, 8), generator=torch.Generator().manual_seed(3))
    words = (torch.tensor(ORDERED)[chosen] << (4 * torch.arange(8))).sum(1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


@pytest.mark.parametrize("dtype", NAMES)
def test_mma(dtype: torch.dtype) -> None:
    a, b, c = random(dtype, 32, 8), random(dtype, 32, 4), random(torch.float32, 32, 4)
    t = NAMES[dtype]
    code = f"mma.sync.aligned.m16n8k16.row.col.f32.{t}.{t}.f32 {{d}}, {{a}}, {{b}}, {{c}};"
    got = multiply(code, words(a), words(b), c, metadata())
    wanted = dense_a(a) @ assemble_b(b, 16) + assemble(c)
    assert torch.equal(assemble(got), wanted.float().double())


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("dtype", NAMES)
def test_sparse_mma(dtype: torch.dtype, selector: int) -> None:
    a, b, c, e = random(dtype, 32, 8), random(dtype, 32, 8), random(torch.float32, 32, 4), metadata()
    got = multiply(sparse(dtype, selector), words(a), words(b), c, e)
    wanted = sparse_a(a, e, selector) @ assemble_b(b, 32) + assemble(c)
    assert torch.equal(assemble(got), wanted.float().double())


def sparse(dtype: torch.dtype, selector: int) -> str:
    t = NAMES[dtype]
    head = f"mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.{t}.{t}.f32"
    return f"{head} {{d}}, {{a}}, {{b}}, {{c}}, {{e}}, {hex(selector)};"


@pytest.mark.parametrize("nibble", [0x0, 0x5, 0x1, 0xB])
def test_metadata_out_of_order_is_undefined(nibble: int) -> None:
    a, b, c = random(torch.float16, 32, 8), random(torch.float16, 32, 8), random(torch.float32, 32, 4)
    e = torch.full((32,), 0x44444440 | nibble, dtype=torch.int32)
    e[torch.arange(32) % 4 != 2] = 0x44444444
    assert multiply(sparse(torch.float16, 0), words(a), words(b), c, e).isfinite().all()  # lane 2 is not asked
    with pytest.raises(Undefined, match="not in order"):
        multiply(sparse(torch.float16, 1), words(a), words(b), c, e)


@pytest.mark.parametrize(
    "code",
    [
        sparse(torch.float16, 2),
        sparse(torch.float16, 0).replace("::ordered_metadata", ""),
        sparse(torch.float16, 0).replace("m16n8k32", "m16n8k16"),
        sparse(torch.float16, 0).replace("f32.f16", "f16.f16"),
        sparse(torch.float16, 0).replace("col", "row"),
        "wgmma.fence.sync.aligned;",
    ],
)
def test_other_products_are_refused(code: str) -> None:
    a, c = random(torch.float16, 32, 8), random(torch.float32, 32, 4)
    with pytest.raises(UnknownInstruction):
        multiply(code, words(a), words(a), c, metadata())


def test_a_value_that_is_not_a_number_reaches_its_row_only() -> None:
    a, b, c = random(torch.float16, 32, 8), random(torch.float16, 32, 8), random(torch.float32, 32, 4)
    a[0, 0] = torch.nan
    got = assemble(multiply(sparse(torch.float16, 0), words(a), words(b), c, metadata()))
    assert got[0].isnan().all() and got[1:].isfinite().all()

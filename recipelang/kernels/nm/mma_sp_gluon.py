"""Device code of the sparse-tensor-core kernel: `mma.sp` of the PTX ISA, issued from Gluon as inline assembly.

Tensors here are register files with explicit axes: warps along the inputs, tiles of 16 outputs, tiles of 8 rows, lanes,
registers. A blocked layout pins lanes and registers, so that one inline instruction for four registers is one warp-wide
`mma.sp` for a tile of the weight and a tile of rows. The weight is in fragment order (fragments.py) and goes from
memory to the instruction unchanged; the loads of later pairs are in flight while one is multiplied.

Works with Triton 3.6 to 3.9.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import async_copy

from recipelang.kernels.nm.instructions_gluon import finish, index, multiply, widen

# Triton 3.9 renamed it.
_copy = getattr(async_copy, "async_load", None) or async_copy.async_copy_global_to_shared


@gluon.constexpr_function
def copy_layout(step, vec, warps):
    """Threads along the columns first, so that each warp copies whole lines of 16 bytes and more."""
    lanes = min(32, step // vec)
    across = min(warps, max(1, step // (vec * lanes)))
    return gl.BlockedLayout([1, vec], [32 // lanes, lanes], [warps // across, across], [1, 0])


@gluon.constexpr_function
def ldmatrix_layout(tb, w, wn):
    """Registers: 4 of a tile, its pair, tiles of rows; lanes 4g + t: row g, column t; warps along the columns."""
    rows = [[8 << i, 0] for i in range(tb.bit_length() - 1)]
    warps = [[0, 0]] * (wn.bit_length() - 1) + [[0, 32 << i] for i in range(w.bit_length() - 1)]
    lanes = [[0, 1], [0, 2], [1, 0], [2, 0], [4, 0]]
    return gl.DistributedLinearLayout([[0, 4], [0, 8], [0, 16], *rows], lanes, warps, [], [8 * tb, 32 * w])


@gluon.constexpr_function
def result_layout(w, rows, outputs, warps):
    """The sums of all warps in one thread; threads along the outputs first."""
    vec = max(1, min(8, rows * outputs // (32 * warps)))
    lanes = min(32, outputs // vec)
    return gl.BlockedLayout([w, 1, vec], [1, 32 // lanes, lanes], [1, warps, 1], [2, 1, 0])


@gluon.jit
def load(pointers, offset, mask, other: gl.constexpr, MASKED: gl.constexpr):
    """Load what is read only once, bypassing the first-level cache."""
    if MASKED:
        return gl.load(pointers + offset, mask=mask, other=other, cache_modifier=".cg")
    else:
        return gl.load(pointers + offset, cache_modifier=".cg")


@gluon.jit
def fetch(values, meta, x, pair, pairs, width, NARROW: gl.constexpr, STAGED: gl.constexpr, MASKED: gl.constexpr,
          L: gl.constexpr):  # fmt: skip
    """Start the loads of one pair for each warp: the values, the metadata and, unless it is staged, x.

    Args:
        values, meta, x: pointers of each lane for pair 0 of its warp, shaped as `multiply` requires their contents.
        pair: of the first warp.
        MASKED: some of it may be beyond the inputs.
    """
    A: gl.constexpr = gl.SliceLayout(2, L)
    B: gl.constexpr = gl.SliceLayout(1, L)
    E: gl.constexpr = gl.SliceLayout(3, A)
    W: gl.constexpr = values.shape[0]
    more = pair + index(W, 0, A) < pairs
    if NARROW:
        loads = (load(values, pair * 128, more, -0x7F7F7F80, MASKED),)
    else:
        loads = (load(values, pair * 256, more, 0, MASKED), load(values, pair * 256 + 128, more, 0, MASKED))
    loads = loads + (load(meta, pair * 32, pair + index(W, 0, E) < pairs, 0x44444444, MASKED),)
    if not STAGED:
        for odd in gl.static_range(2):
            column = (pair + index(W, 0, B)) * 32 + 16 * odd + index(32, 2, B) % 4 + 4 * index(4, 3, B)
            if MASKED:
                loads = loads + (gl.load(x + pair * 32 + 16 * odd, mask=column < width, other=0),)
            else:
                loads = loads + (gl.load(x + pair * 32 + 16 * odd),)
    return loads


@gluon.jit
def stage(buffers, turn, x, row0, rows, first, last, width, L: gl.constexpr):
    """Start copying the columns of the step `first + turn` into its buffer; what is beyond x becomes zero."""
    STEP: gl.constexpr = buffers.shape[2]
    row = row0 + index(buffers.shape[1], 0, L)
    column = (first + turn) * STEP + index(STEP, 1, L)
    row, column = gl.broadcast(row, column)
    inside = (row < rows) & (column < width) & (first + turn < last)
    _copy(buffers.index(turn % buffers.shape[0]), x + row.to(gl.int64) * width + column, mask=inside)
    async_copy.commit_group()


@gluon.jit
def staged(buffers, turn, u: gl.constexpr, W: gl.constexpr, TB: gl.constexpr, S: gl.constexpr, L: gl.constexpr):
    """The rows of x for the even and the odd tile of each warp, by `ldmatrix`."""
    x = buffers.index(turn % buffers.shape[0]).slice(u * W * 32, W * 32, dim=1).load(S)
    x = gl.permute(gl.reshape(x, [TB, 8, W, 2, 4, 4]), [2, 0, 1, 5, 4, 3])
    even, odd = gl.split(gl.reshape(x, [W, TB, 32, 4, 2]))
    B: gl.constexpr = gl.SliceLayout(1, L)
    return gl.convert_layout(even, B, assert_trivial=True), gl.convert_layout(odd, B, assert_trivial=True)


@gluon.jit
def consume(sums, loads, buffers, turn, u: gl.constexpr, S: gl.constexpr, NARROW: gl.constexpr,
            BF16: gl.constexpr, L: gl.constexpr):  # fmt: skip
    """Add the products of the pair that `fetch` has loaded to the sums.

    Where x is staged, it is read as the pair `u` of the step `turn`, counted from the first.
    """
    if NARROW:
        even, odd = widen(loads[0], BF16)
        rest: gl.constexpr = 1
    else:
        even, odd = loads[0], loads[1]
        rest: gl.constexpr = 2
    words = gl.expand_dims(gl.expand_dims(loads[rest], 3), 2)
    if buffers is None:
        x_even, x_odd = loads[rest + 1], loads[rest + 2]
    else:
        x_even, x_odd = staged(buffers, turn, u, sums.shape[0], sums.shape[2], S, L)
    sums = multiply(gl.expand_dims(even, 2), gl.expand_dims(x_even, 1), sums, words, False, BF16)
    return multiply(gl.expand_dims(odd, 2), gl.expand_dims(x_odd, 1), sums, words, True, BF16)


@gluon.jit
def advance(sums, ring, buffers, turn, values, meta, x, step, pairs, width, NARROW: gl.constexpr, BF16: gl.constexpr,
            MASKED: gl.constexpr, S: gl.constexpr, L: gl.constexpr):  # fmt: skip
    """Consume what is loaded, pair by pair, and start the corresponding loads of `step`."""
    U: gl.constexpr = len(ring)
    filled = ()
    for u in gl.static_range(U):
        sums = consume(sums, ring[u], buffers, turn, u, S, NARROW, BF16, L)
        pair = (step * U + u) * sums.shape[0]
        filled = filled + (fetch(values, meta, x, pair, pairs, width, NARROW, buffers is not None, MASKED, L),)
    return sums, filled


@gluon.jit(do_not_specialize=["rows", "tiles", "pairs"])
def product(x, values, meta, bias, scales, y, rows, outputs, width_vecs, tiles, pairs, TN: gl.constexpr,
            TB: gl.constexpr, U: gl.constexpr, W: gl.constexpr, WN: gl.constexpr, STAGES: gl.constexpr,
            SPLITS: gl.constexpr, VEC: gl.constexpr, EVEN: gl.constexpr, BF16: gl.constexpr, NARROW: gl.constexpr,
            BIASED: gl.constexpr, ACTIVATION: gl.constexpr):  # fmt: skip
    """y[rows, outputs] = activation(x · Wᵀ · scales + bias), or the sums of each split, before those steps.

    The program (i, j, k) computes WN·TN tiles of 16 outputs for TB tiles of 8 rows over one of SPLITS parts of the
    inputs. Its W · WN warps: W along the inputs, which take pairs of tiles in turn, and WN along the outputs.

    Args:
        x: rows×inputs, as int32: two values in each.
        values, meta: `Fragments`. scales, bias: outputs, or any tensor where unused.
        y: rows×outputs; SPLITS×rows×outputs float32 where SPLITS > 1.
        width_vecs: inputs / (2 · VEC), where VEC int32 of a row of x are read at once: 4, or 2 if inputs % 8 = 4.
        tiles, pairs: of the weight, along outputs and inputs.
        U: pairs of each warp in one step, whose loads start a step ahead.
        STAGES: 0: lanes gather x from memory; else buffers in shared memory, filled STAGES - 1 steps ahead.
        EVEN: the inputs are a whole number of steps in each split.
    """
    NT: gl.constexpr = WN * TN
    ROWS: gl.constexpr = 8 * TB
    STEP: gl.constexpr = U * W * 32  # columns of x as int32
    L: gl.constexpr = gl.BlockedLayout([1, TN, TB, 1, 4], [1, 1, 1, 32, 1], [W, WN, 1, 1, 1], [4, 3, 2, 1, 0])
    A: gl.constexpr = gl.SliceLayout(2, L)
    B: gl.constexpr = gl.SliceLayout(1, L)
    E: gl.constexpr = gl.SliceLayout(3, A)
    WORDS: gl.constexpr = 128 if NARROW else 256
    width = width_vecs * VEC
    row0 = gl.program_id(1) * ROWS
    steps = (pairs + U * W - 1) // (U * W)
    share = (steps + SPLITS - 1) // SPLITS
    first = gl.program_id(2) * share
    last = gl.maximum(gl.minimum(first + share, steps), first + 1)  # a part may be empty: all of it is masked

    # Tiles beyond the weight and rows beyond x read the last one again; the result is not written.
    tile0 = gl.program_id(0) * NT
    values += tile0.to(gl.int64) * pairs * WORDS
    meta += tile0.to(gl.int64) * pairs * 32
    beyond = tiles - 1 - tile0
    a = values + (gl.minimum(index(NT, 1, A), beyond) * pairs + index(W, 0, A)) * WORDS
    a = a + index(32, 2, A) * 4 + index(4, 3, A)
    e = meta + (gl.minimum(index(NT, 1, E), beyond) * pairs + index(W, 0, E)) * 32 + index(32, 2, E)
    row = gl.minimum(row0 + index(TB, 1, B) * 8 + index(32, 2, B) // 4, rows - 1).to(gl.int64)
    b = x + row * width + index(W, 0, B) * 32 + index(32, 2, B) % 4 + index(4, 3, B) * 4

    X: gl.constexpr = ldmatrix_layout(TB, W, WN)
    COPY: gl.constexpr = copy_layout(STEP, VEC, W * WN)
    if STAGES:
        buffers = gl.allocate_shared_memory(gl.int32, [STAGES, ROWS, STEP], gl.SwizzledSharedLayout(4, 1, 8, [1, 0]))
        for turn in gl.static_range(STAGES - 1):
            stage(buffers, turn, x, row0, rows, first, last, width, COPY)
    else:
        buffers: gl.constexpr = None

    # `ring` holds the loads of the next U pairs; a place that has been read is refilled at once, for the next step.
    sums = gl.zeros([W, NT, TB, 32, 4], gl.float32, L)
    ring = ()
    for u in gl.static_range(U):
        ring = ring + (fetch(a, e, b, (first * U + u) * W, pairs, width, NARROW, STAGES > 0, not EVEN, L),)
    whole = last if EVEN else gl.minimum(last, width // STEP)
    for step in range(first, whole - 1):
        if STAGES:
            async_copy.wait_group(STAGES - 2)
            stage(buffers, step - first + STAGES - 1, x, row0, rows, first, last, width, COPY)
        at = step - first
        sums, ring = advance(sums, ring, buffers, at, a, e, b, step + 1, pairs, width, NARROW, BF16, False, X, L)
    # A constant, then a condition: masked code exists only where the inputs end within a step, outside the loop.
    if not EVEN:  # noqa: SIM102
        if (whole < last) & (first < last - 1):
            at = last - 2 - first
            if STAGES:
                async_copy.wait_group(STAGES - 2)
                stage(buffers, at + STAGES - 1, x, row0, rows, first, last, width, COPY)
            sums, ring = advance(sums, ring, buffers, at, a, e, b, last - 1, pairs, width, NARROW, BF16, True, X, L)
    if STAGES:
        async_copy.wait_group(0)
    for u in gl.static_range(U):
        sums = consume(sums, ring[u], buffers, last - 1 - first, u, X, NARROW, BF16, L)

    # Registers → rows × outputs, and the sum over warps in their order. Axes: warp, tile, tile of rows, g, t, h, j.
    OUT: gl.constexpr = NT * 16
    sums = gl.permute(gl.reshape(sums, [W, NT, TB, 8, 4, 2, 2]), [0, 2, 4, 6, 1, 5, 3])
    R: gl.constexpr = result_layout(W, ROWS, OUT, W * WN)
    total = gl.sum(gl.convert_layout(gl.reshape(sums, [W, ROWS, OUT]), R), axis=0)
    S: gl.constexpr = gl.SliceLayout(0, R)
    row, output = gl.broadcast(row0 + index(ROWS, 0, S), tile0 * 16 + index(OUT, 1, S))
    inside = (row < rows) & (output < outputs)
    if SPLITS == 1:
        total = finish(total, output, inside, bias, scales, NARROW, BIASED, ACTIVATION)
    place = (gl.program_id(2) * rows + row).to(gl.int64) * outputs + output
    gl.store(y + place, total.to(y.dtype.element_ty), mask=inside)


@gluon.jit(do_not_specialize=["rows"])
def join(parts, bias, scales, y, rows, outputs, SPLITS: gl.constexpr, WIDTH: gl.constexpr, NARROW: gl.constexpr,
         BIASED: gl.constexpr, ACTIVATION: gl.constexpr):  # fmt: skip
    """y[row, WIDTH outputs] from the sums of SPLITS parts of the inputs, added in their order."""
    L: gl.constexpr = gl.BlockedLayout([4], [32], [WIDTH // 128], [0])
    output = gl.program_id(0) * WIDTH + gl.arange(0, WIDTH, layout=L)
    row = gl.program_id(1)
    inside = output < outputs
    total = gl.zeros([WIDTH], gl.float32, L)
    for part in gl.static_range(SPLITS):
        at = (part * rows + row).to(gl.int64) * outputs + output
        total += gl.load(parts + at, mask=inside, other=0.0)
    total = finish(total, output, inside, bias, scales, NARROW, BIASED, ACTIVATION)
    gl.store(y + row.to(gl.int64) * outputs + output, total.to(y.dtype.element_ty), mask=inside)

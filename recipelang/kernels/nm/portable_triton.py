"""Device code in plain Triton: pruning and packing in one pass, and the product with a packed weight.

Only portable operations: it runs on every GPU that Triton supports and in Triton's interpreter. The weight is
expanded in registers, which saves memory but no multiplication; the sparse tensor cores do that in `mma_sp_gluon.py`.

A group of four is held as four planes, one for each place, so that splitting and joining take place in registers.
"""

import triton
import triton.language as tl


@triton.jit
def prune_and_pack(
    weight,  # N×K, its bits as whole numbers, contiguous
    values,  # N×K/2, bits too
    meta,  # N×words int32
    crowded,  # programs int32: groups of each with more than two nonzero values
    outputs,
    inputs,
    MAGNITUDE: tl.constexpr,  # all bits but the sign
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,  # of one program; a multiple of 32
):
    GROUPS: tl.constexpr = INPUTS // 4
    WORDS: tl.constexpr = INPUTS // 32
    across = tl.program_id(1)
    row = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)[:, None]
    start = row.to(tl.int64)
    column = across * INPUTS + tl.arange(0, INPUTS)[None, :]
    w = tl.load(weight + start * inputs + column, mask=(row < outputs) & (column < inputs), other=0)
    w0, w1, w2, w3 = planes(w, OUTPUTS, GROUPS)
    a0 = w0 & MAGNITUDE
    a1 = w1 & MAGNITUDE
    a2 = w2 & MAGNITUDE
    a3 = w3 & MAGNITUDE
    # Each beats the later ones where it is not smaller, the earlier ones where it is larger; two of the four beat two.
    keep0 = majority(a0 >= a1, a0 >= a2, a0 >= a3)
    keep1 = majority(a1 > a0, a1 >= a2, a1 >= a3)
    keep2 = majority(a2 > a0, a2 > a1, a2 >= a3)
    keep3 = majority(a3 > a0, a3 > a1, a3 > a2)

    first = tl.where(keep0, 0, tl.where(keep1, 1, 2))
    second = tl.where(keep3, 3, tl.where(keep2, 2, 1))
    v0 = tl.where(keep0, w0, tl.where(keep1, w1, w2))
    v1 = tl.where(keep3, w3, tl.where(keep2, w2, w1))
    v0 = tl.where((v0 & MAGNITUDE) == 0, 0, v0).to(w.dtype)  # no -0.0 is kept
    v1 = tl.where((v1 & MAGNITUDE) == 0, 0, v1).to(w.dtype)
    v = tl.reshape(tl.join(v0, v1), (OUTPUTS, INPUTS // 2))
    column = across * (INPUTS // 2) + tl.arange(0, INPUTS // 2)[None, :]
    tl.store(values + start * (inputs // 2) + column, v, mask=(row < outputs) & (column < inputs // 2))

    # Zeros were read beyond the last input; of these the first two are kept, as required there.
    nibble = tl.reshape(first | (second << 2), (OUTPUTS, WORDS, 8)) << (4 * tl.arange(0, 8))[None, None, :]
    column = across * WORDS + tl.arange(0, WORDS)[None, :]
    words = tl.cdiv(inputs, 32)
    tl.store(meta + start * words + column, tl.sum(nibble, axis=2), mask=(row < outputs) & (column < words))

    # A group was crowded where a nonzero value had to be dropped.
    gone = tl.where(keep0, 0, a0) | tl.where(keep1, 0, a1) | tl.where(keep2, 0, a2) | tl.where(keep3, 0, a3)
    found = tl.sum(tl.sum((gone != 0).to(tl.int32), axis=1), axis=0)
    tl.store(crowded + tl.program_id(0) * tl.num_programs(1) + across, found)


@triton.jit
def multiply(
    x,  # rows×inputs, contiguous
    values,  # outputs×inputs/2: the dtype of x, or int8
    meta,  # outputs×words int32
    scales,  # outputs float32; read only where SCALED
    bias,  # outputs, the dtype of x; read only where BIASED
    y,  # rows×outputs, contiguous, the dtype of x
    rows,
    outputs,
    inputs,
    ROWS: tl.constexpr,  # of one program
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,  # of one step; a multiple of 32
    SCALED: tl.constexpr,
    BIASED: tl.constexpr,
    ACTIVATION: tl.constexpr,
    COMPUTE: tl.constexpr,  # the dtype of the products; sums are float32
):
    """y = activation(x·Wᵀ · scales + bias), one tile of y in each program, its sum always in the same order.

    The weight is the left operand: a few rows of x then only need to fill the narrow side of a matrix instruction.
    """
    HALF: tl.constexpr = INPUTS // 2
    WORDS: tl.constexpr = INPUTS // 32
    tiles = tl.cdiv(outputs, OUTPUTS)
    output = tl.program_id(0) % tiles * OUTPUTS + tl.arange(0, OUTPUTS)
    row = tl.program_id(0) // tiles * ROWS + tl.arange(0, ROWS)
    within = (output < outputs)[:, None]
    words = tl.cdiv(inputs, 32)
    v_start = values + output.to(tl.int64)[:, None] * (inputs // 2)
    m_start = meta + output.to(tl.int64)[:, None] * words
    x_start = x + row.to(tl.int64)[:, None] * inputs

    total = tl.zeros((OUTPUTS, ROWS), tl.float32)
    for step in range(0, tl.cdiv(inputs, INPUTS)):
        half = step * HALF + tl.arange(0, HALF)[None, :]
        v = tl.load(v_start + half, mask=within & (half < inputs // 2), other=0).to(COMPUTE)
        word = step * WORDS + tl.arange(0, WORDS)[None, :]
        m = tl.load(m_start + word, mask=within & (word < words), other=0)
        column = step * INPUTS + tl.arange(0, INPUTS)[None, :]
        # Beyond the last input x is 0 as well: what is there in memory may be NaN, and 0 · NaN is NaN.
        tile = tl.load(x_start + column, mask=(row < rows)[:, None] & (column < inputs), other=0).to(COMPUTE)
        w0, w1, w2, w3 = spread(v, m, OUTPUTS, INPUTS)
        x0, x1, x2, x3 = planes(tile, ROWS, INPUTS // 4)
        # The order of a sum is free, so the four places of all groups are four products.
        total = tl.dot(w0, tl.trans(x0), total, input_precision="ieee")
        total = tl.dot(w1, tl.trans(x1), total, input_precision="ieee")
        total = tl.dot(w2, tl.trans(x2), total, input_precision="ieee")
        total = tl.dot(w3, tl.trans(x3), total, input_precision="ieee")

    if SCALED:
        total *= tl.load(scales + output, mask=output < outputs, other=0)[:, None]
    if BIASED:
        total += tl.load(bias + output, mask=output < outputs, other=0).to(tl.float32)[:, None]
    result = activate(total, ACTIVATION).to(y.dtype.element_ty)
    place = y + row.to(tl.int64)[None, :] * outputs + output[:, None]
    tl.store(place, result, mask=within & (row < rows)[None, :])


@triton.jit
def majority(a, b, c):
    """Whether two of the three hold."""
    return (a & b) | (c & (a | b))


@triton.jit
def planes(tile, LINES: tl.constexpr, GROUPS: tl.constexpr):
    """LINES×4·GROUPS → four LINES×GROUPS: place 0, 1, 2 and 3 of each group."""
    even, odd = tl.split(tl.reshape(tile, (LINES, GROUPS, 2, 2)))
    p0, p2 = tl.split(even)
    p1, p3 = tl.split(odd)
    return p0, p1, p2, p3


@triton.jit
def spread(values, meta, LINES: tl.constexpr, INPUTS: tl.constexpr):
    """LINES×INPUTS/2 values and LINES×INPUTS/32 metadata → the four planes of the weight, zeros written out."""
    nibble = (meta[:, :, None] >> (4 * tl.arange(0, 8))[None, None, :]) & 15
    nibble = tl.reshape(nibble, (LINES, INPUTS // 4))
    first = nibble & 3
    second = nibble >> 2
    v0, v1 = tl.split(tl.reshape(values, (LINES, INPUTS // 4, 2)))
    zero = tl.zeros_like(v0)
    # First is less than second, so that place 0 is never second and place 3 never first.
    w0 = tl.where(first == 0, v0, zero)
    w1 = tl.where(first == 1, v0, tl.where(second == 1, v1, zero))
    w2 = tl.where(first == 2, v0, tl.where(second == 2, v1, zero))
    w3 = tl.where(second == 3, v1, zero)
    return w0, w1, w2, w3


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """The activation of this name, in float32."""
    if ACTIVATION == "relu":
        z = tl.where(z < 0, 0.0, z)  # unlike `maximum`, it passes NaN on
    elif ACTIVATION == "gelu":
        z = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))
    elif ACTIVATION == "gelu_tanh":
        # (1 + tanh(u)) / 2 = sigmoid(2u), u = √(2/π) · (z + 0.044715 z³)
        z = z * tl.sigmoid(1.5957691216057308 * (z + 0.044715 * z * z * z))
    elif ACTIVATION == "silu":
        z = z * tl.sigmoid(z)
    return z

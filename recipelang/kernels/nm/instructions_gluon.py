"""Device code below the products: sparse matrix instructions, bytes to floats, axes of layouts, the last step."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

# Operands: $0-3 = d, $4-7 = a, $8-11 = b, $12-15 = c, $16 = metadata; then the sparsity selector.
_MMA = (
    "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.{T}.{T}.f32 "
    "{{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9,$10,$11}}, {{$12,$13,$14,$15}}, $16, {S};"
)
_MMA_F16_EVEN = gl.constexpr(_MMA.format(T="f16", S="0x0"))
_MMA_F16_ODD = gl.constexpr(_MMA.format(T="f16", S="0x1"))
_MMA_BF16_EVEN = gl.constexpr(_MMA.format(T="bf16", S="0x0"))
_MMA_BF16_ODD = gl.constexpr(_MMA.format(T="bf16", S="0x1"))
_MMA_REGISTERS = gl.constexpr(",".join(["=f"] * 4 + ["r"] * 8 + ["f"] * 4 + ["r"] * 4))


def _for_registers(code: str) -> str:
    """The same few instructions for each of four registers: d = $r and e = $(4+r) from q = $(8+r)."""
    lines = [code.format(d=f"${r}", e=f"${4 + r}", q=f"${8 + r}") for r in range(4)]
    return "{ .reg .b32 s, u, v; " + " ".join(lines) + " }"


# A byte u = value + 128 becomes the mantissa of a 16-bit float, less a constant: exact for all 256.
# f16 has ten bits of it: 0x6400 | u is 1024 + u; subtract 1152 from that. 0x4240 and 0x4341 pick even and odd bytes.
_TO_F16 = gl.constexpr(
    _for_registers(
        "prmt.b32 {d}, {q}, 0x64646464, 0x4240; prmt.b32 {e}, {q}, 0x64646464, 0x4341; mov.b32 v, 0x64806480; "
        "sub.f16x2 {d}, {d}, v; sub.f16x2 {e}, {e}, v;"
    )
)
# bf16 has seven: 0x4300 | (u & 127) is 128 + u mod 128; the eighth bit of u selects what to subtract, 0xC380 = -256
# without it and 0xC300 = -128 with it, in one `lop3` as (u & 128) ^ 0xC380. sm_80 adds bf16 as a · 1 + b only.
_TO_BF16_ONE = (
    "lop3.b32 {d}, {q}, 0x007F007F, 0x43004300, 0xEA; lop3.b32 u, {q}, 0x00800080, 0xC380C380, 0x6A; "
    "fma.rn.bf16x2 {d}, {d}, v, u; "
)
_TO_BF16 = gl.constexpr(
    _for_registers(
        "mov.b32 v, 0x3F803F80; "
        + _TO_BF16_ONE
        + "shr.u32 s, {q}, 8; "
        + _TO_BF16_ONE.replace("{d}", "{e}").replace("{q}", "s")
    )
)
_TO_REGISTERS = gl.constexpr(",".join(["=&r"] * 8 + ["r"] * 4))


@gluon.jit
def multiply(a, b, c, meta, ODD: gl.constexpr, BF16: gl.constexpr):
    """c + a · b for one tile along the inputs, by `mma.sp.m16n8k32`."""
    if BF16:
        code: gl.constexpr = _MMA_BF16_ODD if ODD else _MMA_BF16_EVEN
    else:
        code: gl.constexpr = _MMA_F16_ODD if ODD else _MMA_F16_EVEN
    return gl.inline_asm_elementwise(code, _MMA_REGISTERS, [a, b, c, meta], dtype=gl.float32, is_pure=True, pack=4)


@gluon.jit
def widen(q, BF16: gl.constexpr):
    """Bytes of a pair of tiles → the 16-bit operands of the even and of the odd tile."""
    code: gl.constexpr = _TO_BF16 if BF16 else _TO_F16
    return gl.inline_asm_elementwise(code, _TO_REGISTERS, [q], dtype=(gl.int32, gl.int32), is_pure=True, pack=4)


@gluon.constexpr_function
def rank_of(layout):
    depth = 0
    while isinstance(layout, gl.SliceLayout):
        layout, depth = layout.parent, depth + 1
    return len(layout.size_per_thread) - depth


@gluon.constexpr_function
def along(layout, axis):
    """The layout of one axis of a tensor of this layout."""
    for other in reversed(range(rank_of(layout))):
        if other != axis:
            layout = gl.SliceLayout(other, layout)
    return layout


@gluon.jit
def index(size: gl.constexpr, axis: gl.constexpr, layout: gl.constexpr):
    """0 … size-1 along one axis of a tensor of this layout, of size 1 along all others."""
    i = gl.arange(0, size, layout=along(layout, axis))
    for other in gl.static_range(rank_of(layout)):
        if other != axis:
            i = gl.expand_dims(i, other)
    return i


@gluon.jit
def finish(y, output, mask, bias, scales, SCALED: gl.constexpr, BIASED: gl.constexpr, ACTIVATION: gl.constexpr):
    """activation(y · scale + bias), in float32."""
    if SCALED:
        y *= gl.load(scales + output, mask=mask, other=0.0)
    if BIASED:
        y += gl.load(bias + output, mask=mask, other=0.0).to(gl.float32)
    if ACTIVATION == "relu":
        y = gl.where(y < 0.0, 0.0, y)  # NaN stays NaN
    elif ACTIVATION == "gelu":
        y = 0.5 * y * (1.0 + gl.erf(y * 0.7071067811865476))
    elif ACTIVATION == "gelu_tanh":
        # 0.5 (1 + tanh z) = 1 / (1 + exp(-2z)), which neither overflows nor cancels
        y = y / (1.0 + gl.exp(-1.5957691216057308 * (y + 0.044715 * y * y * y)))
    elif ACTIVATION == "silu":
        y = y / (1.0 + gl.exp(-y))
    return y

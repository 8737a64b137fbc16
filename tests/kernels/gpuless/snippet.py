"""A few lines of PTX made into an entry and executed, for tests of the simulator itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gpuless.ptx.executor import Argument, run
from torch import Tensor

_HEAD = """
.version 8.8
.target sm_90
.address_size 64
.extern .shared .align 16 .b8 memory[];
.visible .entry snippet({parameters})
.reqntid {threads}
{{
    .reg .pred %p<32>;
    .reg .b16 %rs<64>;
    .reg .b32 %r<64>;
    .reg .b64 %rd<64>;
    {loads}
    mov.u32 %r0, %tid.x;
    {body}
    ret;
}}
"""


def execute(body: str, *arguments: Argument, threads: int = 32, grid: tuple[int, ...] = (1,), shared: int = 0) -> None:
    """Run `body` with the arguments in `%rd50`, `%rd51`, …, the index of the thread in `%r0` and `memory` shared."""
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(arguments)))
    loads = "\n    ".join(f"ld.param.b64 %rd{50 + i}, [p{i}];" for i in range(len(arguments)))
    run(_HEAD.format(parameters=parameters, threads=threads, loads=loads, body=body), grid, arguments, shared)


def each(code: str, *operands: Sequence[int], bits: tuple[int, ...] = (), result: int = 32) -> list[int]:
    """Evaluate an instruction in 32 threads: `code` reads `{0}`, `{1}`, … and writes `{d}`, as unsigned bits.

    Args:
        operands: 32 values each.
        bits: width of each operand; 32 where not given.
        result: width of what is written.
    """
    widths = [*bits, *(32 for _ in operands)][: len(operands)]
    names = {8: "rs", 16: "rs", 32: "r", 64: "rd"}
    tensors = [_tensor(values, width) for values, width in zip(operands, widths, strict=True)]
    out = torch.zeros(32, dtype=_SIGNED[result])
    body, registers = [], []
    for i, width in enumerate(widths):
        registers.append(f"%{names[width]}{i + 1}")
        body.append(f"mad.wide.u32 %rd40, %r0, {width // 8}, %rd{50 + i};")
        body.append(f"ld.global.b{width} {registers[-1]}, [%rd40];")
    target = f"%{names[result]}30"
    body.append(code.format(*registers, d=target))
    body.append(f"mad.wide.u32 %rd40, %r0, {result // 8}, %rd{50 + len(widths)};")
    body.append(f"st.global.b{result} [%rd40], {target};")
    execute("\n    ".join(body), *tensors, out)
    return [int(value) & ((1 << result) - 1) for value in out]


_SIGNED = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


def _tensor(values: Sequence[int], width: int) -> Tensor:
    half = 1 << (width - 1)
    return torch.tensor([((value + half) & (2 * half - 1)) - half for value in values], dtype=_SIGNED[width])

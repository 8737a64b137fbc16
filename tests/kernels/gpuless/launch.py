"""Stands in for a GPU: a launch compiles for a compute capability and executes the emitted PTX on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpuless.compile import Capability, Compiled, compile
from gpuless.ptx.executor import Argument, run

Launch = Callable[[Any, tuple[int, ...], tuple[Argument, ...], Mapping[str, Any], int], None]


def launcher(
    capability: Capability = (8, 0),
    edit: Callable[[str], str] = lambda ptx: ptx,
    seen: Callable[[Compiled], None] = lambda compiled: None,
    ctas: Sequence[tuple[int, int, int]] | None = None,
) -> Launch:
    """A drop-in for `recipelang.kernels.nm.launch.launch`.

    Args:
        capability: what to compile for.
        edit: changes the PTX before it is executed, to plant a fault.
        seen: called with each kernel that was compiled, to look at it.
        ctas: which of the grid are executed; all where not given.
    """

    def launch(
        kernel: Any,
        grid: tuple[int, ...],
        arguments: tuple[Argument, ...],
        constants: Mapping[str, Any],
        warps: int,
    ) -> None:
        compiled = compile(kernel, arguments, constants, warps, capability)
        seen(compiled)
        given = [arguments[i] for i in compiled.parameters]
        run(edit(compiled.ptx), grid, given, compiled.shared_bytes, ctas)

    return launch

"""Compile a Triton or Gluon kernel for a GPU that is not there.

Types, divisibility by 16 and values equal to one are derived from the arguments by Triton's own binder, so that what
is compiled here is what a launch with these arguments would compile on such a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import triton
from gpuless.ptx.executor import Argument
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.experimental.gluon._runtime import GluonASTSource
from triton.runtime.jit import JITFunction, create_function_from_signature

Capability = tuple[int, int]


@dataclass(frozen=True)
class Compiled:
    """A kernel as the compiler left it.

    Attributes:
        name: of the entry in `ptx`.
        ptx: text.
        cubin: what the GPU would load.
        shared_bytes: shared memory that a launch gives to each CTA.
        threads: of each CTA.
        parameters: indices of the arguments that the entry takes; the others, constants among them integers that are
            1, were compiled in.
        capability: what it was compiled for.
        metadata: everything else that Triton keeps with a kernel.
    """

    name: str
    ptx: str
    cubin: bytes
    shared_bytes: int
    threads: int
    parameters: tuple[int, ...]
    capability: Capability
    metadata: Any


def compile(
    kernel: Any,
    arguments: tuple[Argument, ...],
    constants: Mapping[str, Any],
    warps: int,
    capability: Capability = (8, 0),
) -> Compiled:
    """What `kernel[grid](*arguments, **constants, num_warps=warps)` compiles on a GPU of this compute capability.

    Args:
        kernel: decorated with `triton.jit` or `gluon.jit`.
        arguments: as in a launch; tensors may be on the CPU: their dtype and the alignment of their address matter.
        constants: values of the constexpr parameters, by name, and options such as `num_stages`.
        warps: of each CTA.
        capability: (8, 0) for sm_80.

    Raises:
        TypeError: `kernel` is not compiled here (Triton was imported with TRITON_INTERPRET set).
    """
    if not isinstance(kernel, JITFunction):
        raise TypeError(f"{kernel!r} cannot be compiled in a process that interprets kernels")
    target = GPUTarget("cuda", 10 * capability[0] + capability[1], 32)
    backend = make_backend(target)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    # Fused multiply-add is the default up to Triton 3.9, which warns where it is not set.
    keywords = {"enable_fp_fusion": True, **constants, "num_warps": warps}
    bound, specialization, given = binder(*arguments, **keywords)
    options, signature, constexprs, attributes = kernel._pack_args(backend, keywords, bound, specialization, given)
    source = (GluonASTSource if kernel.is_gluon() else ASTSource)(kernel, signature, constexprs, attributes)
    built = triton.compile(source, target=target, options=dict(options.__dict__))
    return Compiled(
        name=built.metadata.name,
        ptx=built.asm["ptx"],
        cubin=built.asm["cubin"],
        shared_bytes=built.metadata.shared,
        threads=32 * built.metadata.num_warps,
        parameters=tuple(i for i, name in enumerate(signature) if signature[name] != "constexpr"),
        capability=capability,
        metadata=built.metadata,
    )

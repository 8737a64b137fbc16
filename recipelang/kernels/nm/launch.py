"""Launching Triton kernels, and checking their tensors beforehand.

Hosts call `launch.launch(…)` through the module, so that a test can replace it: on a machine without a GPU it executes
what was compiled ahead of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recipelang.errors import Refusal

_HELP = "let `accelerate` choose the kernel: it uses dense where no other fits"


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: tuple[Tensor | int | float, ...],
    constants: Mapping[str, Any],
    warps: int,
) -> None:
    """`kernel[grid](*arguments, **constants, num_warps=warps)` on the device of the first tensor.

    Args:
        kernel: a function under `triton.jit` or `gluon.jit`.
        grid: programs along each of up to three axes.
        arguments: the kernel's arguments in order, at least one tensor among them.
        constants: its `constexpr` parameters, by name.
        warps: number of warps of 32 threads in each program.

    Raises:
        Refusal: RCP1304: the tensors are on a CPU and Triton is not running as its interpreter.
    """
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    if device.type == "cuda":
        # The default of this option differs between versions of Triton; the tests use fused multiply-adds.
        with torch.cuda.device(device):
            kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
    elif interpreted():
        kernel[grid](*arguments, **constants, num_warps=warps)
    else:
        raise refusal(f"a Triton kernel was given tensors on `{device}`", "move them to a GPU, or use `dense`")


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU: TRITON_INTERPRET=1 was set before it was imported."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def fits(x: Tensor, bias: Tensor | None, outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what a kernel for this weight cannot read.

    Args:
        x: the activation, rows×inputs.
        bias: outputs, or None.
        outputs, inputs: of the weight.
        dtype: of x and of the bias.
        device: of the weight.

    Raises:
        Refusal: RCP1304: wrong shape, dtype or device, or non-contiguous memory.
    """
    _fits("the activation", x, 2, inputs, dtype, device)
    if bias is not None:
        _fits("the bias", bias, 1, outputs, dtype, device)


def _fits(what: str, tensor: Tensor, axes: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
    if tensor.ndim != axes or tensor.shape[-1] != width:
        wanted = f"rows×{width}" if axes == 2 else f"{width}"
        raise refusal(f"{what} is {_shape(tensor)}, but this weight takes {wanted}")
    if tensor.dtype is not dtype:
        raise refusal(f"{what} is {_name(tensor.dtype)}, but this kernel was made for {_name(dtype)}")
    if tensor.device != device:
        raise refusal(f"{what} is on `{tensor.device}`, but the weight is on `{device}`")
    if not tensor.is_contiguous():
        raise refusal(f"{what} is not contiguous in memory", "call `.contiguous()` on it first")


def refusal(message: str, help: str = _HELP) -> Refusal:
    """The refusal for arguments that a kernel cannot read."""
    return Refusal("RCP1304", message, help)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

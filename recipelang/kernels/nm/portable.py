"""Host side of the kernels in plain Triton: the reference for every GPU and for the interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.device import triton_too_old
from recipelang.kernels.nm.format import FLOATS, Packed, validate
from recipelang.kernels.nm.problem import ACTIVATIONS, Configuration, Problem

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: Turing: the oldest that Triton compiles for.
OLDEST_CAPABILITY = (7, 5)

#: Tiles for up to 16 rows, and for more: rows and outputs of one program, inputs of one step, warps.
FEW: Configuration = {"rows": 16, "outputs": 64, "inputs": 128, "warps": 4}
MANY: Configuration = {"rows": 64, "outputs": 64, "inputs": 64, "warps": 4}
#: Outputs and inputs of one program that prunes and packs.
PACK_OUTPUTS, PACK_INPUTS = 32, 128


@dataclass(frozen=True)
class Portable:
    """y = activation(x·Wᵀ + bias) from the saved packed form; the weight is expanded in registers.

    It saves memory rather than time: the zeros are multiplied. Operands are (values N×K/2, meta N×words int32) and, for
    values of int8, (…, scales N).
    """

    name: ClassVar[str] = "portable"
    layout: ClassVar[str] = "packed"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        """Why plain Triton cannot compute the problem; None where it can."""
        if reason := triton_too_old(problem.device):
            return reason
        if problem.device.type == "cpu" and not launch.interpreted():
            return "Triton runs on a CPU only as an interpreter (`TRITON_INTERPRET=1`)"
        if problem.dtype not in DTYPES or problem.values not in (problem.dtype, torch.int8):
            return f"the kernel has no {_name(problem.dtype)} with values of {_name(problem.values)}"
        if problem.activation not in ACTIVATIONS:
            return f"the kernel has no activation `{problem.activation}`"
        if problem.inputs % 4:
            return f"{problem.inputs} inputs are not a multiple of 4"
        if problem.device.type == "cuda" and problem.device.capability < OLDEST_CAPABILITY:
            return f"{problem.device.name} is older than what Triton compiles for (compute capability 7.5)"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(values, meta) or (values, meta, scales), on the device; values of `dtype`, or int8.

        Raises:
            Refusal: RCP1302: the packed form is damaged. RCP1304: the kernel has no such dtype.
        """
        validate(packed)
        if dtype not in DTYPES:
            raise launch.refusal(f"the kernel `{self.name}` has no {_name(dtype)}")
        meta = packed.meta.to(device).contiguous()
        if packed.scales is None:
            return packed.values.to(device, dtype).contiguous(), meta
        return packed.values.to(device).contiguous(), meta, packed.scales.to(device).contiguous()

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """Both tiles, the one for the number of rows first."""
        return (FEW, MANY) if problem.rows <= FEW["rows"] else (MANY, FEW)

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs → rows×outputs.

        Raises:
            Refusal: RCP1304: x or the bias do not fit the weight.
        """
        from recipelang.kernels.nm import portable_triton

        values, meta, *scales = operands
        outputs, inputs = values.shape[0], 2 * values.shape[1]
        launch.fits(x, bias, outputs, inputs, problem.dtype, values.device)
        # numpy has no bfloat16: the interpreter multiplies it wrongly and truncates where it should round.
        emulated = x.dtype == torch.bfloat16 and launch.interpreted()
        y = x.new_empty(x.shape[0], outputs, dtype=torch.float32 if emulated else x.dtype)
        tiles = -(-x.shape[0] // configuration["rows"]) * -(-outputs // configuration["outputs"])
        if tiles:
            # Where there are no scales or no bias, any tensor will do: it is not read.
            arguments = (x, values, meta, scales[0] if scales else meta, x if bias is None else bias, y)
            constants: dict[str, Any] = {
                "ROWS": configuration["rows"],
                "OUTPUTS": configuration["outputs"],
                "INPUTS": configuration["inputs"],
                "SCALED": bool(scales),
                "BIASED": bias is not None,
                "ACTIVATION": problem.activation,
                "COMPUTE": _of_triton(y.dtype),
            }
            launch.launch(
                portable_triton.multiply,
                (tiles,),
                (*arguments, x.shape[0], outputs, inputs),
                constants,
                configuration["warps"],
            )
        return y.to(x.dtype)


def prune_and_pack(weight: Tensor) -> tuple[Packed, int]:
    """Keep the two largest of every four along K, the first of equal ones, and pack them in one pass over the weight.

    On weights without NaN it is `pack(weight.where(nm_mask(weight.abs(), 2, 4), 0))`, bit for bit. NaN counts as larger
    than infinity, so that it is kept and noticed.

    Args:
        weight: N×K, contiguous, floating point, on a GPU; K a multiple of 4.

    Returns:
        The packed form, and the number of groups with more than two nonzero values: 0 where nothing was pruned.

    Raises:
        Refusal: RCP1304: the weight is not as described.
    """
    from recipelang.kernels.nm import portable_triton

    if weight.ndim != 2 or weight.shape[1] % 4 or weight.numel() == 0 or weight.dtype not in FLOATS:
        shape = "×".join(map(str, weight.shape))
        raise launch.refusal(
            f"a weight {shape} {_name(weight.dtype)} cannot be packed, only N×K floats with K a multiple of 4"
        )
    if not weight.is_contiguous():
        raise launch.refusal("a weight that is not contiguous in memory cannot be packed", "call `.contiguous()` first")
    outputs, inputs = weight.shape
    # Integers order magnitudes as floats do, NaN last, and preserve every bit of what is kept.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[weight.element_size()]
    values = weight.new_empty(outputs, inputs // 2)
    meta = torch.empty(outputs, -(-inputs // 32), dtype=torch.int32, device=weight.device)
    grid = -(-outputs // PACK_OUTPUTS), -(-inputs // PACK_INPUTS)
    crowded = torch.empty(grid, dtype=torch.int32, device=weight.device)
    launch.launch(
        portable_triton.prune_and_pack,
        grid,
        (weight.detach().view(bits), values.view(bits), meta, crowded, outputs, inputs),
        {"MAGNITUDE": torch.iinfo(bits).max, "OUTPUTS": PACK_OUTPUTS, "INPUTS": PACK_INPUTS},
        warps=4,
    )
    return Packed(values, meta), int(crowded.sum())


def _of_triton(dtype: torch.dtype) -> Any:
    """Triton's name of the dtype."""
    import triton.language as tl

    return {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}[dtype]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""Layers that hold a packed 2:4 weight and compute with it. For inference: they have no gradients.

The state of a layer is the canonical packed form and the bias. What its kernels read is derived from that when the
layer is made, loaded or moved, and is never saved; the canonical form itself stays in CPU memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.format import Packed, pack, rows
from recipelang.kernels.nm.operations import Way, multiply, nm_linear, to_text
from recipelang.kernels.nm.registry import KERNELS

#: How a layer computes until a chooser has chosen: with the weight unpacked once.
UNPACKED = Way("dense", {}, None)


class SparseLinear(nn.Module):
    """y = activation(x·Wᵀ + bias) with a packed 2:4 weight.

    Args:
        packed: W, outputs×inputs.
        bias: outputs, or None.
        activation: applied to the result; one of `problem.ACTIVATIONS`.
        dtype: of x and of the result; default that of the packed values.

    Shapes: x …×inputs → …×outputs.
    """

    values: Tensor
    meta: Tensor
    scales: Tensor | None
    bias: Tensor | None

    def __init__(
        self, packed: Packed, bias: Tensor | None = None, activation: str = "none", dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.outputs, self.inputs = packed.shape
        self.activation = activation
        self.dtype = dtype or (torch.float32 if packed.values.dtype == torch.int8 else packed.values.dtype)
        self.device = packed.values.device if bias is None else bias.device
        self.register_buffer("values", packed.values.cpu())
        self.register_buffer("meta", packed.meta.cpu())
        self.register_buffer("scales", None if packed.scales is None else packed.scales.cpu())
        self.register_buffer("bias", None if bias is None else bias.detach().to(self.device, self.dtype))
        self.use((UNPACKED,))

    @classmethod
    def from_linear(cls, linear: nn.Linear, *, int8: bool = False, activation: str = "none") -> SparseLinear:
        """The layer with the weight of `linear`, which is already 2:4.

        Raises:
            Refusal: RCP1301: it is not 2:4.
        """
        return cls(pack(linear.weight.detach(), int8=int8), linear.bias, activation, linear.weight.dtype)

    @property
    def packed(self) -> Packed:
        """The weight in its packed form."""
        return Packed(self.values, self.meta, self.scales)

    @property
    def int8(self) -> bool:
        """Whether the packed values are int8."""
        return self.values.dtype == torch.int8

    def use(self, ways: Sequence[Way]) -> None:
        """Compute in these ways from now on: in the first that accepts the rows of a call.

        Args:
            ways: kernels with equal `layout` share one copy of the weight. The places of operands are recorded here.
        """
        self._forget_operands()
        self._ways: list[Way] = []
        places: dict[str, tuple[int, int]] = {}
        for way in ways:
            kernel = KERNELS[way.kernel]
            if kernel.layout not in places:
                derived = kernel.operands(self.packed.to(self.device), self.dtype, self.device)
                places[kernel.layout] = (self._count, len(derived))
                for operand in derived:
                    self.register_buffer(f"operand{self._count}", operand, persistent=False)
                    self._count += 1
            self._ways.append(replace(way, operands=places[kernel.layout]))
        self._text = to_text(self._ways)

    def _forget_operands(self) -> None:
        for name in [name for name in self._buffers if name.startswith("operand")]:
            delattr(self, name)
        self._count = 0

    def forward(self, x: Tensor) -> Tensor:
        """…×inputs → …×outputs.

        Raises:
            Refusal: RCP1303: a gradient is required. RCP1304: x differs from the layer in length, dtype or device.
        """
        if x.shape[-1] != self.inputs or x.dtype != self.dtype or x.device != self.device:
            raise Refusal(
                "RCP1304",
                f"a layer with {self.inputs} inputs, {_named(self.dtype)} on {self.device}, was given "
                f"{x.shape[-1]}, {_named(x.dtype)} on {x.device}",
                "use one device and dtype for both: `layer.to(x.device, x.dtype)`",
            )
        operands = [getattr(self, f"operand{i}") for i in range(self._count)]
        arguments = (operands, self.bias, self.outputs, self.int8, self.activation, self._text)
        # Called directly where nothing is traced: dispatching takes longer than a small product.
        return nm_linear(x, *arguments) if torch.compiler.is_compiling() else multiply(x, *arguments)

    def _apply(self, fn: Any, recurse: bool = True) -> SparseLinear:
        """Moves and casts as `nn.Module` does, except for the packed form: it stays in CPU memory, so that a weight is
        on a GPU only in the form that its kernels read, and what a cast would invalidate is derived again."""
        probe = fn(torch.zeros(0, dtype=self.dtype, device=self.device))
        self.device, self.dtype = probe.device, probe.dtype
        if not self.int8:
            self.values = self.values.to(self.dtype)
        if self.bias is not None:
            self.bias = self.bias.to(self.device, self.dtype)
        self.use(self._ways)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.use(self._ways)

    def extra_repr(self) -> str:
        """What `print` shows."""
        kernels = ", ".join(dict.fromkeys(way.kernel for way in self._ways))
        shape = f"{self.inputs}, {self.outputs}, 2:4 {_named(self.values.dtype)}"
        return f"{shape}, activation={self.activation}, by {kernels}"


class SparsePointwise(SparseLinear):
    """A convolution 1×1, stride 1, with a packed 2:4 weight: a plain product over the pixels.

    Shapes: x B×inputs×H×W → B×outputs×H×W. In channels_last neither is copied.
    """

    @classmethod
    def from_convolution(cls, layer: nn.Conv2d, *, int8: bool = False, activation: str = "none") -> SparsePointwise:
        """The layer with the weight of a 1×1 convolution, which is already 2:4.

        Raises:
            Refusal: RCP1301: the weight is not 2:4. RCP1304: the convolution is not a plain product.
        """
        if reason := not_pointwise(layer):
            raise Refusal("RCP1304", f"no sparse layer for this convolution: {reason}", "it runs dense")
        return cls(pack(rows(layer.weight.detach()), int8=int8), layer.bias, activation, layer.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×H×W → B×outputs×H×W, channels_last."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def not_pointwise(layer: nn.Conv2d) -> str | None:
    """Why a convolution is not a plain product over the pixels; None where it is."""
    if layer.kernel_size != (1, 1):
        kernel = "×".join(map(str, layer.kernel_size))
        return f"a {kernel} convolution would have to be copied into a matrix, which costs more than it saves"
    if layer.stride != (1, 1):
        return "a strided convolution skips pixels"
    if layer.padding not in ((0, 0), "valid", "same") or layer.groups != 1:
        return "it is padded or grouped"
    return None


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""A grid whose range is that of the value itself: found each time that it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.kinds import Scheme
from recipelang.surgery.entries import Wrong
from recipelang.surgery.restrictions.grid import SMALLEST


@dataclass(frozen=True)
class Dynamic:
    """The nearest numbers of a grid over all of an activation, as ONNX's DynamicQuantizeLinear defines it.

    Formula: low = min(x, 0), high = max(x, 0) over the whole tensor; scale = (high − low) / 255, zero point
    round(−low / scale); integers clip(round(x / scale) + zero, 0, 255). Gradients pass straight through.

    One range for all of the tensor: what is computed of an image depends on those beside it in a batch.
    """

    kind: ClassVar[str] = "dynamic"
    computes: ClassVar[bool] = True
    scheme: ClassVar[Scheme] = Scheme(8)

    @property
    def bits(self) -> int:
        """Of one number."""
        return self.scheme.bits

    @property
    def name(self) -> str:
        """`8 bits, range computed`."""
        return f"{self.scheme.bits} bits, range computed"

    def why_not(self, value: Tensor) -> str:
        """Any tensor has a range."""
        return ""

    def apply(self, value: Tensor) -> Tensor:
        """The nearest numbers, of the value's type; computed in float32, also under autocast."""
        with torch.no_grad(), torch.autocast(value.device.type, enabled=False):
            given = value.detach().float()
            low, high = given.amin().clamp_max(0), given.amax().clamp_min(0)
            scale = ((high - low) / self.scheme.high).clamp_min(SMALLEST)
            zero = (-low / scale).round().clamp(0, self.scheme.high)
            snapped = (((given / scale).round() + zero).clamp(0, self.scheme.high) - zero) * scale
        return value + (snapped.to(value.dtype) - value.detach()) if value.requires_grad else snapped.to(value.dtype)

    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Nothing."""

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient

    def holds(self, value: Tensor) -> bool:
        """Any value is allowed."""
        return True

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Dynamic:
        """The same: no range is kept."""
        return self

    def stored(self, value: Tensor | None) -> int | None:
        """Nothing: no range is kept."""
        return None

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def json(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Dynamic:
        """The restriction of an untrusted entry.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if tensors or set(told) - {"kind"}:
            raise Wrong("a grid whose range is computed has settings or tensors")
        return cls()

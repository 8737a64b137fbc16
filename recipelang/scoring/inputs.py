"""The inputs of each weight matrix, observed where the product is computed, in whichever module or function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from recipelang.surgery.operands import unfused

#: numbers in one matrix of rows; larger inputs are processed in pieces
PIECE = 2**24


@dataclass(frozen=True)
class Entering:
    """The input of one product with a weight: of a convolution, or of a linear layer as a convolution without axes.

    Attributes:
        images: B×C or B×C×positions…
        kernel, stride, padding, dilation: one number for each axis of positions.
        groups: number of groups of I channels in the C channels.
    """

    images: Tensor
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def rows(self) -> int:
        """Number of vectors that enter the weight: images times output positions."""
        return self._windows(self.images[:, :1]).numel() // math.prod(self.kernel)

    def squares(self) -> Tensor:
        """Sum over rows of x², float64 G×I×kernel."""
        return self._summed(self.images.square())

    def sums(self) -> Tensor:
        """Sum over rows of x, float64 G×I×kernel."""
        return self._summed(self.images)

    def _summed(self, images: Tensor) -> Tensor:
        sums = images.sum(0, keepdim=True, dtype=torch.float64)
        windows = self._windows(sums)[0]  # C×positions…×kernel…: the sum over images is computed once
        axes = tuple(range(1, 1 + len(self.kernel)))
        return (windows.sum(axes) if axes else windows).unflatten(0, (self.groups, -1))

    def products(self) -> Tensor:
        """Sum over rows of x xᵀ, float64 G×K×K, the inputs K in the order kernel…, I."""
        size = self.images[0].numel() * math.prod(self.kernel)
        total: Tensor | None = None
        for images in self.images.split(max(1, PIECE // size)):
            rows = self._rows(images)
            part = (rows.mT @ rows).double()
            total = part if total is None else total.add_(part)
        assert total is not None  # a batch has images
        return total

    def sample(self, numbers: Tensor) -> Tensor:
        """Some of the rows by their numbers, image after image: G×n×K, the inputs K in the order kernel…, I."""
        axes = len(self.kernel)
        windows = self._windows(self.images).movedim(1, 1 + axes)  # B×positions…×C×kernel…
        chosen = windows[torch.unravel_index(numbers, windows.shape[: 1 + axes])]  # n×C×kernel…
        return chosen.unflatten(1, (self.groups, -1)).movedim(1, 0).movedim(2, -1).flatten(2)

    def _rows(self, images: Tensor) -> Tensor:
        """B×C×positions… → G×rows×K."""
        axes = len(self.kernel)
        windows = self._windows(images).unflatten(1, (self.groups, -1))  # B×G×I×positions…×kernel…
        first = windows.movedim((1, 2), (0, -1))  # G×B×positions…×kernel…×I
        return first.flatten(2 + axes).flatten(1, 1 + axes)

    def _windows(self, images: Tensor) -> Tensor:
        """B×C×positions… → B×C×output positions…×kernel…: what each output position sees."""
        windows = F.pad(images, [n for pad in reversed(self.padding) for n in (pad, pad)]) if self.kernel else images
        for axis, (size, step, apart) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True), start=2):
            windows = windows.unfold(axis, apart * (size - 1) + 1, step)[..., ::apart]
        return windows


#: called for each product with a weight: its name, and its input
See = Callable[[str, Entering], None]


@contextmanager
def watching(weights: Mapping[str, Tensor], see: See) -> Iterator[None]:
    """Inside the block, calls `see(name, entering)` before every product of an input with one of the weights.

    Products are observed below modules and functions, where a linear layer is a matrix product and every convolution
    the same operation: attention's projections and functional uses are observed like others. What would hide them is
    disabled meanwhile. Where parts of a weight are used separately (attention between different sequences), all their
    inputs count as inputs of the whole weight.

    Args:
        weights: parameter name → weight as it is used: O×I, or O×I×kernel.
        see: an exception raised by it is passed on.
    """
    with unfused(), _Watch(weights, see):
        yield


class Memory:
    """Recognises a weight by the memory of a product's operand.

    Args:
        weights: parameter name → weight.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._stored: dict[int, list[tuple[str, Tensor]]] = {}
        for name, weight in weights.items():
            self._stored.setdefault(weight.untyped_storage().data_ptr(), []).append((name, weight))

    def weight(self, used: Tensor) -> tuple[str, Tensor] | None:
        """The weight that is used here, whole or in part."""
        if used.layout is not torch.strided:
            return None
        for name, weight in self._stored.get(used.untyped_storage().data_ptr(), ()):
            start = weight.storage_offset()
            if start <= used.storage_offset() < start + weight.numel():
                return name, weight
        return None

    def matrix(self, used: Tensor) -> str:
        """The name of the weight of which this is a view …×I, its inputs along the last axis: x Wᵀ, and not x W;
        I×1×1 counts as I. "" for anything else."""
        found = self.weight(used)
        if found is None:
            return ""
        name, weight = found
        inputs = weight.shape[1]
        alike = used.shape[-1] == inputs == weight[0].numel() and (inputs == 1 or used.stride(-1) == 1)
        return name if alike else ""


class _Watch(TorchDispatchMode):
    """Sees the inputs of the weights in memory."""

    supports_higher_order_operators = True

    def __init__(self, weights: Mapping[str, Tensor], see: See) -> None:
        super().__init__()
        self._see, self._memory = see, Memory(weights)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        packet = getattr(func, "overloadpacket", func)
        if packet is torch.ops.aten.convolution:
            self._convolution(*args)
        elif packet in (torch.ops.aten.mm, torch.ops.aten.bmm):
            self._product(*args[:2])
        elif packet in (torch.ops.aten.addmm, torch.ops.aten.baddbmm):
            self._product(*args[1:3])
        elif packet is torch.ops.aten.linear:  # devices that do not decompose it
            self._product(args[0].flatten(0, -2), args[1].mT)
        return func(*args, **(kwargs or {}))

    def _convolution(
        self, images: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
        transposed: bool, output_padding: Any, groups: int,
    ) -> None:  # fmt: skip
        found = self._memory.weight(weight)
        if found and not transposed:
            axes = weight.ndim - 2
            # One number may apply to all axes.
            step, pad, apart = (tuple(ns) if len(ns) == axes else (*ns,) * axes for ns in (stride, padding, dilation))
            self._see(found[0], Entering(images, tuple(weight.shape[2:]), step, pad, apart, groups))

    def _product(self, left: Tensor, right: Tensor) -> None:
        """A product …×n×K @ …×K×N: rows times Wᵀ, or W times columns."""
        for matrix, weight in ((left, right.mT), (right.mT, left)):
            if name := self._memory.matrix(weight):
                self._see(name, Entering(matrix.flatten(0, -2)))
                return

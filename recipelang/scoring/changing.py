"""A network in which what enters or leaves its weights is changed while it runs, with gradients.

Products are met as functions of torch, above autograd, so that a change may hold parameters of its own that are
trained; their weights are recognised by memory, whichever module or function multiplies with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from recipelang.kinds import Again
from recipelang.scoring.inputs import Memory
from recipelang.scoring.maps import ENTERING, LEAVING
from recipelang.surgery.operands import unfused

#: a weight's name and what enters or leaves it, samples × channels × positions… → what computes in its place
Change = Callable[[str, Tensor], Tensor]

CONVOLUTIONS = {f"conv{turn}{axes}d" for turn in ("", "_transpose") for axes in (1, 2, 3)}
#: function → where its two operands are
MATRICES = {"matmul": 0, "__matmul__": 0, "mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
#: operands as keywords
WORDS = {"input": 0, "self": 0, "mat1": 0, "batch1": 0, "weight": 1, "other": 1, "mat2": 1, "batch2": 1}


@contextmanager
def changed(weights: Mapping[str, Tensor], side: str, change: Change) -> Iterator[None]:
    """Inside the block, what enters (or leaves) every product with one of the weights is changed.

    Args:
        weights: parameter name → parameter O×I, O×I×kernel, or I×O×kernel of a transposed convolution.
        side: `entering` or `leaving`.
        change: is given the channels along axis 1, and returns the same shape.
    """

    def product(met: _Met) -> Tensor:
        if side == LEAVING:
            return met.back(change(met.name, met.leaving(met.made())))
        return met.made(met.back(change(met.name, met.entering)))

    with unfused(), _Products(weights, product):
        yield


@contextmanager
def captured(weights: Mapping[str, Tensor], found: dict[str, list[Again]]) -> Iterator[None]:
    """Inside the block, every product with a whole weight is remembered in `found`, so that it can be made again."""

    def product(met: _Met) -> Tensor:
        if met.whole:
            found.setdefault(met.name, []).append(met.again())
        return met.made()

    with unfused(), _Products(weights, product):
        yield


def counts(module: nn.Module, weights: Mapping[str, Tensor], example: Tensor) -> dict[str, int]:
    """Name → how often a product with the weight is met in a forward pass."""
    found: dict[str, int] = {}

    def see(name: str, tensor: Tensor) -> Tensor:
        found[name] = found.get(name, 0) + 1
        return tensor

    with torch.no_grad(), changed(weights, ENTERING, see):
        module(example.clone())
    return found


class _Met:
    """One product with a weight.

    Args:
        name: of the weight, `weight` as it is and `used` as it is used here, in part or as a view.
        call: computes the product from its two operands.
        operands: the two; `at`: which of them is the activation.
        axis: of the channels in the activation, and in the product.
        turned: whether the weight is used as I×O.
    """

    def __init__(
        self, name: str, weight: Tensor, call: Callable[[Tensor, Tensor], Tensor], operands: tuple[Tensor, Tensor],
        at: int, axis: int, turned: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.call, self.operands, self.at, self.axis = name, call, operands, at, axis
        self.whole, self._turned = operands[1 - at].numel() == weight.numel(), turned

    @property
    def entering(self) -> Tensor:
        """The activation, channels along axis 1."""
        return self.operands[self.at].movedim(self.axis, 1)

    def back(self, tensor: Tensor) -> Tensor:
        """Channels where they were."""
        return tensor.movedim(1, self.axis)

    def leaving(self, made: Tensor) -> Tensor:
        """The result, channels along axis 1."""
        return made.movedim(self.axis, 1)

    def made(self, activation: Tensor | None = None) -> Tensor:
        """The product, of another activation if one is given."""
        operands = list(self.operands)
        if activation is not None:
            operands[self.at] = activation
        return self.call(*operands)

    def again(self) -> Again:
        """The product as a function of its weight. What enters is copied: later functions may change it in place."""
        shape = self.operands[1 - self.at].shape
        return _Again(self, self.operands[self.at].detach().clone(), shape)

    def of(self, activation: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """The product of other operands; the weight is used in this shape."""
        used = weight.reshape(*shape[:-2], shape[-1], shape[-2]).mT if self._turned else weight.reshape(shape)
        return self.leaving(self.call(*((activation, used) if self.at == 0 else (used, activation))))


@dataclass(frozen=True)
class _Again:
    """A product that can be made again (`kinds.Again`)."""

    met: _Met
    activation: Tensor
    shape: torch.Size

    @property
    def size(self) -> int:
        return self.activation.numel() * self.activation.element_size()

    def __call__(self, weight: Tensor) -> Tensor:
        return self.met.of(self.activation, weight, self.shape)


class _Products(TorchFunctionMode):
    """Hands every product with one of the weights to a function."""

    def __init__(self, weights: Mapping[str, Tensor], product: Callable[[_Met], Tensor]) -> None:
        super().__init__()
        self._memory, self._product = Memory(weights), product

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:
            with _transparent(), self:
                return func(*args, **kwargs)
        found = self._met(func, getattr(func, "__name__", ""), args, kwargs)
        return self._product(found) if found else func(*args, **kwargs)

    def _met(self, func: Any, kind: str, args: Any, kwargs: Any) -> _Met | None:
        if kind not in CONVOLUTIONS and kind != "linear" and kind not in MATRICES:
            return None
        start = MATRICES.get(kind, 0)
        words = {WORDS[word]: word for word in kwargs if word in WORDS and (start == 0 or word != "input")}
        places = [words[k] if k in words else start + k for k in (0, 1)]
        operands = tuple(kwargs.get(p) if isinstance(p, str) else args[p] if p < len(args) else None for p in places)
        if not all(isinstance(operand, Tensor) for operand in operands):
            return None

        def call(*given: Tensor) -> Tensor:
            new, more = list(args), dict(kwargs)
            for place, tensor in zip(places, given, strict=True):
                if isinstance(place, str):
                    more[place] = tensor
                else:
                    new[place] = tensor
            return func(*new, **more)

        return self._of(kind, call, operands)  # type: ignore[arg-type]

    def _of(self, kind: str, call: Callable[..., Tensor], operands: tuple[Tensor, Tensor]) -> _Met | None:
        left, right = operands
        if kind in CONVOLUTIONS:
            found = self._memory.weight(right)
            if found is None or left.ndim != right.ndim or right.shape != found[1].shape:
                return None
            return _Met(*found, call, operands, 0, 1)
        used = right if kind == "linear" else right.mT if right.ndim > 1 else right
        if left.ndim > 1 and used.ndim > 1 and (found := self._memory.weight(used)) and self._memory.matrix(used):
            return _Met(*found, call, operands, 0, -1, kind != "linear")
        if kind != "linear" and right.ndim > 1 and (found := self._memory.weight(left)) and self._memory.matrix(left):
            return _Met(*found, call, operands, 1, -2)
        return None


@contextmanager
def _transparent() -> Iterator[None]:
    """Attention's function looks for modes, and hands itself over to them whole; here it is to run."""
    names = functional.multi_head_attention_forward.__globals__
    known = names["has_torch_function"]
    names["has_torch_function"] = lambda *_: False
    try:
        yield
    finally:
        names["has_torch_function"] = known

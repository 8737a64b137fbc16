"""What weights read and make, sample by sample, with its gradient: the feature maps of a network.

Products are observed below modules and functions, like `inputs.watching`, and their gradients where autograd computes
them:

    forward    rows ──× Wᵀ──▶ outputs          remembered, the last on top
    backward   ∂rows ◀──× W── ∂outputs         belongs to what is on top

Autograd goes through the calls of a weight in exactly the opposite order. A call on which the loss does not depend has
no gradient; where such a call and others share one weight, gradients may be shown with what entered another call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recipelang.scoring.inputs import Memory
from recipelang.surgery.operands import unfused

aten = torch.ops.aten
ENTERING, LEAVING = "entering", "leaving"
#: how the rows of a product are made of samples: sample after sample; the same for every sample; position after
#: position; of no sample
BY_SAMPLE, CONSTANT, BY_POSITION, WITHOUT = "sample", "constant", "position", "without"
#: the operands of products of matrices, by operation
_OPERANDS = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}
#: called with the name of a weight, the number of its product in this pass, n×C×P there and its gradient or None
See = Callable[[str, int, Tensor, Tensor | None], None]


class Sides(TorchDispatchMode):
    """Shows what enters or leaves the products with weights while a network is `running` and `differentiating`.

    Args:
        weights: name → parameter O×I or O×I×kernel, or I×O×kernel of a transposed convolution.
        side: `entering`: C channels that enter; `leaving`: C outputs, before a norm or an activation.
        see: is called in order of execution, with gradients in order of differentiation.
        gradients: whether `see` waits for the gradients.
        shaped: whether positions keep their axes, n×C×H×W at convolutions.
    """

    supports_higher_order_operators = True

    def __init__(
        self, weights: Mapping[str, Tensor], side: str, see: See, gradients: bool = False, shaped: bool = False
    ) -> None:
        super().__init__()
        self._memory, self._leaving, self._see = Memory(weights), side == LEAVING, see
        self._gradients, self._shaped, self._backward = gradients, shaped, False
        self._calls: Counter[str] = Counter()
        self._waiting: dict[str, list[tuple[int, Tensor]]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside the block the network runs."""
        self._backward = False
        self._calls.clear()
        self._waiting.clear()
        with unfused(), self:
            yield

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Inside the block the loss of what ran before is differentiated."""
        self._backward = True
        with self:
            yield
        self._waiting.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        packet = getattr(func, "overloadpacket", func)
        made = func(*args, **(kwargs or {}))
        with torch.no_grad():
            (self._differentiated if self._backward else self._computed)(packet, args, made)
        return made

    def _computed(self, packet: Any, args: tuple[Any, ...], made: Any) -> None:
        if packet is aten.convolution:
            if found := self._memory.weight(args[1]):
                self._met(found[0], self._positions(made if self._leaving else args[0]))
        elif (first := _OPERANDS.get(packet)) is not None:
            left, right = args[first : first + 2]
            if name := self._memory.matrix(right.mT):
                self._met(name, _rows(made if self._leaving else left))
            elif name := self._memory.matrix(left):
                self._met(name, _rows(made.mT if self._leaving else right.mT))

    def _positions(self, images: Tensor) -> Tensor:
        return images if self._shaped else images.flatten(2)

    def _met(self, name: str, tensor: Tensor) -> None:
        """n×C×P at a product of the forward pass."""
        number = self._calls[name]
        self._calls[name] += 1
        if not self._gradients:
            self._see(name, number, tensor.detach(), None)
            return
        # What leaves may be changed in place by the next function; what enters is needed by autograd as it is.
        self._waiting.setdefault(name, []).append((number, tensor.clone() if self._leaving else tensor))

    def _differentiated(self, packet: Any, args: tuple[Any, ...], made: Any) -> None:
        if packet is aten.convolution_backward:
            if found := self._memory.weight(args[2]):
                gradient = args[0] if self._leaving else made[0]
                self._known(found[0], None if gradient is None else self._positions(gradient))
        elif (first := _OPERANDS.get(packet)) is not None:
            left, right = args[first : first + 2]
            if self._multiplies(right):
                self._known(self._memory.matrix(right), _rows(left if self._leaving else made))
            elif self._multiplies(left.mT):
                self._known(self._memory.matrix(left.mT), _rows(right.mT if self._leaving else made.mT))

    def _multiplies(self, used: Tensor) -> bool:
        """Whether a view O×I of a weight is used as such: x W, of which the outputs are summed."""
        found = self._memory.weight(used)
        return found is not None and bool(self._memory.matrix(used)) and used.stride(-2) == found[1].stride(0)

    def _known(self, name: str, gradient: Tensor | None) -> None:
        """The gradient n×C×P of the last product with this weight."""
        waiting = self._waiting.get(name)
        if waiting:
            number, tensor = waiting.pop()
            if gradient is not None and gradient.shape == tensor.shape:
                self._see(name, number, tensor.detach(), gradient)


def _rows(matrix: Tensor) -> Tensor:
    """…×n×C → n×C×1."""
    return matrix.flatten(0, -2)[..., None]


def by_sample(tensor: Tensor, order: str, samples: int) -> Tensor:
    """n×C×P, n rows or images of B samples → B×C×(n/B · P); 1×C×(n · P) where they belong to no sample."""
    if len(tensor) == samples and order != WITHOUT:
        return tensor
    if order == WITHOUT or len(tensor) % samples:
        return tensor.movedim(1, 0).flatten(1)[None]
    if order == BY_POSITION:
        return tensor.unflatten(0, (-1, samples)).movedim(0, 2).flatten(2)
    return tensor.unflatten(0, (samples, -1)).movedim(1, 2).flatten(2)


def orders_of(module: nn.Module, weights: Mapping[str, Tensor], three: Tensor) -> dict[str, tuple[str, ...]]:
    """Name → how the rows of each of its products are made of samples, found by changing one sample of two.

    Args:
        module: in evaluation mode; it is run three times.
        weights: as for `Sides`.
        three: three inputs.
    """

    def run(images: Tensor) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {}
        sides = Sides(weights, ENTERING, lambda name, _, rows, __: found.setdefault(name, []).append(rows.clone()))
        with torch.no_grad(), sides.running():
            module(images)
        return found

    one, other, more = run(three[:2].clone()), run(three[[0, 2]].clone()), run(three.clone())
    return {
        name: tuple(_order(*rows) for rows in zip(calls, other.get(name, []), more.get(name, []), strict=False))
        for name, calls in one.items()
    }


def _order(one: Tensor, other: Tensor, more: Tensor) -> str:
    """Of the rows n×C×P of two samples, of which the second is another in `other`, and of three in `more`."""
    if 3 * len(one) != 2 * len(more) or len(one) % 2 or one.shape != other.shape:
        return WITHOUT
    changed = (one != other).flatten(1).any(1)
    if not bool(changed.any()):
        return CONSTANT
    if bool(changed[: len(one) // 2].any()) and not bool(changed[0::2].any()):
        return BY_POSITION
    return BY_SAMPLE

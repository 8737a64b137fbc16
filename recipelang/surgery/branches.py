"""Residual branches that a parent adds: `x = x + block(x)`, written in its `forward` and not in a separate module.

Which tensors are added is observed below modules and functions. The output of a module is its branch from there on,
also scaled or reshaped; the sum is residual where the other operand is the module's input, or what that input was
computed from without a product with weights: `x + attention(norm(x))`, but not `shortcut(x) + conv(x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

#: operators whose output is no longer their input with another scale
PRODUCTS = {
    "convolution", "_convolution", "mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "linear", "matmul", "_trilinear",
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd", "mkldnn_rnn_layer", "lstm", "gru", "rnn_tanh", "rnn_relu", "_cudnn_rnn",
    "flex_attention",
}  # fmt: skip
#: operators that map zeros to zeros: their output of a branch is still the branch
CARRYING = {
    "alias", "clone", "contiguous", "detach", "div", "div_", "dropout", "elu", "expand", "gelu", "leaky_relu", "mul",
    "mul_", "native_dropout", "neg", "permute", "relu", "relu_", "reshape", "_reshape_alias", "roll", "silu", "silu_",
    "squeeze", "t", "tanh", "_to_copy", "transpose", "unsqueeze", "_unsafe_view", "view",
}  # fmt: skip

#: called for a sum: path of the module whose branch it is, the other operand, the sum
Meet = Callable[[str, Tensor, Tensor], None]


@dataclass(frozen=True)
class _Origin:
    """What is known of a tensor: all that it was computed from without a product, itself included, and its branches."""

    sources: frozenset[int]
    own: int
    branches: frozenset[str] = frozenset()


class Sums(TorchDispatchMode):
    """Watches sums while a network runs.

    Args:
        meet: called for every residual sum of a module that was `entered` and `left`.
    """

    supports_higher_order_operators = True

    def __init__(self, meet: Meet) -> None:
        super().__init__()
        self.paused = False
        self._meet = meet
        self._count = 0
        self._origins: Any = WeakTensorKeyDictionary()
        self._given: dict[str, frozenset[int]] = {}

    def entered(self, path: str, tensors: list[Tensor]) -> None:
        """A module is called with these tensors."""
        self._given[path] = frozenset().union(*(self._origin(t).sources for t in tensors))

    def left(self, path: str, output: Tensor) -> None:
        """The output of a module is its branch from here on."""
        known = self._origin(output)
        self._origins[output] = _Origin(known.sources, known.own, known.branches | {path})

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        name = getattr(func, "overloadpacket", func).__name__
        before = [self._origin(t) for t in tree_leaves((args, kwargs)) if _activation(t)]
        output = func(*args, **(kwargs or {}))
        sources: frozenset[int] = frozenset()
        if name not in PRODUCTS:
            sources = sources.union(*(origin.sources for origin in before))
        branches: frozenset[str] = frozenset()
        if name in CARRYING:
            branches = branches.union(*(origin.branches for origin in before))
        for t in tree_leaves(output):
            if isinstance(t, Tensor):
                self._origins[t] = self._new(sources, branches)
        if name in ("add", "add_") and len(before) == 2 and isinstance(args[0], Tensor):
            self._added(args[:2], before, output)
        return output

    def _added(self, operands: Any, origins: list[_Origin], output: Tensor) -> None:
        for k, other in ((0, 1), (1, 0)):
            for path in sorted(origins[k].branches):
                # After an in-place addition the operand already holds the sum: only its shape is used.
                if operands[other].shape == output.shape and origins[other].own in self._given.get(path, ()):
                    self._meet(path, operands[other], output)

    def _origin(self, t: Tensor) -> _Origin:
        if t not in self._origins:
            self._origins[t] = self._new(frozenset(), frozenset())
        known: _Origin = self._origins[t]
        return known

    def _new(self, sources: frozenset[int], branches: frozenset[str]) -> _Origin:
        self._count += 1
        return _Origin(sources | {self._count}, self._count, branches)


def _activation(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, torch.nn.Parameter)

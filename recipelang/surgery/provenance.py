"""Following tensors through a network: which come from its input, and which from parameters alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recipelang.surgery.operands import Side, sides

#: operations whose result is their input in another place or precision
_COPIES = {torch.ops.aten.clone, torch.ops.aten._to_copy}
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
#: layers of torch that multiply; what their subclasses compute is found by running
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.Bilinear, *RECURRENT)


@dataclass(frozen=True)
class Use:
    """One product with a weight: `side`, computed from `sources`, in the module at `path`; with a constant as the other
    operand where `constant`. `direct` names the parameter that it is (a view of), `whole` is that parameter."""

    side: Side
    sources: frozenset[str]
    direct: str
    whole: Tensor | None
    path: str
    kind: str
    constant: bool

    @property
    def value(self) -> Tensor:
        """The operand with its outputs first."""
        tensor = self.side.tensor.detach()
        if "convolution" in self.kind:
            return tensor.transpose(0, 1) if self.side.inputs == 0 else tensor
        return tensor.mT if self.side.inputs == -2 else tensor


class Tracker(TorchDispatchMode):
    """Tracks, by their memory, which tensors come from the input, and which from parameters alone."""

    supports_higher_order_operators = True

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.uses: list[Use] = []
        self.calls: list[tuple[str, nn.Module]] = [("", nn.Identity())]
        self._parameters: dict[int, list[tuple[str, Tensor]]] = {}
        for name, parameter in module.named_parameters():
            self._parameters.setdefault(memory_of(parameter), []).append((name, parameter))
        #: memory → parameters that it was computed from; None: from the input
        self._origin: dict[int, frozenset[str] | None] = {memory_of(example): None}
        self._held: list[Tensor] = []  # so that memory of tensors computed from parameters is not reused

    def hooks(self, module: nn.Module) -> Iterator[Any]:
        """Hooks that maintain the stack of modules being called."""
        for path, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                continue  # takes no hooks; what it computes is observed anyway
            yield part.register_forward_pre_hook(lambda part, _, path=path: self.calls.append((path, part)))
            yield part.register_forward_hook(lambda *_: _pop(self.calls), always_call=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        origins = [self.origin(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        activates = self._look(getattr(func, "overloadpacket", func), args)
        outcome = func(*args, **kwargs)
        self._note_copy(getattr(func, "overloadpacket", func), args, outcome)
        origin = None if activates or None in origins else frozenset[str]().union(*filter(None, origins))
        for leaf in tree_leaves(outcome):
            if isinstance(leaf, Tensor):
                self._note(leaf, origin)
        return outcome

    def origin(self, tensor: Tensor) -> frozenset[str] | None:
        """The parameters that a tensor is computed from, none for a constant; None: it depends on the input."""
        memory = memory_of(tensor)
        if not memory:
            return None
        if memory in self._origin:
            return self._origin[memory]
        direct, _ = self._direct(tensor)
        return frozenset((direct,)) if direct else frozenset()

    def _note(self, tensor: Tensor, origin: frozenset[str] | None) -> None:
        memory = memory_of(tensor)
        if not memory or (memory in self._parameters and origin is not None):
            return  # a view of a parameter is identified by its memory
        self._origin[memory] = origin
        if origin:
            self._held.append(tensor)

    def _note_copy(self, operation: Any, args: tuple[Any, ...], outcome: Any) -> None:
        """A whole parameter in another precision is that parameter."""
        if operation not in _COPIES or not isinstance(outcome, Tensor):
            return
        name, whole = self._direct(args[0])
        if whole is not None and whole.shape == args[0].shape:
            self._origin.pop(memory_of(outcome), None)
            self._parameters[memory_of(outcome)] = [(name, outcome)]

    def _look(self, operation: Any, args: tuple[Any, ...]) -> bool:
        """Record the weights of a product; returns whether its output is an activation for any inputs."""
        activates = False
        for side in sides(operation, args):
            mine = self.origin(side.tensor)
            if not mine:
                continue
            theirs, (direct, whole) = self.origin(side.other), self._direct(side.tensor)
            path, part = self.calls[-1]
            inside = bool(direct) and isinstance(part, LAYERS) and direct.startswith(f"{path}." if path else "")
            activates |= inside
            if inside or not theirs:
                kind = "recurrent" if isinstance(part, RECURRENT) else side.kind
                constant = theirs is not None and not inside
                self.uses.append(Use(side, mine, direct, whole, path, kind, constant))
        return activates

    def _direct(self, tensor: Tensor) -> tuple[str, Tensor | None]:
        """The parameter that a tensor is, or is a view of, and its name; "" and None for others."""
        for name, parameter in self._parameters.get(memory_of(tensor), ()):
            start = parameter.storage_offset()
            if start <= tensor.storage_offset() < start + max(1, parameter.numel()):
                return name, parameter
        return "", None


def _pop(calls: list[Any]) -> None:
    calls.pop()


def memory_of(tensor: Tensor) -> int:
    """An identifier of a tensor's memory; 0 for tensors without their own memory."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else 0

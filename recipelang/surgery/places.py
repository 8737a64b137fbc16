"""Places where a network's numbers can be changed while it runs, found without touching its modules.

A mode sees every torch function of a forward pass by the name `PATH:FUNCTION`: the module that runs it, and how often
that module called it before (`layer1.0.relu:relu`, `layer1.0.relu:relu[2]`). Such names stay the same when something
elsewhere is removed. What the network is given is the place `input`, a parameter is a place by its own name. What a
product alone reads is a place as well, `layer1.0.conv1:conv2d(input)`: other readers of the same numbers get them as
they are. A ReLU directly before it is left out there: what is changed is what the ReLU read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from recipelang.errors import Refusal
from recipelang.surgery.restricting import INPUT
from recipelang.surgery.tracing import evaluating, first_line, hooked
from recipelang.surgery.unrectified import Unrectified

#: multiply what they read first with weights; attention reads three
PRODUCTS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}
ATTENTION = "multi_head_attention_forward"
SUMS = {"add", "add_", "__add__", "__iadd__", "__radd__"}
#: computed together with what is before them, by every runtime
FUSED = {"batch_norm", "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_"}
#: return numbers that they have read, and zeros
MOVES = {
    "__getitem__", "alpha_dropout", "channel_shuffle", "chunk", "contiguous", "dropout", "dropout2d", "expand",
    "feature_dropout", "flatten", "max_pool1d", "max_pool2d", "max_pool3d", "movedim", "native_channel_shuffle", "pad",
    "permute", "pixel_shuffle", "pixel_unshuffle", "reshape", "reshape_as", "roll", "select", "split", "squeeze", "t",
    "to", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as",
}  # fmt: skip

#: after the place of a product: what it reads
READ = "(input)"

Change = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class FunctionCall:
    """A torch function in a forward pass.

    Attributes:
        function: its name: `conv2d`, `__iadd__`.
        path: of the module that runs it.
        reads: the places whose numbers it reads, in order; for a product, without its weights.
        parameters: the names of the parameters that it reads.
    """

    function: str
    path: str
    reads: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def computes(self) -> bool:
        """Whether a runtime computes it in integers: a product with weights, or a sum of two activations."""
        sums = self.function in SUMS and len(self.reads) > 1
        return (self.function in PRODUCTS and bool(self.reads)) or self.function == ATTENTION or sums

    @property
    def layers(self) -> set[str]:
        """The paths of the modules that compute so: of a product those that hold its weight, wherever it is called."""
        held = {name.rpartition(".")[0] for name in self.parameters} if self.function in PRODUCTS else set()
        return held or {self.path}


class _Calls(TorchFunctionMode):
    """Every torch function of a forward pass, by place."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._stack: list[str] = []
        self._count: Counter[str] = Counter()
        self._names: dict[int, str] = {}
        for name, parameter in module.named_parameters():
            self._names[id(parameter)] = name

    def hooks(self, module: nn.Module) -> Iterator[Any]:
        """Hooks that follow which module runs; every call of the whole module is counted from the start.

        Registered for one pass, since a copy of the module copies them and would record its own passes as well.
        """
        for path, part in module.named_modules():
            yield part.register_forward_pre_hook(lambda *_, path=path: self._enter(path))
            yield part.register_forward_hook(lambda *_: self._stack.__delitem__(-1))

    def _enter(self, path: str) -> None:
        if not path:
            self._stack, self._count = [], Counter()
        self._stack.append(path)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = getattr(func, "__name__", "")
        if kind in ("__get__", "__set__") or kind.startswith("_has_"):
            made = func(*args, **(kwargs or {}))
            self.seen_as(args, made)
            return made
        place = f"{self._path}:{kind.strip('_')}"
        self._count[place] += 1
        count = self._count[place]
        return self.called(f"{place}[{count}]" if count > 1 else place, kind, func, args, kwargs or {})

    @property
    def _path(self) -> str:
        """Of the module that runs."""
        return self._stack[-1] if self._stack else ""

    def called(self, place: str, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Do what the function does."""
        raise NotImplementedError

    def seen_as(self, args: Any, made: Any) -> None:
        """An attribute of a tensor was read: `x.mT` has the numbers of x, and is no place of its own."""

    def parameter(self, value: Any) -> str:
        """The name of a parameter; "" for anything else."""
        return self._names.get(id(value), "") if isinstance(value, nn.Parameter) else ""


class _Finding(_Calls):
    """Which place reads which. A tensor is known by its identity and is held, so that its identity stays its own."""

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        super().__init__(module)
        self._made, self._held = {id(example): INPUT}, [example]
        self.calls: dict[str, FunctionCall] = {INPUT: FunctionCall(INPUT, "", (), ())}

    def called(self, place: str, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = func(*args, **kwargs)
        floats = [x for x in tree_leaves(made) if isinstance(x, Tensor) and x.is_floating_point()]
        if floats:
            reads = tuple(self._made[id(x)] for x in read if id(x) in self._made)
            parameters = tuple(name for x in read if (name := self.parameter(x)))
            self.calls[place] = FunctionCall(kind, self._path, reads, parameters)
            if reads:  # what depends on parameters alone is a weight
                for x in floats:
                    self._made[id(x)] = place
            self._held += floats
        return made

    def seen_as(self, args: Any, made: Any) -> None:
        place = self._made.get(id(args[0])) if args else None
        if place is not None and isinstance(made, Tensor) and made.is_floating_point():
            self._made.setdefault(id(made), place)
            self._held.append(made)


class _Changing(_Calls):
    """Every place changed as it is computed, every parameter as it is read; what products read, where that is asked."""

    def __init__(self, module: nn.Module, change: Change, reading: bool) -> None:
        super().__init__(module)
        self._change, self._unrectified = change, Unrectified() if reading else None

    def called(self, place: str, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = tree_map_only(nn.Parameter, self._read, (args, kwargs))
        if self._unrectified is None or not args or not isinstance(args[0], Tensor):
            return self._changed(place, func(*args, **kwargs))
        if kind in PRODUCTS:
            read = self._unrectified.of(args[0])
            changed = self._change(place + READ, read)
            args = args if changed is read else (changed, *args[1:])
        note = self._unrectified.before(kind, func, args, kwargs)
        made = self._changed(place, func(*args, **kwargs))
        note(made)
        return made

    def _changed(self, place: str, made: Any) -> Any:
        if isinstance(made, Tensor):
            return self._change(place, made) if made.is_floating_point() else made
        if isinstance(made, tuple | list):
            return tree_map_only(Tensor, lambda x: self._change(place, x) if x.is_floating_point() else x, made)
        return made

    def _read(self, value: nn.Parameter) -> Tensor:
        name = self.parameter(value)
        return self._change(name, value) if name else value


@contextmanager
def at_places(module: nn.Module, change: Change, *, reading: bool = False) -> Iterator[None]:
    """Within the block, `module(inputs)` computes with every place changed.

    Args:
        module: keeps its class, its modules and its parameters.
        change: a place and its value → what computes in its stead, of the same shape.
        reading: whether what products alone read is changed too (`PLACE(input)`); the same value leaves a product with
            what it reads anyway.
    """
    mode = _Changing(module, change, reading)

    def given(_: nn.Module, args: Any) -> Any:
        if not (args and isinstance(args[0], Tensor)):
            return args
        with torch._C.DisableTorchFunction():  # what changes the input is not a function of the network
            return (change(INPUT, args[0]), *args[1:])

    with hooked([module.register_forward_pre_hook(given), *mode.hooks(module)]), mode:
        yield


def reads(places: Iterable[str]) -> bool:
    """Whether one of the places is what a product alone reads."""
    return any(place.endswith(READ) for place in places)


def linear_reads(place: str) -> bool:
    """Whether a place is what a linear layer reads, whose channels are the last dimension."""
    return place.endswith(READ) and place.removesuffix(READ).rpartition(":")[2].partition("[")[0] == "linear"


def calls_of(module: nn.Module, example: Tensor) -> dict[str, FunctionCall]:
    """Place → the function that computes it, in order of execution in evaluation mode, `input` first.

    Args:
        module: is not changed.
        example: an input; a copy is used.

    Raises:
        Refusal: RCP1405: the module does not run while it is observed.
    """
    finding = _Finding(module, example := example.clone())
    try:
        with hooked(finding.hooks(module)), evaluating(module), finding:
            module(example)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP1405",
            f"the network's activations cannot be found: while they are observed it raises "
            f"{type(error).__name__}: {first_line(error)}",
            "remove compiled and custom code from its forward function, or write `quantize weights to …`",
        ) from error
    return finding.calls


def readers_of(calls: Mapping[str, FunctionCall]) -> dict[str, tuple[str, ...]]:
    """Place → the places that are computed from it."""
    found: dict[str, list[str]] = {place: [] for place in calls}
    for place, call in calls.items():
        for read in call.reads:
            found[read].append(place)
    return {place: tuple(readers) for place, readers in found.items()}


def quantizable(calls: Mapping[str, FunctionCall]) -> dict[str, tuple[str, ...]]:
    """Place → the paths of the modules that compute with it in integers, for every place worth a grid.

    A grid belongs where products and sums read: not on what the next function is computed together with (`FUSED`), nor
    on what only moves numbers that are on a grid already (`moved`).
    """
    readers = readers_of(calls)

    def computing(place: str) -> set[str]:
        paths: set[str] = set()
        for reader in readers[place]:
            call = calls[reader]
            if call.computes:
                paths |= call.layers
            elif call.function in MOVES:
                paths |= computing(reader)
        return paths

    found = {}
    for place, call in calls.items():
        made = place == INPUT or (bool(call.reads) and call.function not in MOVES)
        if made and (paths := computing(place)):
            found[place] = tuple(sorted(paths))
    return found


def moved(calls: Mapping[str, FunctionCall]) -> dict[str, str]:
    """Place of a moving function → the place that its numbers come from: both are on the same grid."""
    found: dict[str, str] = {}
    for place, call in calls.items():
        if call.function in MOVES and call.reads:
            found[place] = found.get(call.reads[0], call.reads[0])
    return found

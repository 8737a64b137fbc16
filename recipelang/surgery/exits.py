"""Networks that answer earlier: a classifier behind one of their modules, and nothing of what comes after it.

The module runs as before and its output is noted. What would run after it has left the network: from containers its
entries are gone, and in place of other modules stand-ins end the pass as soon as one of them is called. So the code of
`forward` needs not be known, and everything before the exit keeps its path and its parameters.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Point
from recipelang.surgery.network import Habits
from recipelang.surgery.points import canonical
from recipelang.surgery.tracing import evaluating, hooked
from recipelang.surgery.wiring import main_tensor

#: where the classifier of an exit is
HEAD = "exit_classifier"
#: places along one side of the map that a classifier looks at; larger maps are averaged first
MOST_PLACES = 16
#: more tokens than a square of them that are not places: class and distillation tokens, registers
MOST_EXTRA = 8


@dataclass(frozen=True)
class Exit:
    """Where a network answers, and with what.

    Attributes:
        path: of the module behind which the classifier is.
        shape: of its output for one sample, as `kinds.Point` has it.
        axis: of its channels, batch included, as the network has it.
        classes: of the answer.
        expand: how many times as many channels the classifier has inside.
    """

    path: str
    shape: tuple[int, ...]
    axis: int
    classes: int
    expand: int

    @staticmethod
    def at(point: Point, classes: int, expand: int) -> Exit:
        """The exit behind a position."""
        return Exit(point.path, point.shape, point.channels_axis, classes, expand)

    def head(self) -> Classifier:
        """A new classifier, from torch's global random numbers."""
        return Classifier(self.shape, self.classes, self.expand)


class Classifier(nn.Module):
    """A small classifier of a map or of tokens (Elkerdawy's thesis, section 7.2.4 and figure 7.4).

    A linear layer widens the features of each place to `expand` times as many; tokens are put into the map that they
    are the places of; a convolution, BatchNorm and GELU follow, and a linear layer reads their mean over the map. The
    thesis leaves the convolution open: it is 3×3 and one filter for each channel, so that the classifier is small also
    behind wide layers. Maps larger than 16×16 are averaged first. Tokens that are no square, such as those of a text,
    are a map one place wide.

    Args:
        shape: of one sample: channels × height × width, or tokens × channels.
        classes: of the answer.
        expand: see above.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, expand: int) -> None:
        super().__init__()
        channels = shape[0] if len(shape) == 3 else shape[-1]
        self.grid = _grid(shape)
        wide = expand * channels
        self.widen = nn.Conv2d(channels, wide, 1)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.act = nn.GELU()
        self.classify = nn.Linear(wide, classes)

    def forward(self, features: Tensor) -> Tensor:
        """B×C×H×W or B×T×D → B×classes."""
        maps = features if features.ndim == 4 else self._placed(features)
        stride = tuple(max(1, math.ceil(length / MOST_PLACES)) for length in maps.shape[-2:])
        if stride != (1, 1):
            maps = nn.functional.avg_pool2d(maps, stride, ceil_mode=True)
        mixed: Tensor = self.act(self.norm(self.mix(self.widen(maps))))
        answer: Tensor = self.classify(mixed.mean((2, 3)))
        return answer

    def _placed(self, tokens: Tensor) -> Tensor:
        rows, columns = self.grid if self.grid[1] > 1 else (tokens.shape[1], 1)
        return tokens[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """The map that the places of an activation are: the largest square of tokens, or all of them in one column."""
    if len(shape) == 3:
        return shape[1], shape[2]
    side = math.isqrt(shape[0])
    return (side, side) if side > 1 and shape[0] - side * side <= MOST_EXTRA else (shape[0], 1)


def after(module: nn.Module, path: str, example: Tensor) -> tuple[str, ...]:
    """The outermost modules that an exit behind `path` leaves without a task: those first called after it, in order.

    What is never called stays: its parameters may be read by the module that holds it, as attention does.
    """
    called: list[str] = []
    done: list[int] = []

    def entering(name: str) -> Any:
        return lambda *_: called.append(name)

    parts = [(name, part) for name, part in module.named_modules() if name]
    hooks = [part.register_forward_pre_hook(entering(name)) for name, part in parts]
    hooks.append(module.get_submodule(path).register_forward_hook(lambda *_: done.append(len(called))))
    with hooked(hooks), evaluating(module):
        module(example.clone())
    before = set(called[: done[0]])
    gone: list[str] = []
    for name in dict.fromkeys(called[done[0] :]):
        used = name in before or any(other.startswith(f"{name}.") for other in before)
        if not used and not any(name.startswith(f"{outer}.") for outer in gone):
            gone.append(name)
    return tuple(gone)


class _Reached(Exception):
    """The pass is behind the exit."""


class Gone(nn.Module):
    """In place of a module behind the exit: ends the pass. Before the exit, where only some passes need it, nothing."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Ends the pass; not in `forward`, since tracers of torch count calls that begin and do not end."""
        if _PASSES.found and _PASSES.found[-1]:
            raise _Reached


class _End:
    """What a module that holds the exit returns behind it: to use it in any way ends the pass.

    An activation would do for most code, but not for code that takes several outputs apart: a batch of two comes apart
    as well, and tracers keep the operation that fails next.
    """

    def __getattr__(self, name: str) -> Any:
        raise _Reached

    def __iter__(self) -> Iterator[Any]:
        raise _Reached

    def __getitem__(self, key: Any) -> Any:
        raise _Reached

    @classmethod
    def __torch_function__(cls, *args: Any) -> Any:
        raise _Reached


class _Passes(threading.local):
    """What the exits of the passes under way have seen, the innermost last."""

    def __init__(self) -> None:
        self.found: list[list[Any]] = []


_PASSES = _Passes()


class Exited(nn.Module):
    """A network with an exit: a base class of the one that `leave` makes."""


@contextmanager
def _passing() -> Iterator[list[Any]]:
    seen: list[Any] = []
    _PASSES.found.append(seen)
    try:
        yield seen
    finally:
        _PASSES.found.pop()


def _exited(cls: type[nn.Module]) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _passing() as seen:
            _ended(seen, cls, self, args, kwargs)
        return self.get_submodule(HEAD)(canonical(seen[0], self.exit_axis))

    return forward


def _holding(cls: type[nn.Module]) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen = _PASSES.found[-1] if _PASSES.found else []
        whole = _ended(seen, cls, self, args, kwargs)
        return _End() if seen else whole

    return forward


def _noting(cls: type[nn.Module]) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = cls.forward(self, *args, **kwargs)
        if _PASSES.found:
            _PASSES.found[-1].append(main_tensor(output))
        return output

    return forward


def _ended(seen: list[Any], cls: type[nn.Module], module: nn.Module, args: Any, kwargs: Any) -> Any:
    """What a module returns, or what was seen where it ends behind the exit: code there meets nothing that it expects,
    so whatever it raises says no more than that."""
    try:
        return cls.forward(module, *args, **kwargs)
    except Exception:
        if not seen:
            raise
    return seen[0]


@functools.cache
def _with_forward(cls: type[nn.Module], how: Callable[[type[nn.Module]], Any], *bases: type) -> type[nn.Module]:
    """A class of the same name that inherits from a module's own, with another `forward`."""
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (*bases, cls), {"forward": how(cls), **named})


def leave(module: nn.Module, exit: Exit, gone: Sequence[str], head: Classifier) -> None:
    """Have a network answer behind a module from now on, in place.

    Args:
        module: the network.
        exit: where.
        gone: modules that leave it: see `after`.
        head: what answers.
    """
    for path in gone:
        parent, _, name = path.rpartition(".")
        holder = module.get_submodule(parent)
        if isinstance(holder, nn.Sequential | nn.ModuleList):
            del holder._modules[name]
        else:
            setattr(holder, name, Gone())
    names = exit.path.split(".")
    for number in range(1, len(names) + 1):
        part: Any = module.get_submodule(".".join(names[:number]))
        if not isinstance(part, nn.Sequential | nn.ModuleList) or number == len(names):
            of: Any = type(part)
            part.__class__ = _with_forward(of, _noting if number == len(names) else _holding)
    habits = getattr(module, "_recipelang_habits", Habits())
    kind: Any = type(module)
    module.__class__ = _with_forward(kind, _exited, Exited)
    if isinstance(module, nn.Sequential):
        module.add_module("exit_end", Gone())  # or its pass would go on to the classifier
    module.add_module(HEAD, head.train(module.training))
    module.__dict__["exit_axis"] = exit.axis
    if habits != Habits():
        module.__dict__["_recipelang_habits"] = replace(habits, answer=())


def answered_at(module: nn.Module, exit: Exit, head: nn.Module, example: Tensor) -> Tensor:
    """What a classifier answers on the whole network's activation, in evaluation mode: the reference of an exit."""
    seen: list[Tensor] = []

    def keep(part: nn.Module, args: Any, output: Any) -> None:
        found = main_tensor(output)
        assert found is not None
        seen.append(found.clone())  # later modules may work in place

    with hooked([module.get_submodule(exit.path).register_forward_hook(keep)]), evaluating(module):
        module(example.clone())
    judged = copy.deepcopy(head).eval()
    with torch.no_grad():
        answer: Tensor = judged(canonical(seen[0], exit.axis))
    return answer

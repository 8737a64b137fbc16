"""Residual layers, found in one forward pass by running every module a second time with its weights at zero.

identity   the module then returns its input: its skip connection is inside
branch     it then returns zeros, and its parent adds its output to its input
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from recipelang.surgery.branches import Sums
from recipelang.surgery.neutral import run_neutral
from recipelang.surgery.operands import unfused
from recipelang.surgery.tracing import evaluating, hooked
from recipelang.surgery.wiring import IDENTITY, ZERO, Wires, main_tensor, tensors_in, trace_wires, values_in

#: containers that hold modules and do not determine what these do
LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


@dataclass(frozen=True)
class ResidualLayer:
    """A residual layer.

    Attributes:
        path: of the module.
        shape: of the tensor that passes through.
        wires: what it returns without its branch (`wiring`).
        branch: whether its parent adds its output to its input.
    """

    path: str
    shape: tuple[int, ...]
    wires: Wires
    branch: bool


@dataclass
class _Pass:
    """What one forward pass shows.

    Attributes:
        identities, zeros: path → shape and wires of the modules that then return their input, or zeros.
        branches: those of `zeros` that their parents add.
        failed: modules that cannot compute without weights; `opaque`: those whose output nothing else can return.
        counts, shapes: how often a module ran, and the shapes of its main input and output tensors.
    """

    identities: dict[str, tuple[tuple[int, ...], Wires]] = field(default_factory=dict)
    zeros: dict[str, tuple[tuple[int, ...], Wires]] = field(default_factory=dict)
    branches: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    shapes: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def find_residual(module: nn.Module, example: Tensor, alone: set[str]) -> tuple[list[ResidualLayer], dict[str, str]]:
    """The smallest residual layers, in the order in which they end; and path → reason for blocks that are not.

    Args:
        module: the network, not changed.
        example: an input.
        alone: paths of the modules that are used in one place.
    """
    seen = _watched(module, example, alone)
    layers = _Layers(module, seen, alone)
    identities = [path for path in seen.identities if layers.is_layer(path)]
    branches = layers.branches(identities)
    taken = {*identities, *branches}
    found = [
        ResidualLayer(path, *(seen.identities | seen.zeros)[path], path in branches)
        for path in seen.shapes
        if path in taken
    ]
    return found, layers.reasons(taken)


def _watched(module: nn.Module, example: Tensor, alone: set[str]) -> _Pass:
    """Test modules while the network runs, each on its own input: only the inputs of running modules are kept."""
    seen = _Pass()
    sums = Sums(lambda path, other, output: seen.branches.add(path))
    inputs: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = defaultdict(list)  # of the modules now running

    def watch(path: str) -> list[Any]:
        def before(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not sums.paused:
                sums.entered(path, [t for _, t in tensors_in(args, kwargs)])
                sums.paused = True
                inputs[path].append(_copied(args, kwargs))  # the module may change them in place
                sums.paused = False

        def after(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if sums.paused:  # a module inside the one that is being tested
                return
            given, main = inputs[path].pop(), main_tensor(output)
            first = next((t for _, t in tensors_in(*given)), None)
            seen.counts[path] += 1
            seen.shapes.pop(path, None)  # in the order in which modules end
            seen.shapes[path] = _shape(first), _shape(main)
            if main is None or path not in alone or _inside([*seen.identities, *seen.opaque], path):
                return
            if not any(t.shape == main.shape for _, t in tensors_in(*given)):
                return
            sums.paused = True
            try:
                traced = _without_weights(part, *given)
            except Exception:  # the module is the user's: one that cannot compute with zeros is not an identity
                seen.failed.add(path)
                return
            finally:
                sums.paused = False
            if traced and traced[1] is None:
                seen.opaque.add(path)
            elif traced and traced[1]:
                kind, wires = traced[0], traced[1]
                (seen.identities if kind == IDENTITY else seen.zeros)[path] = tuple(main.shape), wires
                if kind == ZERO:
                    sums.left(path, main)

        part = module.get_submodule(path)
        return [
            part.register_forward_pre_hook(before, with_kwargs=True),
            part.register_forward_hook(after, with_kwargs=True),
        ]

    paths = [p for p, m in module.named_modules() if p and next(m.parameters(), None) is not None]
    with hooked(hook for path in paths for hook in watch(path)), evaluating(module), unfused(), sums:
        module(example)
    return seen


def _copied(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    copied: tuple[Any, Any] = tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, (args, kwargs))
    return copied


def _without_weights(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Wires | None] | None:
    """`trace_wires` of the module without its weights.

    No two of several tensors may be equal, or it would be ambiguous which one is returned: an initial state of zeros, a
    memory that is the image itself.
    """
    given = tensors_in(args, kwargs)
    if sum(t.is_floating_point() for _, t in given) > 1:
        number = iter(range(1, len(given) + 1))

        def other(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value
            part_of = next(number) / 8
            return value * (1 + part_of) + part_of

        try:
            apart = tree_map(other, (args, kwargs))
            return trace_wires(run_neutral(part, *_copied(*apart)), values_in(*apart))
        except Exception:  # the arguments may not be arbitrary numbers
            pass
    return trace_wires(run_neutral(part, *_copied(args, kwargs)), values_in(args, kwargs))


def _shape(t: Tensor | None) -> tuple[int, ...] | None:
    return None if t is None else tuple(t.shape)


def _inside(paths: Iterable[str], path: str) -> list[str]:
    return [inner for inner in paths if inner.startswith(path + ".")]


@dataclass(frozen=True)
class _Layers:
    """Which modules found in a pass are layers, and which are containers of layers."""

    module: nn.Module
    seen: _Pass
    alone: set[str]

    def is_layer(self, path: str) -> bool:
        """Whether an identity or a branch is a layer, and not a container of layers."""
        return not self._hidden(path) and not self._listed(path, _inside(self.seen.branches, path))

    def branches(self, identities: list[str]) -> list[str]:
        """The outermost branches that are layers, outside `identities` and torch's own layers."""

        def free(path: str) -> bool:
            # Torch's own layers are removed whole or not at all.
            around = [outer for outer in _around(path) if outer]
            return not any(outer in identities or self._of_torch(outer) for outer in around)

        layers = [
            path
            for path in self.seen.zeros
            if path in self.seen.branches and free(path) and not _inside(identities, path) and self.is_layer(path)
        ]
        return [path for path in layers if not any(outer in layers for outer in _around(path))]

    def reasons(self, taken: set[str]) -> dict[str, str]:
        """Why blocks that occur several times in a list and keep their shape cannot be removed."""
        found = {}
        for paths in self._siblings().values():
            for path in paths:
                if path in taken or _inside(taken, path) or any(outer in taken for outer in _around(path)):
                    continue
                found[path] = self._reason(path)
        return {path: why for path, why in found.items() if not any(outer in found for outer in _around(path))}

    def _reason(self, path: str) -> str:
        if self.seen.counts[path] > 1:
            return f"it runs {self.seen.counts[path]} times in one pass"
        if path not in self.alone:
            return "it is used in several places of the network"
        if path in self.seen.opaque:
            return "it returns something besides a tensor that a stand-in cannot return"
        if path in self.seen.failed:
            return "it cannot be run with its weights at zero"
        if path in self.seen.zeros:
            return (
                "with its weights at zero it returns zeros, not its input: no skip connection carries the input past it"
            )
        return "with its weights at zero it does not return its input"

    def _siblings(self) -> Mapping[tuple[str, type], list[str]]:
        """Composite modules that keep their shape, by their parent and class: several in a list, or one used again."""
        found: dict[tuple[str, type], list[str]] = defaultdict(list)
        for path, (before, after) in self.seen.shapes.items():
            parent = path.rpartition(".")[0]
            if (
                before == after
                and self._composite(path, axes=2)
                and (self.seen.counts[path] > 1 or isinstance(self.module.get_submodule(parent), LISTS))
            ):
                found[parent, type(self.module.get_submodule(path))].append(path)
        return {k: v for k, v in found.items() if len(v) > 1 or self.seen.counts[v[0]] > 1}

    def _hidden(self, path: str) -> bool:
        """Whether blocks inside could not be tested one by one: only therefore the whole looks like a layer."""
        shape = self.seen.shapes[path]
        classes: Counter[type] = Counter()
        for inner in _inside((p for p, _ in self.module.named_modules()), path):
            if not self._composite(inner):
                continue
            count = self.seen.counts[inner]
            if not count:
                own = type(self.module.get_submodule(inner)).forward is not nn.ModuleList.forward
                called = any(self.seen.counts[p] for p in _inside(self.seen.shapes, inner))
                classes[type(self.module.get_submodule(inner))] += own and called
            elif self.seen.shapes[inner][1] == shape[1]:
                untested = count > 1 or inner not in self.alone or inner in self.seen.failed
                classes[type(self.module.get_submodule(inner))] += max(count, 1) if untested else 0
        return any(count > 1 for count in classes.values())

    def _listed(self, path: str, branches: list[str]) -> bool:
        """Whether two branches of one class are at different places of a list inside: then each is a layer."""
        for k, one in enumerate(branches):
            for other in branches[k + 1 :]:
                common = _common(one, other)
                parent = self.module.get_submodule(common)
                inside = common == path or common.startswith(path + ".")
                same = type(self.module.get_submodule(one)) is type(self.module.get_submodule(other))
                if inside and same and one != common != other and isinstance(parent, LISTS):
                    return True
        return False

    def _composite(self, path: str, axes: int = 1) -> bool:
        """Whether at least two modules inside hold parameters with this many axes: 2 for weights of products."""
        parts = self.module.get_submodule(path).modules()
        holders = (m for m in parts if any(p.ndim >= axes for p in m.parameters(recurse=False)))
        return next(holders, None) is not None and next(holders, None) is not None

    def _of_torch(self, path: str) -> bool:
        part = self.module.get_submodule(path)
        whole = (nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder, *LISTS)
        return type(part).__module__.startswith("torch.nn.") and not isinstance(part, whole)


def _around(path: str) -> Iterator[str]:
    """The paths of the modules around one, the network's last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _common(one: str, other: str) -> str:
    """The path of the smallest module that holds both."""
    names = []
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            break
        names.append(a)
    return ".".join(names)

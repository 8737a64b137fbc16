"""The positions at which a loss can look into a network, found by running it once: nothing is known by name.

Which of them everything passes through, the graph of autograd tells (`surgery/passages.py`). Where a network cuts
gradients off inside, it tells nothing, and every position counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from recipelang.errors import Refusal
from recipelang.kinds import Point, Points
from recipelang.surgery.attending import Attending
from recipelang.surgery.candidates import CONVOLUTIONS, FILTERS_FIRST_NORMS, FILTERS_LAST
from recipelang.surgery.passages import depending, passed
from recipelang.surgery.tracing import evaluating, hooked
from recipelang.surgery.unrectified import Rectified
from recipelang.surgery.wiring import main_tensor, tensors_in

#: steps of autograd that give the same before and after a ReLU: as `unrectified.COMMUTING`
MOVING = ("MaxPool", "View", "UnsafeView", "Reshape", "Permute", "Transpose", "Squeeze", "Unsqueeze")
POOLS = (_AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd)


@dataclass(frozen=True)
class _Output:
    """What a module returned: its tensor, the step of the graph that made it, its version, layers run by then, and
    whether modules with weights were among them."""

    path: str
    tensor: Tensor
    node: Any
    version: int
    layers: int
    learned: bool


def find_points(module: nn.Module, example: Tensor, whose: str, *, attention: bool = False) -> Points:
    """The positions that a network offers.

    Args:
        module: the network; its weights and modes are not changed.
        example: an input as in the training, with two images or more.
        whose: for messages: "the network".
        attention: whether the self-attention that it computes is found as well.
    """
    images = example.detach().clone().requires_grad_(example.is_floating_point())
    watch, attending = _Watch(module, len(images)), Attending(module) if attention else None
    more = attending.hooks() if attending else ()
    with hooked([*watch.hooks(), *more]), attending or nullcontext(), evaluating(module), torch.enable_grad():
        answer = main_tensor(module(images))
    nodes = {output.node for output in watch.outputs}
    through = passed(answer.grad_fn if answer is not None else None, _leaf(images, watch.outputs), nodes)
    trains = depending(nodes, {id(p) for p in module.parameters() if p.requires_grad})
    seeing = depending(nodes, {id(images)})
    found = [
        _point(output, through, watch.axis(output), watch.layers, module, output.node in trains, output.node in seeing)
        for output in watch.outputs
        if watch.counts[output.path] == 1
    ]
    return Points(whose, tuple(found), _attention(attending, watch, trains, seeing) if attending else ())


def _attention(attending: Attending, watch: _Watch, trains: Set[Any], seeing: Set[Any]) -> tuple[Point, ...]:
    """The attention that was computed once in the pass, over all tokens of an input."""
    outputs = {output.path: output for output in watch.outputs}
    found = []
    for path, one in attending.found.items():
        if attending.counts[path] == 1 and len(one.queries) == watch.batch:
            output = outputs.get(path)
            depth = output.layers / watch.layers if output else 1.0
            node = output.node if output else None
            through = {"trains": node is None or node in trains, "from_inputs": node is None or node in seeing}
            shape = tuple(one.values.shape[1:])
            found.append(Point(path, shape, depth, False, True, attention=True, **through))
    return tuple(found)


def _leaf(inputs: Tensor, outputs: Sequence[_Output]) -> Any:
    """The step of the graph at which everything begins: the inputs, or what whole numbers are looked up as first."""
    if not inputs.requires_grad:
        return next((output.node for output in outputs if output.node is not None), None)
    view = inputs.view_as(inputs).grad_fn
    return view.next_functions[0][0] if view is not None else None


class _Watch:
    """Records the outputs of modules in the order in which these end."""

    def __init__(self, module: nn.Module, batch: int) -> None:
        self.module, self.batch = module, batch
        self.outputs: list[_Output] = []
        self.counts: dict[str, int] = {}
        # The channels' axis: of a tensor by the layer that reads it, of a module's by the first layer inside that does.
        self.read: dict[Any, int] = {}
        self.inside: dict[tuple[str, int], int] = {}
        self.layers = 0
        self._weights = _own(module)
        self._paths: list[str] = []

    def hooks(self) -> Iterator[Any]:
        for path, part in self.module.named_modules():
            if path:
                yield part.register_forward_pre_hook(self._before(path, part), with_kwargs=True)
                yield part.register_forward_hook(self._after(path, part), with_kwargs=True)

    def axis(self, output: _Output) -> int:
        """The channels' axis of an output, batch included."""
        ndim = output.tensor.ndim
        default = 1 if ndim > 3 else ndim - 1
        return self.read.get(output.node, self.inside.get((output.path, ndim), default))

    def _before(self, path: str, part: nn.Module) -> Any:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._paths.append(path)
            self._weights = self._weights or _own(part)
            first = next((t for _, t in tensors_in(args, kwargs)), None)
            if first is not None and (axis := _channels_axis(part, first.ndim)) is not None:
                if first.grad_fn is not None:
                    self.read[first.grad_fn] = axis
                for outer in self._paths:
                    self.inside.setdefault((outer, first.ndim), axis)

        return before

    def _after(self, path: str, part: nn.Module) -> Any:
        leaf = next(part.children(), None) is None

        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self._paths.pop()
            self.layers += leaf
            self.counts[path] = self.counts.get(path, 0) + 1
            tensor = main_tensor(output)
            if tensor is not None and tensor.is_floating_point() and tensor.ndim > 1 and len(tensor) == self.batch:
                self.outputs.append(_Output(path, tensor, tensor.grad_fn, tensor._version, self.layers, self._weights))

        return after


def _own(part: nn.Module) -> bool:
    """Whether a module holds weights itself: parameters, or what stands for them where they are stored as integers."""
    return next(part.parameters(recurse=False), None) is not None


def _channels_axis(part: nn.Module, ndim: int) -> int | None:
    """The channels' axis of an activation with this many axes, where a layer that reads it shows it."""
    if isinstance(part, CONVOLUTIONS + FILTERS_FIRST_NORMS + POOLS):
        return 1
    # A subclass of LayerNorm may well permute first, as torchvision's LayerNorm2d does, so it shows nothing.
    return ndim - 1 if isinstance(part, FILTERS_LAST) or type(part) is nn.LayerNorm else None


def _point(
    output: _Output, through: Set[Any], axis: int, layers: int, module: nn.Module, trains: bool, from_inputs: bool
) -> Point:
    tensor = output.tensor
    return Point(
        output.path,
        tuple(canonical(tensor, axis).shape[1:]),
        output.layers / layers,
        output.node in through,
        next(module.get_submodule(output.path).children(), None) is not None,
        axis,
        tensor._version != output.version,
        trains,
        from_inputs,
        rectified=_rectified(output.node),
        learned=output.learned,
    )


def _rectified(node: Any) -> bool:
    """Whether a step of the graph is a ReLU, or only moves or pools what one made."""
    while node is not None and node.name().startswith(MOVING):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Relu")


def canonical(tensor: Tensor, axis: int) -> Tensor:
    """An activation as losses see it: B×C×positions…, or B×T×D where there are three axes. A view.

    Args:
        tensor: as the network has it.
        axis: of its channels.
    """
    return tensor.movedim(axis, 2 if tensor.ndim == 3 else 1)


class Capture:
    """The activations of one network at some positions, from its last pass.

    Args:
        module: the network.
        points: positions, in the order in which `features` returns them.
        rectified: a block in which the network runs where a position is to be seen before its ReLU.
    """

    def __init__(self, module: nn.Module, points: tuple[Point, ...], rectified: Rectified | None = None) -> None:
        self.module, self.points, self._rectified = module, points, rectified
        self._found: dict[Point, Tensor] = {}
        self._attending = Attending(module) if any(point.attention for point in points) else None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record activations; nothing is left on the module afterwards."""
        parts = {p: self.module.get_submodule(p.path) for p in self.points if not p.attention}
        hooks = [part.register_forward_hook(self._keep(point, part)) for point, part in parts.items()]
        attending = self._attending
        with hooked([*hooks, *(attending.hooks() if attending else ())]), attending or nullcontext():
            yield

    def _keep(self, point: Point, part: nn.Module) -> Any:
        found, rectified = self._found, self._rectified  # not self: a copy of the module must not copy them

        def keep(called: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            tensor = main_tensor(output)
            if tensor is not None and called is part:  # a copy of the module has the same hooks
                if point.unrectified and rectified is not None:
                    tensor = rectified.of(tensor)
                found[point] = tensor.clone() if point.changed else tensor

        return keep

    def features(self) -> Mapping[Point, Any]:
        """Position → activation in float32, B×C×H×W or B×T×D, or the `Attention` there.

        Raises:
            Refusal: RCP0825: a module did not run.
        """
        attended = self._attending.found if self._attending else {}
        for point in self.points:
            if point not in self._found and not (point.attention and point.path in attended):
                raise Refusal(
                    "RCP0825",
                    f"`{point.path}` did not run in this step: the network skips it in training mode",
                    "name other positions for the loss, or train without skipped layers",
                )
        found: dict[Point, Any] = {
            p: attended[p.path] if p.attention else canonical(self._found[p], p.channels_axis).float()
            for p in self.points
        }
        self._found.clear()
        attended.clear()
        return found

"""A network that computes with other activations at some positions than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from recipelang.kinds import Point
from recipelang.surgery.points import canonical
from recipelang.surgery.tracing import hooked
from recipelang.surgery.wiring import main_tensor


@contextmanager
def replaced(module: nn.Module, instead: Mapping[Point, Tensor]) -> Iterator[dict[Point, Tensor]]:
    """Inside the block modules return these activations; what they computed is in the dictionary, in float32.

    BatchNorm uses the statistics of the batch where it trains, but averages none: they are not those of the network's
    own activations.

    Args:
        module: the network.
        instead: position → its activation as losses see it, B×C×H×W or B×T×D.
    """
    found: dict[Point, Tensor] = {}

    def swap(point: Point, value: Tensor) -> Any:
        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            own = main_tensor(output)
            if own is None:
                return None
            found[point] = canonical(own, point.channels_axis).float()
            given = _laid_out(value, point.channels_axis).to(own.dtype).clone()  # a later layer may overwrite it
            return tree_map(lambda leaf: given if leaf is own else leaf, output)

        return after

    hooks = (module.get_submodule(p.path).register_forward_hook(swap(p, value)) for p, value in instead.items())
    with _still(module), hooked(hooks):
        yield found


def _laid_out(value: Tensor, axis: int) -> Tensor:
    """The inverse of `canonical`."""
    return value.movedim(2 if value.ndim == 3 else 1, axis)


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Statistics of norms are neither averaged nor counted in the block."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    trained = [norm for norm in norms if norm.training and norm.track_running_stats]
    for norm in trained:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in trained:
            norm.track_running_stats = True

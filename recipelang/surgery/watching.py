"""The main tensor before and after a layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from recipelang.surgery.branches import Sums
from recipelang.surgery.candidates import PASSED_ON, Candidate
from recipelang.surgery.operands import unfused
from recipelang.surgery.tracing import hooked
from recipelang.surgery.wiring import at, main_place, main_tensor, tensors_in

Show = Callable[[str, str, Tensor], None]


@contextmanager
def watching_layers(module: nn.Module, layers: Sequence[Candidate], show: Show) -> Iterator[None]:
    """Inside the block `show(layer, "input" | "output", activation)` is called at every layer, in order of execution.

    For a layer whose output its parent adds to its input, the activations are those before and after the sum.
    """

    def meet(path: str, other: Tensor, total: Tensor) -> None:
        show(path, "input", other)
        show(path, "output", total)

    sums = Sums(meet) if any(layer.branch for layer in layers) else None
    with (
        hooked(hook for layer in layers for hook in _hooks(module, layer, show, sums)),
        unfused(),
        sums or nullcontext(),
    ):
        yield


def _hooks(module: nn.Module, layer: Candidate, show: Show, sums: Sums | None) -> tuple[Any, Any]:
    """Hooks before the layer's first module and after its last."""
    first, last = (module.get_submodule(layer.paths[k]) for k in (0, -1))
    place = main_place(json.loads(layer.wires) if layer.wires else PASSED_ON)

    def before(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if layer.branch and sums:
            sums.entered(layer.paths[0], [t for _, t in tensors_in(args, kwargs)])
        else:
            assert place is not None  # or the layer would not have been found
            show(layer.name, "input", at(place, args, kwargs))

    def after(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        main = main_tensor(output)
        assert main is not None  # or the layer would not have been found
        if layer.branch and sums:
            sums.left(layer.paths[0], main)
        else:
            show(layer.name, "output", main)

    return (
        first.register_forward_pre_hook(before, with_kwargs=True),
        last.register_forward_hook(after, with_kwargs=True),
    )

"""Which module is the only reader of a layer's output, and so may be folded or fused into the layer.

Found by running, and so independent of how the forward functions are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recipelang.surgery.operands import unfused
from recipelang.surgery.tracing import evaluating, hooked, record_calls


class _CountUses(TorchDispatchMode):
    """Counts how many operations read each of the watched tensors."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, tuple[str, Tensor]] = {}  # holds the tensors, so that ids stay unique
        self.uses: Counter[str] = Counter()

    def watch(self, path: str, tensor: Tensor) -> None:
        """Count the reads of the output of the layer at `path`."""
        self.watched[id(tensor)] = (path, tensor)

    def of(self, tensor: Any) -> str | None:
        """The path of the layer whose output is exactly this tensor."""
        return self.watched.get(id(tensor), (None,))[0]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if (path := self.of(leaf)) is not None:
                self.uses[path] += 1
        return func(*args, **(kwargs or {}))


def sole_readers(
    module: nn.Module,
    example: Tensor,
    layers: Collection[str],
    wanted: Callable[[nn.Module], bool],
    fits: Callable[[nn.Module, nn.Module, Tensor], bool] = lambda layer, reader, activation: True,
) -> dict[str, str]:
    """Layer path → path of the module that alone reads the layer's output, both called once.

    Args:
        module: in evaluation mode; it is not changed.
        example: an input, B×C×H×W.
        layers: paths of the layers to consider.
        wanted: whether a module may be such a reader.
        fits: whether (layer, reader, the tensor between them) may be combined.
    """
    once = {path: module.get_submodule(path) for path, call in record_calls(module, example).items() if call.once}
    reads = _CountUses()
    pairs: dict[str, str] = {}
    handles = []
    for path, part in once.items():
        if path in layers:
            handles.append(part.register_forward_hook(lambda _, args, output, path=path: reads.watch(path, output)))
        elif wanted(part):

            def pair(reader: nn.Module, args: tuple[Tensor], path: str = path) -> None:
                layer = reads.of(args[0])
                if layer is not None and fits(once[layer], reader, args[0]):
                    pairs[layer] = path

            handles.append(part.register_forward_pre_hook(pair))
    # An in-place activation returns its input tensor: its readers would count as the layer's.
    with _out_of_place(module), hooked(handles), evaluating(module), unfused(), reads:
        module(example)
    return {layer: reader for layer, reader in pairs.items() if reads.uses[layer] == 1}


@contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    changed: list[Any] = [part for part in module.modules() if getattr(part, "inplace", False) is True]
    for part in changed:
        part.inplace = False
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True

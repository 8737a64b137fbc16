"""Graphs of torch.fx as modules like those of any network: a class with a `forward`.

`torch.export` leaves an `fx.GraphModule` out of the modules that it says an operation belongs to, so that nobody could
tell which numbers in whose code count channels; and it prints a traceback to stderr before it raises.
"""

from __future__ import annotations

from torch import fx, nn


class Scope(nn.Module):
    """What holds layers under a common name and computes nothing."""


def coded(module: fx.GraphModule) -> nn.Module:
    """The network of a graph, and of the graphs in it.

    Args:
        module: is used up: its layers are those of the network.
    """
    for name, part in module._modules.items():
        module._modules[name] = _coded(part)
    return _with_code(module)


def _coded(part: nn.Module | None) -> nn.Module | None:
    if part is None:
        return None
    if isinstance(part, fx.GraphModule):
        return coded(part)
    for name, inner in part._modules.items():
        part._modules[name] = _coded(inner)
    if type(part) is nn.Module:  # as torch.fx makes them
        part.__class__ = Scope
    return part


def _with_code(module: fx.GraphModule) -> nn.Module:
    kind = type(type(module).__name__, (nn.Module,), {"forward": type(module).forward, "__module__": __name__})
    made: nn.Module = kind()
    for held in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set", "training"):
        setattr(made, held, getattr(module, held))
    return made

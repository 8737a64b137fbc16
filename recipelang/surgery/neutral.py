"""A layer whose weights are zero: only its skip connection remains.

Weights that a module computes from its parameters would become 0/0 where it normalises them (weight norm, spectral
norm, weight standardisation), or not become zero at all (an orthogonal weight of zeros is the identity): the output of
a parametrization is set to zero, and NaN from a module that holds parameters counts as zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import ParametrizationList

from recipelang.surgery.tracing import hooked


def without_parameters(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Zeros for every parameter of the module, for `functional_call`; they take no memory."""
    return {prefix + name: p.new_zeros(()).expand(p.shape) for name, p in module.named_parameters()}


def run_neutral(part: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The module's output when its weights are zero."""
    with _products_at_zero(part):
        return functional_call(part, without_parameters(part), args, dict(kwargs))


def run_with_neutral(module: nn.Module, path: str, example: Tensor) -> Any:
    """Run the network while the weights of one module are zero: a residual branch then contributes 0."""
    part = module.get_submodule(path)
    with _products_at_zero(part):
        return functional_call(module, without_parameters(part, path + "."), (example,), tie_weights=False)


@contextmanager
def _products_at_zero(part: nn.Module) -> Iterator[None]:
    """Inside the block, parametrizations return zeros, and modules with parameters return zeros for NaN."""
    holders = [m for m in part.modules() if next(m.parameters(recurse=False), None) is not None]
    # A hook that computes a weight leaves it in the module: the previous value is restored.
    computed = [(m, {k: v for k, v in vars(m).items() if isinstance(v, Tensor)}) for m in holders]
    hooks = [m.register_forward_hook(_zeros if isinstance(m, ParametrizationList) else _zeros_for_nan) for m in holders]
    try:
        with hooked(hooks):
            yield
    finally:
        for m, attributes in computed:
            vars(m).update(attributes)


def _zeros(part: nn.Module, args: Any, output: Any) -> Any:
    return torch.zeros_like(output) if isinstance(output, Tensor) else output


def _zeros_for_nan(part: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, Tensor) and output.is_floating_point() and bool(output.isnan().any()):
        return output.masked_fill(output.isnan(), 0)
    return output

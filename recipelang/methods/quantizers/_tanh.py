"""Weights through tanh, as `dorefa` and `pact` have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: below any tanh of a weight that matters: a row of zeros is divided by it
TINY = 1e-30


def flattened(value: Tensor, one: Any) -> Tensor:
    """r · tanh(w) / max|tanh(w)|: within -r … r, r the end of the grid; the maximum is over what shares a step."""
    bent = value.tanh()
    axis, sizes = one.scheme.axis, bent.abs()
    most = sizes.amax() if axis is None else sizes.amax([k for k in range(value.ndim) if k != axis], keepdim=True)
    step, _, high = one.steps(value)
    return bent / most.clamp_min(TINY) * (step * high)


def levels(value: Tensor, one: Any) -> Tensor:
    """The nearest numbers of the grid to `flattened`, with gradients through tanh and the maximum."""
    from recipelang.surgery.snapping import rounded

    return rounded(flattened(value, one), *one.steps(value))


def settled(one: Any, value: Tensor | None) -> Any:
    """The restriction after training; the weight becomes `flattened`, whose nearest numbers are those of `levels`."""
    if value is not None:
        value.copy_(flattened(value, one))
    return one

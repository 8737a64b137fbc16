"""What the methods that clip have in common: rounding rows of values to a grid, and the range with the least error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from recipelang.kinds import Observed, Scheme
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


#: of more values than these together, only this many at each end, and means of the others, are rounded in a search
OUTERMOST, BETWEEN = 1024, 4096


def values_of(observed: Observed) -> Tensor:
    """The values that a method with `needs = "samples"` was given: (…, N), float32."""
    assert observed.values is not None
    return observed.values.float()


def one_sided(observed: Observed) -> bool:
    """Whether no value is on one side of zero, as after a ReLU: then all numbers of an affine grid are on the other."""
    return bool((observed.low >= 0).all() or (observed.high <= 0).all())


def errors(
    values: Tensor, low: Tensor, high: Tensor, scheme: Scheme, norm: float, shares: Tensor | None = None
) -> Tensor:
    """Mean |Q(x) - x|^norm of each range.

    Args:
        values: (…, N), a row for each range.
        low, high: (…), the ranges.
        scheme: the integers; whatever shares a range is a row here.
        norm: the exponent.
        shares: (N,), of the mean that each value has; None: all the same.
    """
    from recipelang.surgery.restrictions.grid import Grid

    rows = replace(scheme, axis=0 if low.ndim else None, group=None)
    shape = values.shape[-1:] if rows.axis is None else (-1, values.shape[-1])
    flat = values.reshape(shape)
    grid = Grid.between(low.flatten() if low.ndim else low, high.flatten() if low.ndim else high, rows)
    apart = (grid.apply(flat) - flat).abs_()
    apart = apart.square_() if norm == 2 else apart.pow_(norm)
    return (apart.mean(-1) if shares is None else apart @ shares).view(low.shape)


def fewer(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Values whose errors are nearly those of many more: the outermost stay, others become means of neighbours.

    Args:
        values: (N,), or rows, which stay as they are.

    Returns:
        the values, and the share that each has of a mean; None where they are alike.
    """
    together = (len(values) - 2 * OUTERMOST) // BETWEEN
    if values.ndim > 1 or together < 2:
        return values, None
    ordered = values.sort().values
    inner = ordered[OUTERMOST:-OUTERMOST]
    whole, rest = inner[: together * BETWEEN].view(-1, together), inner[together * BETWEEN :]
    found = torch.cat([ordered[:OUTERMOST], whole.mean(1), rest, ordered[-OUTERMOST:]])
    counts = torch.ones_like(found)
    counts[OUTERMOST : OUTERMOST + BETWEEN] = together
    return found, counts / len(values)


def least_error(observed: Observed, scheme: Scheme, norm: float, steps: int) -> tuple[Tensor, Tensor]:
    """The range whose grid has the least mean |Q(x) - x|^norm.

    Both ends are multiplied by the same share of 1/steps, 2/steps, … 1 first. Where they need not be alike (an affine
    grid over values on both sides of zero), each end is then searched for alone, in turns, until neither moves.

    Args:
        observed: with values.
        scheme: the integers.
        norm: the exponent.
        steps: shares that are tried.
    """
    values, weights = fewer(values_of(observed))
    shares = [k / steps for k in range(1, steps + 1)]
    low, high = observed.low.float(), observed.high.float()

    def error(lower: Tensor, upper: Tensor) -> Tensor:
        return errors(values, low * lower, high * upper, scheme, norm, weights)

    lower = upper = torch.ones_like(low)
    best = torch.full_like(low, torch.inf)
    for share in shares:
        both = torch.full_like(low, share)
        tried = error(both, both)
        better = tried < best
        lower = upper = torch.where(better, both, lower)
        best = torch.where(better, tried, best)
    if not scheme.symmetric and not one_sided(observed):
        lower, upper = _each_end(error, lower, upper, best, shares)
    return low * lower, high * upper


def _each_end(
    error: Callable[[Tensor, Tensor], Tensor], lower: Tensor, upper: Tensor, best: Tensor, shares: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The shares of both ends, searched for in turns."""
    for _ in range(4):  # turns: the second rarely moves anything
        before = best
        for share in shares:
            tried = error(one := torch.full_like(lower, share), upper)
            lower, best = torch.where(tried < best, one, lower), torch.minimum(tried, best)
        for share in shares:
            tried = error(lower, one := torch.full_like(upper, share))
            upper, best = torch.where(tried < best, one, upper), torch.minimum(tried, best)
        if torch.equal(best, before):
            break
    return lower, upper

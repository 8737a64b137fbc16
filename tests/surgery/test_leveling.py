"""Levels of activations against the same laws written with `torch.where` and a straight-through sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.surgery import leveling

LEVEL, EDGE = torch.tensor(0.7), torch.tensor(0.3)
#: float32's smallest normal number: zero is below it
SMALLEST = 2.0**-126
#: ends of every range, zeros and what lies beside them
TIES = [0.0, -0.0, 0.7, -0.7, 0.3, -0.3, 0.5, -0.5, SMALLEST, -SMALLEST, 1e-40, 0.1, -0.1, 0.9, -0.9]
EDGES, SCALES, WIDTH = torch.tensor([-0.5, 0.1, 0.5]), torch.tensor([0.25, 0.5, 0.125]), torch.tensor(0.8)


def contiguous() -> Tensor:
    drawn = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    drawn.view(-1)[: len(TIES)] = torch.tensor(TIES)
    return drawn


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "contiguous": contiguous,
    "channels last": lambda: contiguous().to(memory_format=torch.channels_last),
    "transposed": lambda: contiguous().transpose(0, 3),
    "linear": lambda: contiguous().flatten(2)[0],
}


def straight(result: Tensor, path: Tensor) -> Tensor:
    return (path - path.detach()) + result.detach()


def window(value: Tensor, inside: Tensor) -> Tensor:
    return torch.where(inside, value, value.detach())


def naive_two(value: Tensor) -> Tensor:
    return straight(torch.where(value >= SMALLEST, LEVEL, -LEVEL), window(value, value.abs() <= LEVEL))


def naive_three(value: Tensor, inner: Tensor, outer: Tensor, slope: float) -> Tensor:
    levels = torch.where(value >= EDGE, LEVEL, torch.where(value < -EDGE, -LEVEL, torch.zeros(())))
    sizes = value.abs()
    return straight(levels, slope * window(value, (sizes >= inner) & (sizes <= outer)))


def naive_several(value: Tensor, edges: Tensor, scales: Tensor) -> Tensor:
    total = torch.zeros_like(value)
    for edge, scale in zip(edges, scales, strict=True):
        above = value - edge
        inside = (above.detach().abs() <= WIDTH / 2).to(value.dtype)
        signs = torch.where(value >= edge, torch.ones(()), -torch.ones(()))
        total = total + scale * straight(signs, above * inside / WIDTH)
    return total


def differentiated(function: Callable[..., Any], *values: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What a function gives, and the gradients of a weighted sum of it for all values."""
    given = [value.detach().clone(memory_format=torch.preserve_format).requires_grad_() for value in values]
    made = function(*given)
    made = list(made) if isinstance(made, tuple) else [made]
    drawn = torch.Generator().manual_seed(1)
    total = sum((each * torch.randn(each.shape, generator=drawn)).sum() for each in made)
    return made, list(torch.autograd.grad(total, given))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_levels_and_their_gradient(layout: str) -> None:
    value = LAYOUTS[layout]()
    (made,), (gradient,) = differentiated(lambda x: leveling.two(x, SMALLEST, LEVEL), value)
    (wanted,), (slope,) = differentiated(naive_two, value)
    assert torch.equal(made, wanted) and torch.equal(gradient, slope)
    assert made.stride() == value.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("inner", "outer"), [(0.0, 0.7), (-0.2, 0.5), (0.1, 0.9)])
def test_three_levels_and_their_gradient(layout: str, inner: float, outer: float) -> None:
    value = LAYOUTS[layout]()
    ends = torch.tensor(inner), torch.tensor(outer)
    (made,), (gradient,) = differentiated(lambda x: leveling.three(x, EDGE, LEVEL, *ends, 2.0), value)
    (wanted,), (slope,) = differentiated(lambda x: naive_three(x, *ends, 2.0), value)
    assert torch.equal(made, wanted) and torch.equal(gradient, slope)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_moments_of_two_levels_and_all_gradients(layout: str) -> None:
    value = LAYOUTS[layout]() + 3
    others = [dim for dim in range(value.ndim) if dim != 1]
    made, (gradient,) = differentiated(lambda x: leveling.two_with_moments(x, SMALLEST, LEVEL), value)
    wanted, (slope,) = differentiated(
        lambda x: (naive_two(x), x.mean(others), x.var(others, correction=0)), value.double()
    )
    assert torch.equal(made[0].double(), wanted[0])
    for got, expected in zip((*made[1:], gradient), (*wanted[1:], slope), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_signs_and_the_gradients_of_edges_and_scales(layout: str) -> None:
    value = LAYOUTS[layout]()
    got = differentiated(lambda x, e, s: leveling.several(x, e, s, WIDTH), value, EDGES, SCALES)
    wanted = differentiated(naive_several, value, EDGES, SCALES)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


LAWS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "two": (lambda x, e, s: leveling.two(x, SMALLEST, LEVEL), lambda x, e, s: naive_two(x)),
    "moments": (
        lambda x, e, s: leveling.two_with_moments(x, SMALLEST, LEVEL)[2],
        lambda x, e, s: x.var((0, 2, 3), correction=0),
    ),
    "several": (lambda x, e, s: leveling.several(x, e, s, WIDTH), naive_several),
}


@pytest.mark.parametrize("law", LAWS)
def test_gradients_of_gradients_are_those_of_the_laws(law: str) -> None:
    found = []
    for function in LAWS[law]:
        given = [each.clone().requires_grad_() for each in (contiguous(), EDGES, SCALES)]
        answer = function(given[0] * 1.1, *given[1:])
        (first,) = torch.autograd.grad(answer.square().sum(), given[0], create_graph=True)
        found.append((first, *torch.autograd.grad(first.square().sum(), given, materialize_grads=True)))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)

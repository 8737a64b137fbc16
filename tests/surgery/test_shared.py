"""Shared values: laws of groups, gradients against autograd, and what is not a grouping."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.surgery.entries import Wrong
from recipelang.surgery.restricting import gather
from recipelang.surgery.restrictions.shared import Shared


def drawn(seed: int, count: int = 5, gradient: str = "sum") -> tuple[Tensor, Shared]:
    draws = torch.Generator().manual_seed(seed)
    codes = torch.randint(-1, count, (7, 3, 2), generator=draws).to(torch.int16)
    return torch.randn(codes.shape, generator=draws), Shared(codes, count, gradient)


@given(seed=st.integers(0, 1000))
def test_a_group_is_its_mean_and_zeros_are_zero(seed: int) -> None:
    weight, one = drawn(seed)
    held = one.apply(weight)
    for group in range(one.count):
        members = one.codes == group
        assert len(held[members].unique()) <= 1
        torch.testing.assert_close(held[members], weight[members].mean().expand(int(members.sum())))
    assert not held[one.codes < 0].any()
    assert one.holds(held) and torch.equal(one.apply(held), held), "idempotent, to the last bit"
    assert torch.equal(one.values(one.levels(held)).float(), held), "the weight is all that is needed"
    moved = held.clone()
    moved[one.codes == one.codes.max()] += torch.rand(int((one.codes == one.codes.max()).sum()))
    assert not one.holds(moved) or int((one.codes == one.codes.max()).sum()) == 1


@given(seed=st.integers(0, 1000), gradient=st.sampled_from(["sum", "mean"]))
def test_gradients_are_those_of_the_levels_by_autograd(seed: int, gradient: str) -> None:
    weight, one = drawn(seed, gradient=gradient)
    inputs = torch.randn(4, weight.numel(), generator=torch.Generator().manual_seed(seed))
    levels = one.levels(weight).float().requires_grad_()
    (inputs @ one.values(levels).flatten()).square().mean().backward()
    held = one.apply(weight).requires_grad_()
    (inputs @ held.flatten()).square().mean().backward()
    assert levels.grad is not None and held.grad is not None
    members = torch.bincount(one.codes.long().flatten() + 1, minlength=one.count + 1)[1:]
    wanted = levels.grad if gradient == "sum" else levels.grad / members.clamp_min(1)
    torch.testing.assert_close(one.gathered(held.grad), one.values(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_the_weight_is_training_the_levels(optimizer: str) -> None:
    """The same steps as an optimizer makes with the levels themselves as its parameters."""
    weight, one = drawn(3)
    module = nn.Linear(weight.numel(), 1, bias=False)
    wide = Shared(one.codes.view(1, -1), one.count)
    with torch.no_grad():
        module.weight.copy_(wide.apply(weight.view(1, -1)))
    levels = nn.Parameter(wide.levels(module.weight).float().detach())

    def made(parameter: nn.Parameter) -> torch.optim.Optimizer:
        if optimizer == "sgd":
            return torch.optim.SGD([parameter], lr=0.01, momentum=0.9, nesterov=True)
        return torch.optim.Adam([parameter], lr=0.01)

    mine, theirs = made(module.weight), made(levels)
    for step in range(20):
        inputs = torch.randn(8, weight.numel(), generator=torch.Generator().manual_seed(step))
        for values, steps in ((module.weight, mine), (wide.values(levels), theirs)):
            steps.zero_grad()
            (inputs @ values.T).square().mean().backward()
        gather(module, {"weight": (wide,)})
        mine.step()
        theirs.step()
        wide.hold(module.weight, mine)
        assert wide.holds(module.weight)
    torch.testing.assert_close(module.weight.detach(), wide.values(levels).detach(), rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 200), sparse=st.floats(0, 1))
def test_bytes_are_the_smaller_of_two_layouts(seed: int, sparse: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 4, (300,), generator=draws).to(torch.int16)
    codes[torch.rand(300, generator=draws) < sparse] = -1
    one, kept = Shared(codes, 4), [place for place, code in enumerate(codes.tolist()) if code >= 0]
    dense = 300 * (2 if len(kept) == 300 else 3)
    layouts = [dense]
    for width in range(1, 17) if len(kept) < 300 else ():
        items, fillers, last = 0, 0, -1
        for place in kept:  # as the paper draws it
            while place - last > 2**width:
                last, items, fillers = last + 2**width, items + 1, fillers + 1
            last, items = place, items + 1
        layouts.append(items * (width + (3 if fillers else 2)) + 8)
    assert one.stored(None) == -(-min(layouts) // 8) + 16


@pytest.mark.parametrize(
    ("told", "tensors"),
    [
        ({"count": 0}, {}),
        ({"count": 257}, {}),
        ({"count": True}, {}),
        ({"count": 2}, {}),
        ({"gradient": "max"}, {}),
        ({}, {"codes": torch.tensor([-2, 0], dtype=torch.int16)}),
        ({}, {"codes": torch.tensor([0, 3], dtype=torch.int16)}),
        ({}, {"codes": torch.tensor([0, 1])}),
        ({}, {"more": torch.tensor(0)}),
    ],
)
def test_what_is_not_a_grouping_is_refused(told: dict[str, object], tensors: dict[str, Tensor]) -> None:
    one = Shared(torch.tensor([-1, 0, 2], dtype=torch.int16), 3)
    assert torch.equal(Shared.read(one.json(), one.tensors()).codes, one.codes)
    with pytest.raises(Wrong):
        Shared.read({**one.json(), **told}, {**one.tensors(), **tensors})

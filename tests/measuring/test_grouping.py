"""Norms of groups and their proximal step, against the closed form, a numeric solver and autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.kinds import Group
from recipelang.measuring.grouping import Grouping, Groups, Slices
from recipelang.measuring.proximal import shrink
from recipelang.measuring.structures import blocks, columns, making, parts
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable


def rows(*sizes: int, family: int = -1) -> Grouping:
    """Groups of consecutive numbers of a vector `v`."""
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Grouping(tuple(map(str, range(len(sizes)))), (Slices("v", (0,), owners),), torch.full((len(sizes),), family))


def shrunk(grouping: Grouping, value: Tensor, threshold: float) -> Tensor:
    held = {"v": value.clone()}
    shrink(Groups(grouping), held, threshold)
    return held["v"]


numbers = st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6)


@given(numbers, st.floats(0, 3))
def test_a_proximal_step_is_the_closed_form_of_each_group(values: list[float], threshold: float) -> None:
    value = torch.tensor(values)
    found = shrunk(rows(1, 2, 3), value, threshold)
    for start, end in ((0, 1), (1, 3), (3, 6)):
        group = value[start:end].double()
        norm = float(group.norm())
        expected = torch.zeros_like(group) if norm <= threshold else (1 - threshold / norm) * group
        torch.testing.assert_close(found[start:end].double(), expected, rtol=1e-4, atol=1e-5)


@given(numbers, st.floats(0.05, 3))
def test_the_result_meets_the_conditions_of_the_minimum(values: list[float], threshold: float) -> None:
    """u minimises ½‖u - v‖² + t‖u‖ where v - u = t·u/‖u‖, or u = 0 and ‖v‖ ≤ t."""
    value = torch.tensor(values)
    found = shrunk(rows(6), value, threshold)
    if found.any():
        torch.testing.assert_close(value - found, threshold * found / found.norm(), rtol=1e-3, atol=1e-4)
    else:
        assert float(value.norm()) <= threshold * (1 + 1e-5)


def test_the_proximal_step_against_a_numeric_solver() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="needs scipy")
    value = torch.tensor([0.3, -1.2, 0.4, 2.0, -0.1, 0.2], dtype=torch.float64)
    threshold = 0.7
    ends = ((0, 2), (2, 4), (4, 6))

    def objective(x):  # type: ignore[no-untyped-def] # u, then a bound on each norm
        return 0.5 * ((x[:6] - value.numpy()) ** 2).sum() + threshold * x[6:].sum()

    cones = [
        {"type": "ineq", "fun": lambda x, n=n, a=a, b=b: x[6 + n] ** 2 - (x[a:b] ** 2).sum()}
        for n, (a, b) in enumerate(ends)
    ]
    start = [*value.tolist(), 3.0, 3.0, 3.0]
    solved = optimize.minimize(
        objective, start, constraints=cones, bounds=[(None, None)] * 6 + [(0, None)] * 3, method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )  # fmt: skip
    found = shrunk(rows(2, 2, 2), value.float(), threshold)
    torch.testing.assert_close(found.double(), torch.tensor(solved.x[:6]), rtol=0, atol=2e-3)
    assert not found[4:].any() and found[:4].all()


def test_nested_groups_from_the_inside_out_are_one_proximal_step() -> None:
    """Groups that contain one another: the steps one after another, smallest groups first, minimise the whole sum."""
    optimize = pytest.importorskip("scipy.optimize", reason="needs scipy")
    value = torch.tensor([0.9, -1.1, 0.4, 0.3])
    inner, outer = 0.5, 0.6

    def objective(x):  # type: ignore[no-untyped-def]
        norms = inner * ((x[:2] ** 2).sum() ** 0.5 + (x[2:] ** 2).sum() ** 0.5) + outer * (x**2).sum() ** 0.5
        return 0.5 * ((x - value.numpy()) ** 2).sum() + norms

    how = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 9999}
    best = min(
        (
            optimize.minimize(objective, start, method="Nelder-Mead", options=how)
            for start in (value.tolist(), [0.5, -0.5, 0.0, 0.0], [0.1, 0.1, 0.1, 0.1])
        ),
        key=lambda one: one.fun,
    )
    found = shrunk(rows(4), shrunk(rows(2, 2), value, inner), outer)
    assert objective(found.double().numpy()) <= best.fun + 1e-6
    torch.testing.assert_close(found.double(), torch.tensor(best.x), rtol=0, atol=2e-3)


def test_the_strongest_of_a_family_stays_where_all_others_are_zero() -> None:
    value = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.2, 0.4])
    assert torch.equal(shrunk(rows(2, 2, 2, family=0), value, 10.0), torch.tensor([0, 0, 0, 0, 0.2, 0.4]))
    assert not shrunk(rows(2, 2, 2), value, 10.0).any()
    gone = torch.tensor([0.0, 0.0, 0.0, 0.0, 3.0, 4.0])
    assert torch.equal(shrunk(rows(2, 2, 2, family=0), gone, 1.0), gone), "the last one is not shrunk any more"
    two = shrunk(rows(2, 2, 2, family=0), torch.tensor([0.1, 0.1, 6.0, 8.0, 3.0, 4.0]), 4.0)
    torch.testing.assert_close(two, torch.tensor([0, 0, 3.6, 4.8, 0.6, 0.8]))


def test_gradients_of_norms_are_those_of_the_formula_and_zero_at_zero() -> None:
    value = torch.tensor([3.0, 4.0, 0.0, 0.0, -2.0], requires_grad=True)
    norms = Groups(rows(2, 2, 1)).norms({"v": value})
    assert norms.tolist() == [5.0, 0.0, 2.0]
    norms.sum().backward()
    torch.testing.assert_close(value.grad, torch.tensor([0.6, 0.8, 0.0, 0.0, -1.0]))


# of networks ---------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


def residual() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), Block(4), Block(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return Network(module, {}, (1, 8, 8), classes=(*"abc",))


def held(network: Network) -> dict[str, Tensor]:
    return dict(network.module.named_parameters())


def test_a_part_is_the_filter_with_its_norm_in_every_layer_that_is_added() -> None:
    network = residual()
    offer = Filters(round=1).find(network, Selection())
    found = parts(network, offer.groups)
    assert not found.stay and found.grouping
    assert sorted(set(found.grouping.labels)) == ["0", "3.conv1", "4.conv1"]
    norms = Groups(found.grouping).norms(held(network))
    p = held(network)
    stream = torch.stack([
        torch.cat([p[name][c].flatten() for name in (
            "0.weight", "0.bias", "1.weight", "1.bias",
            "3.conv2.weight", "3.bn2.weight", "3.bn2.bias", "4.conv2.weight", "4.bn2.weight", "4.bn2.bias",
        )]).norm()
        for c in range(4)
    ])  # fmt: skip
    inner = torch.stack([
        torch.cat([p[f"3.{name}"][c].flatten() for name in ("conv1.weight", "bn1.weight", "bn1.bias")]).norm()
        for c in range(6)
    ])  # fmt: skip
    at = [k for k, label in enumerate(found.grouping.labels) if label == "0"]
    torch.testing.assert_close(norms[at], stream)
    at = [k for k, label in enumerate(found.grouping.labels) if label == "3.conv1"]
    torch.testing.assert_close(norms[at], inner)
    assert found.grouping.families.unique().tolist() == [0, 1, 2]


def test_columns_are_those_of_the_papers_matrix() -> None:
    network = residual()
    weight = held(network)["3.conv1.weight"]
    channels, shapes = (columns(network, ["3.conv1.weight", "7.weight"], kernel=k) for k in (False, True))
    assert channels and shapes
    norms = Groups(channels).norms(held(network))
    assert len(norms) == 4 + 4
    torch.testing.assert_close(norms[:4], torch.stack([weight[:, c].norm() for c in range(4)]))
    norms = Groups(shapes).norms(held(network))
    assert len(norms) == 4 * 9 + 4
    expected = torch.stack([weight[:, c, y, x].norm() for c in range(4) for y in range(3) for x in range(3)])
    torch.testing.assert_close(norms[:36], expected)
    torch.testing.assert_close(norms[36:], held(network)["7.weight"].norm(dim=0))


def test_a_block_is_all_of_its_parameters_and_needs_a_skip_connection() -> None:
    network = residual()
    offer = Layers().find(network, Selection())
    found = blocks(network, offer.groups)
    assert found.grouping and found.grouping.labels == ("3", "4") and not found.stay
    norms = Groups(found.grouping).norms(held(network))
    expected = [nn.utils.parameters_to_vector(network.module[n].parameters()).norm() for n in (3, 4)]  # type: ignore[index]
    torch.testing.assert_close(norms, torch.stack(expected).detach())
    plain = blocks(network, [Group("3.conv1", layers=("3.conv1",), joins=True)])
    assert plain.grouping is None and "skip connection" in plain.stay["3.conv1"]
    network.module.get_parameter("4.bn2.bias").requires_grad_(False)
    assert blocks(network, offer.groups).stay == {"4": "`4.bn2.bias` is frozen"}


def test_frozen_numbers_are_never_part_of_a_group() -> None:
    network = residual()
    network.module.get_parameter("3.bn1.weight").requires_grad_(False)
    found = parts(network, Filters(round=1).find(network, Selection()).groups)
    assert found.stay == {"3.conv1": "`3.bn1.weight` is frozen"}
    assert found.grouping and "3.conv1" not in found.grouping.labels
    assert not any(one.name.startswith(("3.conv1", "3.bn1")) for one in found.grouping.slices)


def test_of_a_weight_norm_only_the_gain_makes_a_channel() -> None:
    """v is divided by its norm: at zero it would be 0/0."""
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    network = Network(nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(6, 3)), {}, (1, 2, 2))
    removable = find_removable(network)
    offer = Neurons(round=1).find(network, Selection())
    (group,) = offer.groups
    names = {place.name for place in making(group.source, held(network), removable.followed.normalised)}
    assert names == {"1.bias", "1.parametrizations.weight.original0"}
    found = parts(network, offer.groups, removable.followed.normalised)
    assert found.grouping
    parameters = held(network)
    shrink(Groups(found.grouping), parameters, 1e3)
    assert network.module(torch.ones(1, 1, 2, 2)).isfinite().all()

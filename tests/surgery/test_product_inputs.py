"""What products alone read: before a ReLU, through moves, and beside what others read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipelang.surgery.network import Network
from recipelang.surgery.places import at_places, calls_of
from recipelang.surgery.product_inputs import inputs_of_products, outermost
from recipelang.surgery.tracing import example_input


class Branching(nn.Module):
    """A ReLU that a product reads through a pooling and a flattening, and a sum beside it."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=inplace)
        self.next, self.linear = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x = x + self.next(x)
        return self.linear(F.max_pool2d(F.relu(x), 4).flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("inplace", [False, True])
def test_a_product_may_read_what_others_do_not_and_before_the_relu(inplace: bool) -> None:
    torch.manual_seed(0)
    module, images = Branching(inplace).eval(), torch.randn(2, 3, 8, 8)
    plain, seen = module(images), {}

    def signs(place: str, value: Tensor) -> Tensor:
        seen[place] = value.detach().clone()
        return value.sign() if place in ("next:conv2d(input)", "linear:linear(input)") else value

    with at_places(module, signs, reading=True):
        changed = module(images)
    with at_places(module, lambda place, value: value, reading=True):
        assert torch.equal(module(images), plain)
    normed = module.norm(module.conv(images))
    assert torch.equal(seen["next:conv2d(input)"], normed) and (normed < 0).any()
    total = normed.relu() + module.next(normed.sign())
    assert torch.equal(seen["linear:linear(input)"], F.max_pool2d(total, 4).flatten(1))
    torch.testing.assert_close(changed, module.linear(F.max_pool2d(total, 4).flatten(1).sign()))


def test_what_was_written_into_after_a_relu_is_read_as_it_is() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(x)
            x += 1
            return self.linear(x)  # type: ignore[no-any-return]

    seen: dict[str, Tensor] = {}
    module, given = Written(), torch.tensor([[-1.0, 2.0, 3.0]])
    with at_places(module, lambda place, value: seen.setdefault(place, value.clone()) * 0 + value, reading=True):
        module(given)
    assert seen["linear:linear(input)"].tolist() == [[1, 3, 4]]


def test_the_gradient_of_what_a_product_reads_passes_the_relu() -> None:
    module, images = Branching(True).eval(), torch.randn(2, 3, 8, 8, requires_grad=True)
    read: list[Tensor] = []

    def keep(place: str, value: Tensor) -> Tensor:
        if place == "next:conv2d(input)":
            value.retain_grad()
            read.append(value)
            return value * 1
        return value

    with at_places(module, keep, reading=True):
        module(images).sum().backward()
    assert read[0].grad is not None and (read[0].grad[read[0] < 0] != 0).any()


def test_inputs_of_products_and_the_first_and_last_of_them(digits: Network) -> None:
    calls = calls_of(digits.module, example_input(digits))
    found = inputs_of_products(calls)
    assert found["layer1.0.conv2:conv2d(input)"] == ("layer1.0.conv2",)
    assert set().union(*found.values()) == {
        path for path, part in digits.module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)
    }
    assert outermost(calls) == ({"conv1"}, {"linear"})

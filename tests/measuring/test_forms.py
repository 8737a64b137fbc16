"""What layers are, against shapes counted by hand and the metrics of the whole network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.catalogue import find
from recipelang.kinds import Scheme
from recipelang.measuring.forms import Form, forms_of
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.restrictions.shared import Shared

ONE = torch.tensor(2.0)


class Odd(nn.Module):
    """Grouped, depthwise and transposed convolutions, attention, a layer that training alone uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depth = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.up = nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 6, 2, 2, groups=2)
        self.attend, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 5)
        self.auxiliary = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.norm(self.depth(self.first(x))).relu()).flatten(2).transpose(1, 2)
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


@pytest.fixture
def odd() -> Network:
    torch.manual_seed(0)
    return Network(Odd().eval(), {}, (3, 4, 4), classes=tuple("abcde"))


def told(network: Network) -> dict[str, Form]:
    return {form.layer: form for form in forms_of(network)}


def measured(name: str, network: Network) -> float:
    metric: Any = find("metric", name)
    return float(metric().measure(network.module, network, network.input_shape).value)


def test_widths_elements_and_operations_by_hand(odd: Network) -> None:
    """4·4 places before the transposed convolution, 8·8 after it; each multiply-accumulate is two operations."""
    forms = told(odd)
    assert {layer: (form.kind, form.width, form.parameters) for layer, form in forms.items()} == {
        "first": ("Conv2d", 8, 8 * 3 * 9),
        "depth": ("Conv2d", 8, 8 * 9),
        "up": ("ConvTranspose2d", 6, 8 * 3 * 4),
        "attend.in_proj_weight": ("MultiheadAttention", 18, 18 * 6),
        "attend.out_proj": ("NonDynamicallyQuantizableLinear", 6, 36),
        "head": ("Linear", 5, 30),
    }
    assert {layer: form.flops for layer, form in forms.items()} == {
        "first": 2 * 16 * 216,
        "depth": 2 * 16 * 72,
        "up": 2 * 16 * 96,
        "attend.in_proj_weight": 2 * 64 * 108,
        "attend.out_proj": 2 * 64 * 36,
        "head": 2 * 30,
    }
    assert all((form.bits, form.activation_bits) == (32, 32) for form in forms.values())


def test_layers_add_up_to_the_metrics_of_the_network(odd: Network) -> None:
    """Zeros to `sparsity`; operations to `flops`, but for attention's products of activations with each other."""
    masked = restrict(
        odd,
        {"first.weight": Mask("some", torch.rand(8, 3, 3, 3) < 0.3), "head.weight": Mask("m", torch.rand(5, 6) < 0.5)},
    )
    forms = forms_of(masked)
    zeros, elements = (sum(map(count, forms)) for count in (lambda f: f.parameters - f.nonzero, lambda f: f.parameters))
    assert zeros > 0 and zeros / elements == pytest.approx(measured("sparsity", masked))
    attention = 2 * 2 * 64 * 64 * 6  # scores and their sum, both heads together
    assert sum(form.flops or 0 for form in forms) + attention == measured("flops", masked)


def test_bits_of_what_is_stored_and_of_what_is_read(odd: Network) -> None:
    four, eight = (Grid.between(-ONE, ONE, Scheme(bits, signed=True, symmetric=True)) for bits in (4, 8))
    forms = told(
        odd.restricted(
            {
                "first.weight": four,
                "up.weight": Codebook.of(torch.tensor([-1.0, 0.0, 1.0])),
                "head.weight": Shared(torch.zeros(5, 6, dtype=torch.int16), 20),
                "input": eight,
                "relu": replace(eight, scheme=Scheme(6)),
            }
        )
    )
    assert {layer: form.bits for layer, form in forms.items() if form.bits != 32} == {"first": 4, "up": 2, "head": 5}
    assert forms["first"].activation_bits == 8 and forms["head"].activation_bits == 32


def test_an_activation_that_is_moved_keeps_its_bits() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()
    grid = Grid.between(torch.tensor(0.0), ONE, Scheme(5))
    forms = told(Network(module, {}, (3, 4, 4)).restricted({"1:relu": grid, "4:linear(input)": Dynamic()}))
    assert forms["0"].activation_bits == 32 and forms["4"].activation_bits == 8
    forms = told(Network(module, {}, (3, 4, 4)).restricted({"1:relu": grid}))
    assert forms["4"].activation_bits == 5


def test_a_weight_that_is_computed_counts_as_it_is_used() -> None:
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten()).eval()
    (form,) = forms_of(Network(module, {}, (3, 3, 3)))
    assert (form.layer, form.width, form.parameters, form.flops) == ("0", 4, 108, None)

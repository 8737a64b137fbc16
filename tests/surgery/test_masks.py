"""N:M masks against a manual search; masks that persist through training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recipelang.errors import Refusal, SettingError
from recipelang.kernels.nm.reference import nm_holds, nm_mask
from recipelang.methods.patterns.nm import NM
from recipelang.plan import Selection, Selector
from recipelang.surgery.masks import (
    eligible,
    sparsify,
)
from recipelang.surgery.network import Network
from recipelang.surgery.products import find_products, products_of
from recipelang.surgery.restricting import broken, hold
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tracing import example


def naive_mask(scores: np.ndarray, n: int, m: int) -> np.ndarray:
    """The definition, loop by loop: of every m input channels the n highest stay, the first of equal ones."""
    keep = np.zeros(scores.shape, dtype=bool)
    for o in range(scores.shape[0]):
        for place in np.ndindex(*scores.shape[2:]):
            for start in range(0, scores.shape[1], m):
                group = [(-scores[(o, i, *place)], i) for i in range(start, start + m)]
                for _, i in sorted(group)[:n]:
                    keep[(o, i, *place)] = True
    return keep


shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(1, 3), max_size=2))


@settings(max_examples=60, deadline=None)
@given(shape=shapes, m=st.integers(2, 8), data=st.data())
def test_the_mask_is_the_definition(shape: tuple[int, int, list[int]], m: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, m - 1))
    outputs, groups, kernel = shape
    size = (outputs, groups * m, *kernel)
    # Few different values, so that ties are common.
    values = data.draw(st.lists(st.integers(0, 3), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
    scores = np.array(values, dtype=np.float32).reshape(size)
    mask = nm_mask(torch.from_numpy(scores), n, m)
    assert np.array_equal(mask.numpy(), naive_mask(scores, n, m))
    assert mask.sum() == mask.numel() * n // m
    assert nm_holds(torch.from_numpy(scores) * mask, n, m)


def test_more_than_n_in_one_group_does_not_hold() -> None:
    weight = torch.zeros(2, 8, 3, 3)
    weight[1, [0, 3, 4, 5], 2, 1] = 1
    assert nm_holds(weight, 2, 4)
    weight[1, 1, 2, 1] = 1
    assert not nm_holds(weight, 2, 4)
    assert not nm_holds(torch.zeros(2, 6), 2, 4)
    assert not nm_holds(torch.zeros(8), 2, 4)


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = torch.rand(4, 8)
    scores[2, 3] = float("nan")
    with pytest.raises(Refusal) as caught:
        nm_mask(scores, 2, 4)
    assert caught.value.code == "RCP0704"
    assert nm_mask(torch.tensor([[1.0, float("inf"), -float("inf"), 0.0]]), 1, 4).tolist() == [
        [False, True, False, False]
    ]
    with pytest.raises(Refusal, match="6 input channels"):
        nm_mask(torch.rand(4, 6), 2, 4)


@pytest.mark.parametrize(("n", "m"), [(4, 2), (2, 2), (0, 4), (-1, 4), (4, 0)])
def test_a_pattern_that_is_none(n: int, m: int) -> None:
    with pytest.raises(SettingError) as caught:
        NM(n, m)
    assert caught.value.field == "n"
    assert f"{n}:{m}" in str(caught.value)


def test_the_pattern_says_its_name_and_what_it_refuses() -> None:
    pattern = NM(1, 8)
    assert (str(pattern), pattern.restriction, str(NM())) == ("1:8", "1:8", "2:4")
    assert pattern.refuses(torch.rand(4, 16, 3, 3)) is None
    assert pattern.refuses(torch.rand(4, 12)) == "12 input channels are not a multiple of 8"
    assert "no input channels" in str(pattern.refuses(torch.rand(4)))
    assert pattern.holds(torch.rand(4, 16) * pattern.mask(torch.rand(4, 16)))


class Mixed(nn.Module):
    """One of each: attention, a grouped and a depthwise convolution, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 16, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.a = nn.Linear(16, 16)
        self.b = nn.Linear(16, 16)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depthwise(self.grouped(self.stem(x))).flatten(2).mT
        return self.b(self.a(self.attention(x, x, x)[0])).mean(1) * self.scale


def test_which_weights_can_take_a_pattern(wrap: Callable[..., Network]) -> None:
    able, dense = eligible(wrap(Mixed()), NM(2, 4))
    assert able == ("attention.in_proj_weight", "attention.out_proj.weight", "a.weight")
    assert dense == {
        "stem.weight": "3 input channels are not a multiple of 4",
        "grouped.weight": "a convolution with 2 groups",
        "depthwise.weight": "a convolution with 16 groups",
    }


def test_matrices_of_attention_and_nothing_else() -> None:
    module = torchvision.models.vit_b_16(weights=None)
    found = {product.name: product for product in find_products(module, example(module, (3, 224, 224)))}
    assert len(found) == 1 + 12 * 4 + 1  # patches; in, out and two of the MLP; head
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in found
    assert all(p.parameter and p.shape == module.get_parameter(n).shape and len(p.shape) > 1 for n, p in found.items())


def test_a_selection_narrows_it(digits: Network) -> None:
    able, dense = eligible(digits, NM(2, 4), Selection((Selector("glob", "layer1.*"),), (Selector("glob", "*.conv2"),)))
    assert able == tuple(f"layer1.{k}.conv1.weight" for k in range(5))
    assert dense == {}


def magnitudes(network: Network, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    parameters = dict(network.module.named_parameters())
    return {name: parameters[name].detach().abs() for name in names}


@pytest.fixture
def sparse(digits: Network) -> Network:
    pattern = NM(2, 4)
    return sparsify(digits, pattern, magnitudes(digits, eligible(digits, pattern)[0]))


def test_a_sparse_network_is_in_the_pattern_and_the_one_before_is_not(digits: Network, sparse: Network) -> None:
    weights = {product.name: product for product in products_of(sparse)}
    assert all(weights[name].zeros * 2 == weights[name].elements for name in sparse.masks)
    assert all(product.zeros == 0 for product in products_of(digits))
    assert not broken(sparse)
    assert all(mask.pattern == "2:4" for mask in sparse.masks.values())
    parameters = dict(sparse.module.named_parameters())
    assert all(NM().holds(parameters[name]) for name in sparse.masks)
    weight, before = parameters["layer1.0.conv1.weight"], digits.module.layer1[0].conv1.weight
    kept = sparse.masks["layer1.0.conv1.weight"].keep
    assert torch.equal(weight[kept], before[kept])


def test_a_new_pattern_ends_the_one_before(sparse: Network) -> None:
    again = sparsify(sparse, NM(1, 4), magnitudes(sparse, ("linear.weight",)))
    assert again.masks["linear.weight"].pattern == "1:4"
    assert again.masks["layer1.0.conv1.weight"].pattern == "2:4"
    assert sparse.masks["linear.weight"].pattern == "2:4"


@pytest.mark.parametrize(
    "optimizer", [lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), lambda p: torch.optim.AdamW(p, 0.1)]
)
def test_masks_last_through_training(sparse: Network, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    steps = optimizer(sparse.module.parameters())
    for _ in range(3):
        steps.zero_grad()
        sparse.module(torch.randn(4, 1, 8, 8)).square().mean().backward()
        steps.step()
        assert broken(sparse)
        hold(sparse.module, sparse.restrictions, steps)
        assert not broken(sparse)
    weight = dict(sparse.module.named_parameters())["layer1.0.conv1.weight"]
    states = [s for s in steps.state[weight].values() if isinstance(s, torch.Tensor) and s.shape == weight.shape]
    gone = ~sparse.masks["layer1.0.conv1.weight"].keep
    assert states and all(not s[gone].any() and s[~gone].any() for s in states)
    assert weight[~gone].any()


def test_infinite_weights_are_masked_too(digits: Network) -> None:
    weight = digits.module.linear.weight
    weight.data[0, 0], weight.data[0, 1] = float("nan"), float("inf")
    keep = torch.ones_like(weight, dtype=torch.bool)
    keep[0, :2] = False
    network = digits.restricted({"linear.weight": Mask("2:4", keep)})
    assert broken(network) == ("linear.weight",)
    hold(network.module, network.restrictions)
    assert weight[0, :2].tolist() == [0, 0]
    assert not broken(network)


@pytest.mark.parametrize(("name", "shape"), [("nowhere.weight", (10, 32)), ("linear.weight", (10, 31))])
def test_a_mask_without_its_weight_is_refused(digits: Network, name: str, shape: tuple[int, int]) -> None:
    lost = digits.restricted({name: Mask("2:4", torch.ones(shape, dtype=torch.bool))})
    for use in (lambda: hold(digits.module, lost.restrictions), lambda: broken(lost)):
        with pytest.raises(Refusal) as caught:
            use()
        assert caught.value.code == "RCP0705"
        assert name in caught.value.message

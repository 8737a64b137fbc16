"""Which weights a network multiplies with, on networks found in practice, and what looking leaves as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from multiplying import ROWS, Calls, D, T, weight
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.methods.patterns.nm import NM
from recipelang.surgery.deployed import deployed
from recipelang.surgery.listing import describe_layers
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.products import find_products, idle_weights
from recipelang.surgery.restricting import broken


def test_heads_for_training_alone_are_named_and_do_not_count() -> None:
    module = torchvision.models.googlenet(init_weights=False)
    x = torch.randn(1, 3, 64, 64)
    products = find_products(module, x)
    idle = idle_weights(module, products)
    assert {name.partition(".")[0] for name in idle} == {"aux1", "aux2"}
    assert {p.name for p in products} | set(idle) == {n for n, p in module.named_parameters() if p.ndim > 1}


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_v2_t", "convnext_tiny", "mnasnet0_5", "densenet121"])
def test_all_weights_of_torchvisions_networks_are_parameters(name: str) -> None:
    """Every parameter of two axes or more is a weight, except positions, tokens, biases and scales."""
    module = torchvision.models.get_model(name)
    products = find_products(module, torch.randn(1, 3, 224, 224))
    assert all(p.parameter and p.why == "" for p in products)
    beside = ("pos_embedding", "class_token", "relative_position_bias_table", "layer_scale", "logit_scale")
    assert {p.name for p in products} == {
        n for n, p in module.named_parameters() if p.ndim > 1 and not n.endswith(beside)
    }


class Mix(nn.Module):
    """Two linear maps as raw parameters around an activation, beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in, self.w_out, self.head = weight(64, 16), weight(16, 64), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).mT @ torch.eye(x.shape[1], 16)
        return self.head((x + F.linear(F.gelu(F.linear(x, self.w_in)), self.w_out)).mean(1))


def test_raw_parameters_are_masked_and_the_layers_say_so(wrap: Callable[..., Network]) -> None:
    network = wrap(Mix(), (1, 8, 8))
    able, dense = eligible(network, NM(2, 4))
    assert able == ("w_in", "w_out", "head.weight") and dense == {}
    sparse = sparsify(network, NM(2, 4), {name: network.module.get_parameter(name).detach().abs() for name in able})
    measured = catalogue.find("metric", "sparsity")().measure(sparse.module, sparse, (1, 8, 8))
    assert not broken(sparse) and measured.value == 0.5 and measured.note == "of 2,208 weights"
    rows = [(row["layer"], row["type"], row["shape"], row["eligible"]) for row in describe_layers(network)]
    assert rows == [
        ("w_in", "Parameter", [64, 16], True),
        ("w_out", "Parameter", [16, 64], True),
        ("head", "Linear", [10, 16], True),
    ]


class Flexible(nn.Module):
    """A residual block around torch's flex attention, which takes no part in training on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part[:, None].contiguous() for part in self.qkv(x).chunk(3, -1))
        return x + self.out(flex_attention(q, k, v)[:, 0])


@pytest.mark.filterwarnings("ignore")
def test_flex_attention_is_looked_into_by_all_that_watches(wrap: Callable[..., Network]) -> None:
    stem = [nn.Conv2d(1, 16, 2, 2), nn.BatchNorm2d(16), nn.Flatten(2)]
    blocks = [Calls(lambda n, x: x.mT), Flexible(), Flexible(), Calls(lambda n, x: x.mean(1)), nn.Linear(16, 3)]
    network = wrap(nn.Sequential(*stem, *blocks), (1, 8, 8))
    rows = {row["layer"]: (row["removable"], row["eligible"]) for row in describe_layers(network)}
    assert rows["4"] == rows["5"] == ("residual", None) and rows["4.qkv"] == rows["5.out"] == ("", True)
    flops = catalogue.find("metric", "flops")().measure(deployed(network), network, (1, 8, 8))
    assert flops.value == 2 * (16 * 64 + 2 * (16 * 16 * 64 + 2 * 16 * 16 * 16) + 48) and flops.note == ""


class Hidden(nn.Module):
    """Answers only while it is not observed."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise ValueError("no visitors")
        return x


def test_a_network_that_cannot_be_watched_is_refused() -> None:
    with pytest.raises(Refusal, match="ValueError: no visitors") as refusal:
        find_products(Hidden(), ROWS)
    assert refusal.value.code == "RCP0731"


def test_looking_changes_nothing() -> None:
    module = nn.Sequential(nn.BatchNorm1d(T), nn.Linear(D, 3), nn.Dropout(0.5)).train()
    before, state, x = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state(), ROWS.clone()
    find_products(Calls(lambda n, x: n.inner(x.mul_(1.5)), inner=module), x)
    assert torch.equal(x, ROWS) and module.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert not module[1]._forward_hooks and not module[1]._forward_pre_hooks


class Expert(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).relu())


class Routed(nn.Module):
    """A mixture of experts: an image goes through one of four, chosen by what it shows; two reach two at most."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Linear(16, 8), nn.Linear(8, 4)
        self.experts, self.head = nn.ModuleList(Expert(8) for _ in range(4)), nn.Linear(8, 3)
        self.experts.append(nn.Linear(8, 8))  # of another class, and never used

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        chosen, answers = self.gate(x).argmax(1), torch.zeros_like(x)
        for number in chosen.unique().tolist():
            rows = (chosen == number).nonzero()[:, 0]
            answers = answers.index_add(0, rows, self.experts[number](x[rows]))
        return self.head(x + answers)


@pytest.mark.parametrize("seed", range(4))
def test_experts_that_no_image_of_the_trial_reaches_are_weights_all_the_same(seed: int) -> None:
    torch.manual_seed(seed)
    module = Routed()
    products = find_products(module, torch.randn(2, 1, 4, 4))
    assert [product.name for product in products] == [
        "stem.weight",
        "gate.weight",
        *(f"experts.{number}.{part}.weight" for number in range(4) for part in ("up", "down")),
        "head.weight",
    ]
    assert sum(product.elements for product in products) == 16 * 8 + 8 * 4 + 4 * 2 * 8 * 16 + 8 * 3
    assert all(torch.equal(product.value, module.get_parameter(product.name)) for product in products)
    assert {product.path for product in products if "experts" in product.name} == {
        f"experts.{number}.{part}" for number in range(4) for part in ("up", "down")
    }
    assert list(idle_weights(module, products)) == ["experts.4.weight"]

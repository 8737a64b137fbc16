"""FLOPs against counts by hand, what torchvision publishes, and torch's counter without fused kernels."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.flop_counter import FlopCounterMode

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.measuring.flops import count
from recipelang.surgery.network import Network

B, T, D = 1, 5, 8
ROWS = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0))


class Calls(nn.Module):
    """A function of the rows as a network, with the modules that it uses."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, rows: Tensor) -> Any:
        return self.function(rows, *self.parts)


def macs(function: Callable[..., Any], *parts: nn.Module, rows: Tensor = ROWS) -> float:
    found = count(Calls(function, *parts), rows)
    assert found.uncounted == ()
    return found.flops / 2


def by_hand(cells: nn.RNNBase) -> int:
    """T times every matrix of every layer and direction, read from their published shapes."""
    gates = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1}[cells.mode]
    directions, out = 1 + cells.bidirectional, cells.proj_size or cells.hidden_size
    total = 0
    for layer in range(cells.num_layers):
        inputs = cells.input_size if layer == 0 else directions * out
        own = gates * cells.hidden_size * (inputs + out) + cells.proj_size * cells.hidden_size
        total += directions * own
    return T * total


@pytest.mark.parametrize(
    "cells",
    [
        nn.LSTM(D, 6, batch_first=True),
        nn.LSTM(D, 6, num_layers=3, bidirectional=True, bias=False, batch_first=True),
        nn.LSTM(D, 6, num_layers=2, proj_size=3, bidirectional=True, batch_first=True),
        nn.GRU(D, 6, batch_first=True),
        nn.GRU(D, 6, num_layers=2, bidirectional=True, batch_first=True),
        nn.RNN(D, 6, num_layers=2, batch_first=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_recurrent_layers(cells: nn.RNNBase, fast: bool) -> None:
    with torch.backends.mkldnn.flags(enabled=fast):
        assert macs(lambda x, part: part(x), cells) == by_hand(cells)


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTMCell(D, 6), 4), (nn.GRUCell(D, 6), 3), (nn.RNNCell(D, 6), 1)])
def test_cells_in_a_loop(cell: nn.Module, gates: int) -> None:
    def loop(rows: Tensor, cell: nn.Module) -> Any:
        state = None
        for step in rows.unbind(1):
            state = cell(step, state)
        return state

    assert macs(loop, cell) == T * gates * 6 * (D + 6)


W = torch.randn(3, D)
SQUARE = torch.randn(D, 3, D)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x @ W.T, T * D * 3),
        (lambda x: W @ x[0, 0], D * 3),
        (lambda x: x[0, 0] @ W.T, D * 3),
        (lambda x: x[0, 0] @ x[0, 1], D),
        (lambda x: torch.addmv(torch.zeros(3), W, x[0, 0]), D * 3),
        (lambda x: torch.zeros(T, 3).addmm_(x[0], W.T), T * D * 3),
        (lambda x: torch.zeros(1, T, 3).baddbmm_(x, W.T[None]), T * D * 3),
        (lambda x: torch.addbmm(torch.zeros(T, 3), x.expand(4, T, D), W.T.expand(4, D, 3)), 4 * T * D * 3),
        (lambda x: x.expand(7, 2, T, D) @ W.T, 14 * T * D * 3),
        (lambda x: torch.einsum("bti,oi->bto", x, W), T * D * 3),
        (lambda x: torch.einsum("bti,bsi->bts", x, x), T * T * D),
        (lambda x: torch.einsum("bti,ihe->bthe", x, SQUARE), T * D * 3 * D),
        (lambda x: torch.tensordot(x, W, dims=([2], [1])), T * D * 3),
        (lambda x: F.bilinear(x, x, SQUARE.transpose(0, 1)), T * 3 * (D * D + D)),
        (lambda x: F.normalize(F.gelu(F.layer_norm(x, (D,)))).softmax(-1).cumsum(1) * 2, 0),
    ],
)
def test_products(function: Callable[[Tensor], Any], expected: int) -> None:
    assert macs(function) == expected


MAPS = torch.randn(1, 4, 9, 9)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 6, 3), 7 * 7 * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2, padding=1, stride=2), 5 * 5 * 6 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding="same"), 81 * 4 * 9),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), 81 * 9 * 4 * 6),
        (nn.ConvTranspose2d(4, 6, 2, groups=2, stride=3, dilation=2, output_padding=1), 81 * 4 * 4 * 3),
        (nn.LazyConv2d(5, (1, 3)), 9 * 7 * 5 * 4 * 3),
    ],
    ids=str,
)
def test_convolutions(layer: nn.Module, expected: int) -> None:
    layer(MAPS)
    assert macs(lambda x, part: part(x), layer, rows=MAPS) == expected


def test_convolutions_along_one_and_three_axes_and_deformed() -> None:
    assert macs(lambda x, part: part(x.mT), nn.Conv1d(D, 3, 2)) == 4 * 3 * D * 2
    assert macs(lambda x, part: part(x[None]), nn.Conv3d(1, 2, (1, 2, 3))) == 2 * 1 * 4 * 6 * 6
    offsets, weight = torch.zeros(1, 18, 7, 7), torch.randn(6, 4, 3, 3)
    assert macs(lambda x: torchvision.ops.deform_conv2d(x, offsets, weight), rows=MAPS) == 49 * 6 * 4 * 9


def attend(heads: int, keys: int, length: int, width: int, **settings: Any) -> Callable[[Tensor], Tensor]:
    query = torch.randn(1, heads, T, D)
    key, value = torch.randn(1, keys, length, D), torch.randn(1, keys, length, width)
    return lambda _: F.scaled_dot_product_attention(query, key, value, **settings)


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        (attend(2, 2, T, D), 2 * T * T * (D + D)),
        (attend(2, 2, 7, 3), 2 * T * 7 * (D + 3)),
        (attend(4, 2, 7, D, enable_gqa=True), 4 * T * 7 * (D + D)),
        (attend(2, 2, T, D, is_causal=True), 2 * T * T * (D + D)),
        (attend(2, 2, T, D, attn_mask=torch.ones(T, T, dtype=torch.bool).tril()), 2 * T * T * (D + D)),
        (lambda x: F.scaled_dot_product_attention(x, x, x), T * T * (D + D)),
        (lambda x: flex_attention(x[None], x[None], x[None]), T * T * (D + D)),
    ],
)
@pytest.mark.parametrize("backends", [None, [SDPBackend.MATH], [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]])
@pytest.mark.filterwarnings("ignore")
def test_attention_in_every_kernel(attention: Callable[[Tensor], Tensor], expected: int, backends: Any) -> None:
    if backends is None:
        assert macs(attention) == expected
    else:
        with sdpa_kernel(backends):
            assert macs(attention) == expected


def test_attention_modules() -> None:
    projections, scores = 4 * T * D * D, T * T * 2 * D
    for weights in (True, False):
        attention = nn.MultiheadAttention(D, 2, batch_first=True)
        assert macs(lambda x, a, w=weights: a(x, x, x, need_weights=w), attention) == projections + scores
    other = nn.MultiheadAttention(D, 2, kdim=3, vdim=5, batch_first=True)
    key, value = torch.randn(1, 7, 3), torch.randn(1, 7, 5)
    expected = 2 * T * D * D + 7 * D * (3 + 5) + T * 7 * 2 * D
    assert macs(lambda x, a: a(x, key, value)[0], other) == expected
    layer = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True)
    assert macs(lambda x, part: part(x), layer) == projections + scores + 2 * T * D * 16
    encoder = nn.TransformerEncoder(layer, 3)
    assert macs(lambda x, part: part(x), encoder) == 3 * (projections + scores + 2 * T * D * 16)


class Attend(nn.Module):
    """Self-attention with a fused projection, as many write it."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class Patches(nn.Module):
    """8×8 pixels as 64 tokens, three attentions and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(1, 16, 1), nn.Linear(16, 10)
        self.blocks = nn.Sequential(*(Attend(16) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patch(x).flatten(2).mT).mean(1))


def test_a_small_transformer_by_hand() -> None:
    network = Network(Patches(), {}, (1, 8, 8))
    measured = catalogue.find("metric", "flops")().measure(network.module, network, (1, 8, 8))
    patch, projections, scores, head = 64 * 16, 4 * 64 * 16 * 16, 2 * 64 * 64 * 16, 160
    assert measured.value == 2 * (patch + 3 * (projections + scores) + head) == 1_182_016
    assert measured.note == ""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"])
def test_flops_are_twice_the_published_multiply_accumulates(name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    with torch.device("meta"):
        module = torchvision.models.get_model(name)
    size = weights.transforms().crop_size[0]
    found = count(module, torch.zeros(1, 3, size, size, device="meta"))
    assert found.flops / 2 == pytest.approx(weights.meta["_ops"] * 1e9, rel=0.01)
    assert found.uncounted == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", 1_814_073_344),
        ("mobilenet_v3_small", 56_510_400),
        ("densenet121", 2_834_161_664),
        ("efficientnet_b0", 385_814_752),
        ("shufflenet_v2_x1_0", 144_907_992),
        ("convnext_tiny", 4_455_531_264),
    ],
)
def test_multiply_accumulates_are_those_that_fvcore_counts(name: str, expected: int) -> None:
    """The sum of `conv` and `linear` of fvcore 0.1.5, written down, so that it need not be installed."""
    with torch.device("meta"):
        module = torchvision.models.get_model(name)
    assert count(module, torch.zeros(1, 3, 224, 224, device="meta")).flops == 2 * expected


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t", "swin_v2_t", "maxvit_t", "shufflenet_v2_x0_5"])
def test_a_cpu_counts_what_torchs_counter_counts_without_fused_kernels(name: str) -> None:
    module = torchvision.models.get_model(name).eval()
    images = torch.zeros(1, 3, 224, 224)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert count(module, images).flops == counter.get_total_flops()


@torch.library.custom_op("recipelang_tests::gram", mutates_args=())
def gram(x: Tensor) -> Tensor:
    """A product that torch's dispatcher does not see into."""
    return x @ x.mT


def test_what_cannot_be_counted_is_named() -> None:
    def strange(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x).abs().sum()
        return gram(gram(x)) + torch.linalg.det(x @ x.mT) + spectrum

    found = count(Calls(strange), ROWS)
    assert found.flops == 2 * T * T * D
    assert found.uncounted == ("aten::_fft_r2c", "recipelang_tests::gram", "aten::_linalg_det")
    network = Network(Calls(lambda x: gram(x.flatten(2))), {}, (1, 8, 8))
    measured = catalogue.find("metric", "flops")().measure(network.module, network, (1, 8, 8))
    assert (measured.value, measured.note) == (0, "not counted: recipelang_tests::gram")


class Square(torch.autograd.Function):
    """A function with a derivative of its own, made of torch's operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x @ x.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


@pytest.mark.filterwarnings("ignore")
def test_functions_with_their_own_derivative_and_scripts_are_seen_through() -> None:
    assert macs(lambda x: Square.apply(x)) == T * T * D
    script = torch.jit.script(nn.Linear(D, 3))
    assert macs(lambda x, part: part(x), script) == T * D * 3


class Changes(nn.Module):
    """Writes into its input, counts its training calls, and drops out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(T), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(x.mul_(0)))


def test_counting_leaves_input_modes_statistics_and_random_numbers_alone() -> None:
    module, rows, state = Changes().train(), ROWS.clone(), torch.get_rng_state()
    module.drop.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    count(module, rows)
    assert torch.equal(rows, ROWS) and module.training and module.norm.training and not module.drop.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_cannot_be_watched_is_refused_and_switches_are_put_back() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(Refusal, match="mat1 and mat2 shapes cannot be multiplied") as refusal:
        count(nn.Linear(2, 2), ROWS)
    assert refusal.value.code == "RCP0730"
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_every_formula_of_a_fused_recurrent_layer_is_its_matrices() -> None:
    """What a GPU runs as one operation, by the shapes that it is called with."""
    from recipelang.measuring.flops import _recurrent

    cells = nn.LSTM(D, 6, num_layers=2, bidirectional=True)
    shapes = [tuple(weight.shape) for weight in cells.parameters()]
    assert _recurrent((T, 1, D), shapes, None) == 2 * by_hand(cells)
    assert prod(shapes[0]) == 4 * 6 * D

"""Which weights a network multiplies with: raw, wrapped, recurrent, convolutions, shared; counts and values by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from multiplying import MAPS, ROWS, Calls, D, Standardised, T, found, weight
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from recipelang import catalogue
from recipelang.methods.patterns.nm import NM
from recipelang.surgery.listing import describe_layers
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.products import find_products, idle_weights


class Ignoring(nn.Conv2d):
    """A convolution in name only."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * input


class Sign(torch.autograd.Function):
    """A straight-through estimator."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def loop(net: Any, x: Tensor) -> Tensor:
    state = torch.zeros(len(x), 6)
    for step in x.unbind(1):
        state = net.cell(step, state)
    return state


ITS_AXIS = "its inputs are along its first axis"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Calls(lambda n, x: F.linear(F.gelu(F.linear(x, n.a)), n.b), a=weight(32, D), b=weight(D, 32)),
         {"a": "", "b": ""}),
        (Calls(lambda n, x: torch.einsum("bti,oi->bto", x, n.a), a=weight(12, D)), {"a": ""}),
        (Calls(lambda n, x: x @ n.a, a=weight(D, 12)), {"a": ITS_AXIS}),
        (Calls(lambda n, x: x @ n.a, a=weight(D, D)), {"a": ITS_AXIS}),
        (Calls(lambda n, x: torch.einsum("bti,io->bto", x, n.a), a=weight(D, 12)), {"a": ITS_AXIS}),
        (Calls(lambda n, x: (n.a @ x.mT).mT, a=weight(12, D)), {"a": ""}),
        (Calls(lambda n, x: F.linear(F.linear(x, n.a), n.a.t()), a=weight(12, D)),
         {"a": "it is used both as it is and transposed"}),
        (Calls(lambda n, x: F.linear(x, n.a) + x @ n.d @ n.u, a=weight(12, D), d=weight(D, 2), u=weight(2, 12)),
         {"a": "", "d": ITS_AXIS, "u": ITS_AXIS}),
        (Calls(lambda n, x: F.linear(x, n.a + n.u @ n.d), a=weight(12, D), u=weight(12, 2), d=weight(2, D)),
         {"a": "computed from `a` and `u` and `d`"}),
        (Calls(lambda n, x: F.linear(x, torch.cat([n.a, n.b])), a=weight(12, D), b=weight(4, D)),
         {"a": "computed from `a` and `b`"}),
        (Calls(lambda n, x: F.linear(x, Sign.apply(n.a)), a=weight(12, D)), {"a": "computed from `a`"}),
        (Calls(lambda n, x: F.linear(F.linear(x, n.a), n.a - n.a.mean()), a=weight(D, D)),
         {"a": "another weight is also computed from it", "a (2)": "computed from `a`"}),
        (Calls(lambda n, x: F.scaled_dot_product_attention(*(F.linear(x, w) for w in n.a.chunk(3))), a=weight(24, D)),
         {"a": ""}),
        (Calls(lambda n, x: F.linear(F.linear(x, n.l[0]), n.l[1]), l=nn.ParameterList([weight(12, D), weight(4, 12)])),
         {"l.0": "", "l.1": ""}),
        (Calls(lambda n, x: n.m(n.q.expand(2, -1, -1), x, x)[0], q=weight(1, 1, D),
               m=nn.MultiheadAttention(D, 2, batch_first=True)), {"m.in_proj_weight": "", "m.out_proj.weight": ""}),
        (Calls(lambda n, x: n.m(x, x[..., :4], x)[0], m=nn.MultiheadAttention(D, 2, kdim=4, vdim=D, batch_first=True)),
         {"m.q_proj_weight": "", "m.k_proj_weight": "", "m.v_proj_weight": "", "m.out_proj.weight": ""}),
        (Calls(lambda n, x: n.h(x + n.e(torch.arange(T)) + n.p), e=nn.Embedding(T, D), p=weight(1, T, D),
               h=nn.Linear(D, 3)), {"h.weight": ""}),
        (Calls(lambda n, x: n.table(n.where) + x @ n.fixed, table=nn.Sequential(nn.Linear(2, 4), nn.Linear(4, D)),
               where=nn.Buffer(torch.randn(T, 2)), fixed=nn.Buffer(torch.randn(D, D))),
         {"table.0.weight": "", "table.1.weight": ""}),
    ],
    ids=range(18),
)  # fmt: skip
def test_raw_parameters_and_what_is_computed_from_them(module: nn.Module, expected: dict[str, str]) -> None:
    assert {name: product.why for name, product in found(module).items()} == expected


@pytest.mark.parametrize(
    ("wrap", "sources"),
    [
        (parametrizations.weight_norm, ("parametrizations.weight.original0", "parametrizations.weight.original1")),
        (parametrizations.spectral_norm, ("parametrizations.weight.original",)),
        (parametrizations.orthogonal, ("parametrizations.weight.original",)),
        (nn.utils.weight_norm, ("weight_g", "weight_v")),
        (nn.utils.spectral_norm, ("weight_orig",)),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), ("weight_orig",)),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("layer", [lambda: nn.Linear(D, 6), lambda: nn.Conv2d(4, 6, 3)])
@pytest.mark.filterwarnings("ignore")
def test_what_wraps_a_weight_is_seen_through_to_its_effective_value(
    wrap: Callable[[nn.Module], nn.Module], sources: tuple[str, ...], layer: Callable[[], nn.Module]
) -> None:
    inner = wrap(layer())
    x = ROWS if isinstance(inner, nn.Linear) else MAPS
    module = nn.Sequential(inner).eval()
    module(x)
    [product] = find_products(module, x)
    assert (product.name, product.path, product.parameter) == ("0.weight", "0", False)
    assert product.sources == tuple(f"0.{name}" for name in sources)
    assert torch.equal(product.value, inner.weight.detach())
    network = Network(module, {}, (4, 9, 9))
    if x is MAPS:
        able, dense = eligible(network, NM(2, 4))
        assert able == () and dense["0.weight"].startswith(f"computed from `{sources[0]}`")
        measured = catalogue.find("metric", "sparsity")().measure(module, network, (4, 9, 9))
        assert measured.value == float((inner.weight == 0).float().mean())
        assert measured.value == (0.5 if sources == ("weight_orig",) and wrap is not nn.utils.spectral_norm else 0)
        assert [row["why"] for row in describe_layers(network) if row["layer"] == "0"] == [dense["0.weight"]]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_count_every_matrix_and_stay_dense(kind: type[nn.RNNBase]) -> None:
    cells = kind(D, 4, num_layers=2, bidirectional=True, batch_first=True)
    products = found(Calls(lambda n, x: n.head(n.cells(x)[0][:, -1]), cells=cells, head=nn.Linear(8, 3)))
    matrices = {f"cells.{name}" for name, p in cells.named_parameters() if p.ndim == 2}
    assert set(products) == matrices | {"head.weight"}
    assert {products[name].kind for name in matrices} == {"recurrent"}
    network = Network(
        Calls(lambda n, x: n.cells(x.flatten(1, 2))[0][:, -1], cells=kind(D, 4, batch_first=True)), {}, (1, T, D)
    )
    assert eligible(network, NM(2, 4)) == (
        (), dict.fromkeys(("cells.weight_ih_l0", "cells.weight_hh_l0"), "the weight of a recurrent layer")
    )  # fmt: skip


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_in_a_loop_count_once(cell: type[nn.RNNCellBase]) -> None:
    module = Calls(lambda n, x: loop(n, x), cell=cell(D, 6)) if cell is not nn.LSTMCell else Calls(
        lambda n, x: [n.cell(step) for step in x.unbind(1)][-1][0], cell=cell(D, 6)
    )  # fmt: skip
    products = found(module)
    assert {name: p.shape for name, p in products.items()} == {
        name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim == 2
    }


def test_convolutions_of_all_kinds() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 2, groups=2),
        Standardised(4, 8, 3), Ignoring(8, 8, 3), nn.Conv2d(8, 8, 1),
    )  # fmt: skip
    network = Network(layers, {}, (4, 9, 9))
    able, dense = eligible(network, NM(2, 4))
    assert able == ("0.weight", "5.weight")
    assert dense == {
        "1.weight": "a convolution with 8 groups",
        "2.weight": "a transposed convolution",
        "3.weight": "computed from `weight`",
        "4.weight": "no product uses it in evaluation",
    }
    assert sum(p.elements for p in found(layers, MAPS).values()) == 288 + 72 + 64 + 288 + 64
    standardised = found(layers, MAPS)["3.weight"].value
    assert float(standardised.mean((1, 2, 3)).abs().max()) < 1e-6
    rows = {row["layer"]: (row["eligible"], row["why"]) for row in describe_layers(network)}
    assert {name.removesuffix(".weight"): why for name, why in dense.items()} == {
        name: why for name, (able, why) in rows.items() if able is False
    }


def test_convolutions_along_one_axis_bilinear_layers_and_parts() -> None:
    module = Calls(
        lambda n, x: n.both(n.along(x.mT).mT, n.along(x.mT).mT), along=nn.Conv1d(D, 6, 3), both=nn.Bilinear(6, 6, 2)
    )
    assert {name: (p.shape, p.kind) for name, p in found(module).items()} == {
        "along.weight": ((6, D, 3), "convolution"),
        "both.weight": ((2, 6, 6), "bilinear"),
    }
    slim = Calls(lambda n, x: F.conv2d(x, n.c.weight[:3]), c=nn.Conv2d(4, 6, 3))
    assert found(slim, MAPS)["c.weight"].why


def test_a_weight_under_two_names_and_one_used_twice_count_once() -> None:
    tied = nn.Sequential(nn.Linear(D, D), nn.Linear(D, D))
    tied[1].weight = tied[0].weight
    assert list(found(tied)) == ["0.weight"] and idle_weights(tied, find_products(tied, ROWS)) == {}
    normed = parametrizations.weight_norm(nn.Linear(D, D))
    assert [p.elements for p in find_products(Calls(lambda n, x: n.a(n.a(x)), a=normed), ROWS)] == [64]


def test_a_weight_that_is_repeated_for_every_image_counts_once() -> None:
    """Rows that are not in memory order are multiplied image by image, and heads are copied for each."""
    normed = Calls(
        lambda n, x: n.mid(n.cells(x)[0]),
        cells=nn.LSTM(D, 4, batch_first=True), mid=parametrizations.weight_norm(nn.Linear(4, 6)),
    )  # fmt: skip
    [mid] = [p for p in found(normed).values() if not p.parameter]
    assert mid.shape == (6, 4) and torch.equal(mid.value, normed.mid.weight.detach())
    heads = Calls(lambda n, x: x.unflatten(2, (2, 4)).transpose(1, 2) @ n.h, h=weight(2, 4, 3))
    assert [(p.elements, p.why != "") for p in found(heads).values()] == [(24, True)]
    zeros = Calls(lambda n, x: x.unflatten(2, (2, 4)).transpose(1, 2) @ n.h, h=nn.Parameter(torch.zeros(2, 4, 3)))
    assert [(p.elements, p.zeros) for p in found(zeros).values()] == [(24, 24)]


def test_another_precision_is_no_other_weight() -> None:
    def half(net: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net.b(net.a(x)).float() @ net.c.double().float()

    module = Calls(half, a=nn.Linear(D, D), b=nn.Linear(D, D, bias=False), c=weight(D, 3))
    assert {name: p.why for name, p in found(module).items()} == {"a.weight": "", "b.weight": "", "c": ITS_AXIS}


def test_frozen_weights_stay_as_they_are(wrap: Callable[..., Network]) -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3))
    module[0].requires_grad_(False)
    able, dense = eligible(wrap(module, (4, 9, 9)), NM(2, 4))
    assert able == ("1.weight",) and dense == {"0.weight": "it is frozen: it has no gradients"}

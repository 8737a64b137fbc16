"""What enters each weight: against unfolding by hand, and against the functions that networks call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.scoring import input_statistics
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.inputs import Entering, watching
from recipelang.surgery.network import Network


def matrix(weight: Tensor) -> Tensor:
    """O×I×kernel → O×(kernel·I)."""
    return weight.movedim(1, -1).flatten(1)


def entering(module: nn.Module, *inputs: Tensor) -> list[tuple[str, Entering]]:
    seen: list[tuple[str, Entering]] = []
    weights = {name: p for name, p in module.named_parameters() if p.ndim > 1}
    with torch.no_grad(), watching(weights, lambda *what: seen.append(what)):
        module(*inputs)
    return seen


convolutions = st.fixed_dictionaries(
    {
        "groups": st.sampled_from([1, 1, 2]),
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 2),
        "bias": st.booleans(),
    }
)


@settings(max_examples=40)
@given(how=convolutions, last=st.booleans(), seed=st.integers(0, 99))
def test_a_convolution_is_the_product_with_unfolded_patches(how: dict[str, Any], last: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layer, images = nn.Conv2d(4, 6, **how), torch.randn(3, 4, 7, 6)
    if last:
        layer, images = layer.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    [(name, seen)] = entering(layer, images)
    patches = F.unfold(images, how["kernel_size"], how["dilation"], how["padding"], how["stride"])
    groups = patches.movedim(1, 0).flatten(1).unflatten(0, (how["groups"], 4 // how["groups"], -1)).double()
    assert name == "weight" and seen.rows == groups.shape[-1]
    torch.testing.assert_close(seen.squares(), groups.square().sum(-1).unflatten(-1, how["kernel_size"]))
    for found, rows in zip(seen.products(), groups, strict=True):
        inputs = rows.movedim(0, 1).flatten(0, 1)  # (kernel·I)×rows
        torch.testing.assert_close(found, inputs @ inputs.T, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 3, 3, stride=2, padding=1, bias=False), (4, 9)),
        (nn.Conv2d(4, 3, (2, 4), padding="same", dilation=(1, 2), bias=False), (4, 6, 5)),
        (nn.Conv2d(4, 3, 3, padding=2, padding_mode="circular", bias=False), (4, 6, 5)),
        (nn.Conv2d(4, 3, 3, padding="same", padding_mode="reflect", bias=False), (4, 6, 5)),
        (nn.Conv3d(4, 3, 2, padding=(1, 0, 1), bias=False), (4, 3, 4, 2)),
        (nn.Linear(4, 3, bias=False), (4,)),
        (nn.Linear(4, 3, bias=False), (5, 4)),
        (nn.Linear(4, 3, bias=False), (2, 5, 4)),
        (nn.Linear(4, 1), (5, 4)),
        (nn.Linear(1, 3), (1,)),
    ],
)
def test_outputs_follow_from_the_second_moments(layer: nn.Conv2d | nn.Linear, shape: tuple[int, ...]) -> None:
    """Σ y² over all positions is W XXᵀ Wᵀ, whatever the padding."""
    images = torch.randn(3, *shape)
    [(_, seen)] = entering(layer, images)
    weight = matrix(layer.weight.detach()).double()
    outputs = layer(images).detach() - (0 if layer.bias is None else layer.bias.detach())
    energy = outputs.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1).double().square().sum(1)
    torch.testing.assert_close((weight @ seen.products()[0] @ weight.T).diagonal(), energy, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(seen.products()[0].diagonal(), matrix(seen.squares())[0], rtol=1e-5, atol=1e-8)
    assert seen.rows * len(weight) == outputs.numel()


def test_large_inputs_are_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Entering(torch.randn(5, 4, 6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    whole = seen.products()
    monkeypatch.setattr("recipelang.scoring.inputs.PIECE", 1)
    torch.testing.assert_close(seen.products(), whole, rtol=1e-5, atol=1e-5)


class Uses(nn.Module):
    """Weights used by functions and by hand, one that runs the other way, and two in one piece of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns, self.back = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.point, self.idle = nn.Conv2d(4, 4, 1), nn.Linear(4, 4)
        store = torch.randn(2, 4, 4)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.first.weight, self.second.weight = nn.Parameter(store[0]), nn.Parameter(store[1])

    def forward(self, x: Tensor) -> Tensor:
        out = torch.einsum("bi,oi->bo", x, self.rows.weight) + (self.columns.weight @ (2 * x).T).T
        out = out + x @ self.back.weight + F.linear(4 * x, self.point.weight.flatten(1))
        return out + F.linear(8 * x, self.second.weight) + F.linear(16 * x, self.first.weight)


def test_weights_are_known_by_where_they_lie() -> None:
    x = torch.randn(6, 4)
    for module in (Uses(), Uses().to(memory_format=torch.channels_last)):
        found = {name.removesuffix(".weight"): seen.images for name, seen in entering(module, x)}
        factors = {"rows": 1, "columns": 2, "point": 4, "second": 8, "first": 16}
        assert list(found) == list(factors)
        assert all(torch.equal(found[name], factor * x) for name, factor in factors.items())


def norms_by_function(
    module: nn.Module, images: Tensor, names: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    """Norms as `F.linear` and `F.conv2d` see them: every module and function of torch calls these two."""
    linear, conv2d = F.linear, F.conv2d
    squares: dict[str, Tensor] = {}

    def note(weight: Tensor, rows: Tensor) -> None:
        if id(weight) in names:
            squares[names[id(weight)]] = rows.double().square().sum(0)

    def lin(x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
        note(weight, x.flatten(0, -2))
        return linear(x, weight, bias)

    def conv(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
        patches = F.unfold(x, weight.shape[2:], dilation, padding, stride).movedim(1, -1).flatten(0, 1)
        note(weight, patches)
        return conv2d(x, weight, bias, stride, padding, dilation, groups)

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(F, "linear", lin)
        patched.setattr(F, "conv2d", conv)
        module(images)
    torch.backends.mha.set_fastpath_enabled(fused)
    return {name: total.sqrt().float() for name, total in squares.items()}


@pytest.mark.parametrize(
    ("name", "side", "more"),
    [
        ("vit_b_16", 32, {"image_size": 32}),
        ("swin_t", 64, {}),
        ("swin_v2_t", 64, {}),
        ("convnext_tiny", 32, {}),
        ("mobilenet_v2", 32, {}),
        ("googlenet", 64, {"init_weights": False}),
        ("densenet121", 32, {}),
    ],
)
def test_every_weight_of_a_network_is_seen(
    lab: Any, name: str, side: int, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = torchvision.models.get_model(name, **more).eval()
    images = torch.randn(2, 3, side, side)
    split = (images, torch.zeros(2, dtype=torch.long))
    evidence = Gathered(
        Network(module, {}, (3, side, side)), lab.Images({"train": split}, 10, batch=2), lab.CrossEntropy()
    )
    found, weights = evidence.input_norms, evidence.weights
    expected = norms_by_function(evidence.module, images, {id(w): n for n, w in weights.items()}, monkeypatch)
    idle = {n for n in weights if n.startswith("aux")}  # googlenet: heads for training alone
    assert set(found) == set(expected) == set(weights) - idle == set(evidence.reached)
    for weight, norm in found.items():
        groups = len(weights[weight]) if len(norm) > 1 else 1
        rows = norm[:: max(1, len(norm) // groups)].flatten()
        if weights[weight].shape[1] == 1 and weights[weight].ndim > 2:  # depthwise: one input for each output
            assert norm.shape == weights[weight].shape
        torch.testing.assert_close(rows, expected[weight].flatten(), rtol=1e-3, atol=1e-5)


def test_attention_between_sequences_counts_all_its_inputs() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    query, key = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    seen = entering(layer, query, key, key)
    found = sum(e.products() for name, e in seen if name == "in_proj_weight")
    rows = torch.cat([query.flatten(0, 1), key.flatten(0, 1)]).double()  # keys and values are projected at once
    torch.testing.assert_close(found[0], rows.T @ rows, rtol=1e-5, atol=1e-5)  # type: ignore[index]
    assert [name for name, _ in seen][-1] == "out_proj.weight"


@pytest.fixture(params=[True, False])
def fused(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(request.param)
    yield request.param
    torch.backends.mha.set_fastpath_enabled(before)


def test_the_fused_attention_is_off_and_comes_back(fused: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    names = [name for name, _ in entering(layer, torch.randn(2, 3, 8))]
    weights = ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]
    assert names == weights and torch.backends.mha.get_fastpath_enabled() is fused
    with pytest.raises(ZeroDivisionError), watching({}, lambda *_: None):
        raise ZeroDivisionError
    assert torch.backends.mha.get_fastpath_enabled() is fused


def test_norms_and_second_moments_agree_over_all_batches(lab: Any) -> None:
    evidence = lab.gathered(lab.small(), lab.images())
    norms, found = evidence.input_norms, dict(evidence.second_moments(evidence.weights))
    assert list(found) == list(evidence.reached) == ["0.weight", *(f"{b}.conv.weight" for b in "123"), "7.weight"]
    for name, hessian in found.items():
        rows = 48 if name == "7.weight" else 48 * 8 * 8
        assert hessian.dtype == torch.float32
        torch.testing.assert_close(hessian, hessian.mT)
        torch.testing.assert_close(hessian[0].diagonal(), matrix(norms[name])[0] ** 2 * 2 / rows, rtol=1e-5, atol=1e-7)


def test_what_does_not_fit_together_is_gathered_in_several_passes(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = lab.gathered(lab.small(), lab.images())
    together = dict(evidence.second_moments(evidence.weights))
    monkeypatch.setattr(input_statistics, "TOGETHER", 0)
    passes: list[str] = []
    inner = evidence.data.batches

    def counting(split: str, **more: Any) -> Iterator[Any]:
        passes.append(split)
        yield from inner(split, **more)

    evidence.data.batches = counting
    apart = dict(evidence.second_moments(evidence.weights))
    assert len(passes) == len(apart) == 5 and list(apart) == list(together)
    assert all(torch.equal(apart[name], hessian) for name, hessian in together.items())


class Twice(nn.Module):
    """One layer used twice, and something after it that must not be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last, self.calls = nn.Linear(64, 64), nn.Linear(64, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.shared(torch.relu(self.shared(x.flatten(1))))
        self.calls += 1
        out: Tensor = self.last(y)
        return out


def test_a_pass_ends_after_the_last_use(lab: Any) -> None:
    module = Twice()
    evidence = lab.gathered(module, lab.images())
    assert evidence.reached == {"shared.weight": 2, "last.weight": 1}
    before = evidence.module.calls
    [(_, hessian)] = evidence.second_moments(["shared.weight"])
    assert evidence.module.calls == before
    x = lab.images().splits["train"][0].flatten(1)
    rows = torch.cat([x, torch.relu(module.shared(x)).detach()])
    torch.testing.assert_close(hessian[0], 2 / 96 * rows.T @ rows, rtol=1e-4, atol=1e-5)


def test_inputs_that_are_no_numbers_are_refused(lab: Any) -> None:
    data = lab.images()
    data.splits["train"][0][3, 0, 2, 2] = float("inf")
    evidence = lab.gathered(lab.small(), data)
    for look in (lambda: evidence.input_norms, lambda: list(evidence.second_moments(["0.weight"]))):
        with pytest.raises(Refusal, match=r"`0\.weight`") as refusal:
            look()
        assert refusal.value.code == "RCP1010"

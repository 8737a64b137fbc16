"""Laws of binary and ternary quantizers against the formulas of their papers, written naively."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from few import NOW, numpied, of_input, of_weight, trained, upstream, weight
from torch import Tensor, nn
from torch.nn.functional import relu

from recipelang.kinds import Observed
from recipelang.methods.quantizers.abc import Abc
from recipelang.methods.quantizers.binaryconnect import BinaryConnect, likely
from recipelang.methods.quantizers.bnn import Bnn
from recipelang.methods.quantizers.bnn_dl import BnnDl
from recipelang.methods.quantizers.bwn import Bwn
from recipelang.methods.quantizers.gxnor import Gxnor
from recipelang.methods.quantizers.ttq import Ttq
from recipelang.methods.quantizers.twn import Twn
from recipelang.methods.quantizers.xnor import Xnor
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids
from recipelang.surgery.simulated import simulated
from recipelang.training.quantized import learning

WEIGHTS: dict[str, Any] = {
    "binaryconnect": BinaryConnect(),
    "bnn": Bnn(),
    "bwn": Bwn(),
    "xnor": Xnor(),
    "twn": Twn(),
    "ttq": Ttq(),
    "gxnor": Gxnor(),
    "abc": Abc(),
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (4, 6), (3, 1, 3, 3)])
def test_a_step_computes_what_the_codebook_does(name: str, shape: tuple[int, ...]) -> None:
    method, value = WEIGHTS[name], weight(shape)
    one = of_weight(method, value)
    made, _, state = trained(method, value, one)
    torch.testing.assert_close(made, one.apply(value), rtol=1e-6, atol=1e-7)
    assert torch.equal(made != 0, one.apply(value) != 0)
    assert len(made.flatten().unique()) <= one.levels.numel()
    after = method.finish(one, state, value)
    torch.testing.assert_close(made, after.apply(value), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["bnn", "xnor", "gxnor", "abc"])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_step_computes_with_inputs_as_the_codebook_does(name: str, shift: float) -> None:
    method, value = WEIGHTS[name], weight((4, 3, 5, 5)) * 3 + shift
    one = of_input(method, value)
    made, _, state = trained(method, value, one, is_weight=False)
    torch.testing.assert_close(made, one.apply(value))
    torch.testing.assert_close(method.finish(one, state, None).apply(value), made)


def test_zero_inputs_are_negative_and_zero_weights_positive() -> None:
    value = torch.tensor([0.0, -1.0, 1.0])
    assert of_input(Bnn(), value).apply(value).tolist() == pytest.approx([-2 / 3, -2 / 3, 2 / 3])
    assert of_weight(Bnn(), value[None]).apply(value[None])[0].tolist() == pytest.approx([2 / 3, -2 / 3, 2 / 3])


def test_all_methods_leave_a_filter_of_one_size_as_it_is() -> None:
    value = torch.tensor([[1.0, -1, 1, 1], [-1, 1, -1, -1]])
    for method in (BinaryConnect(), Bnn(), Bwn(), Xnor(), Twn(), Ttq(), Gxnor()):
        torch.testing.assert_close(of_weight(method, value).apply(value), value)


# scales ----------------------------------------------------------------------------------------


def test_the_scale_of_a_binary_filter_has_the_least_error() -> None:
    value = weight()
    for row, levels in zip(numpied(value).reshape(5, -1), numpied(of_weight(Bwn(), value).levels), strict=True):
        assert levels == pytest.approx([-abs(row).mean(), abs(row).mean()])
        tried = numpy.linspace(0, 2 * abs(row).mean(), 401)
        errors = [((row - alpha * numpy.sign(row)) ** 2).sum() for alpha in tried]
        assert tried[numpy.argmin(errors)] == pytest.approx(levels[1], abs=abs(row).mean() / 150)


def naive_ternary(row: Any, delta: float) -> tuple[float, Any]:
    kept = abs(row) > delta
    alpha = abs(row[kept]).mean()
    return alpha, numpy.where(row > delta, alpha, numpy.where(row < -delta, -alpha, 0))


@pytest.mark.parametrize("per", ["channel", "tensor"])
def test_twn_is_the_papers_and_nearly_the_best_ternary_filter(per: str) -> None:
    value = weight((4, 200))
    made, gradient, _ = trained(Twn(per=per), value, of_weight(Twn(per=per), value))
    assert torch.equal(gradient, upstream(value)), "straight-through"
    whole = numpied(value)
    for row, got in zip(
        whole if per == "channel" else [whole.ravel()],
        numpied(made).reshape(4 if per == "channel" else 1, -1),
        strict=True,
    ):
        _, naive = naive_ternary(row, 0.7 * abs(row).mean())
        assert got == pytest.approx(naive, rel=1e-5)
        least = min(((row - naive_ternary(row, delta)[1]) ** 2).sum() for delta in sorted(abs(row))[:-1])
        assert ((row - naive) ** 2).sum() <= 1.03 * least


# estimators ------------------------------------------------------------------------------------


def test_the_gradient_of_binaryconnect_passes_and_weights_stay_in_their_range() -> None:
    value = weight()
    method, parameter = BinaryConnect(), nn.Parameter(value.clone())
    one = of_weight(method, value)
    _, gradient, state = trained(method, value, one)
    assert torch.equal(gradient, upstream(value))
    with torch.no_grad():
        method.after_step(parameter, one, state, NOW, None)
    level = abs(numpied(value)).mean()
    assert numpied(parameter) == pytest.approx(numpied(value).clip(-level, level))


def test_stochastic_signs_have_the_probability_of_the_hard_sigmoid() -> None:
    value = torch.linspace(-1.5, 1.5, 7).repeat(20000, 1)
    one = of_weight(BinaryConnect(), torch.ones(1, 4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made, gradient, _ = trained(BinaryConnect(stochastic=True), value, one)
    assert set(made.unique().tolist()) == {-1.0, 1.0} and torch.equal(gradient, upstream(value))
    wanted = [min(max((w + 1) / 2, 0), 1) for w in numpy.linspace(-1.5, 1.5, 7)]
    assert (made > 0).double().mean(0).tolist() == pytest.approx(wanted, abs=0.015)
    assert likely(value[0], torch.tensor(1.0)).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("is_weight", [True, False])
@pytest.mark.parametrize("method", [Bnn(), BnnDl()], ids=["bnn", "bnn_dl"])
def test_the_gradient_of_a_sign_is_that_of_the_hard_tanh(method: Bnn, is_weight: bool) -> None:
    value = weight((6, 40))
    one = (of_weight if is_weight else of_input)(method, value)
    _, gradient, _ = trained(method, value, one, is_weight)
    level = abs(numpied(value)).mean()
    assert numpied(gradient) == pytest.approx(numpied(upstream(value)) * (abs(numpied(value)) <= level))
    other = value.clone().requires_grad_()
    (level * nn.functional.hardtanh(other / level)).backward(upstream(value))
    assert other.grad is not None
    torch.testing.assert_close(gradient, other.grad)


@pytest.mark.parametrize("method", [Bwn(), Xnor()], ids=["bwn", "xnor"])
def test_the_gradient_of_a_scaled_sign_is_the_papers(method: Any) -> None:
    value = weight((4, 30)) * 4
    assert (value.abs() > 1).any()
    _, gradient, _ = trained(method, value, of_weight(method, value))
    for row, got, above in zip(numpied(value), numpied(gradient), numpied(upstream(value)), strict=True):
        alpha = abs(row).sum() / 30
        assert got == pytest.approx(above * (1 / 30 + (abs(row) <= 1) * alpha), rel=1e-5)


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_both_scales_of_ttq_and_its_latent_weights_have_the_papers_gradients(per: str) -> None:
    method, value = Ttq(per=per), weight((3, 50))
    one = of_weight(method, value)
    made, gradient, state = trained(method, value, one)
    rows, above = numpied(value), numpied(upstream(value))
    if per == "tensor":
        rows, above = rows.reshape(1, -1), above.reshape(1, -1)
    levels = numpied(one.levels).reshape(len(rows), 3)
    for n, (row, g) in enumerate(zip(rows, above, strict=True)):
        delta = 0.05 * abs(row).max()
        up, down = levels[n, 2], -levels[n, 0]
        positive, negative = row > delta, row < -delta
        assert up == pytest.approx(row[positive].mean()) and down == pytest.approx(-row[negative].mean())
        assert numpied(made).reshape(len(rows), -1)[n] == pytest.approx(up * positive - down * negative, rel=1e-5)
        assert float(state.up.grad[n]) == pytest.approx(g[positive].sum(), rel=1e-4, abs=1e-5)
        assert float(state.down.grad[n]) == pytest.approx(-g[negative].sum(), rel=1e-4, abs=1e-5)
        wanted = g * (up * positive + down * negative + ~(positive | negative))
        assert numpied(gradient).reshape(len(rows), -1)[n] == pytest.approx(wanted, rel=1e-5)


def test_ttq_keeps_its_scales_positive_and_executes_what_it_learned() -> None:
    method, value = Ttq(), weight()
    one = of_weight(method, value)
    state: Any = method.begin(one, nn.Parameter(value))
    with torch.no_grad():
        state.up.fill_(0.5)
        state.down.fill_(-1.0)
        method.after_step(value, one, state, NOW, None)
    after: Any = method.finish(one, state, value)
    assert after.levels[2] == 0.5 and -1e-6 < after.levels[0] < 0 and after.levels[1] == 0
    assert torch.equal(after.apply(value) == 0.5, value >= 0.05 * value.abs().max())


# bnn_dl ----------------------------------------------------------------------------------------


def naive_penalty(values: Any) -> float:
    """The mean over channels of the three terms; channels are dimension 1."""
    total, channels = 0.0, values.shape[1]
    for channel in range(channels):
        seen = values[:, channel].ravel()
        mu, sigma = seen.mean(), seen.std()
        total += max(mu**2 - sigma**2, 0) + max(sigma - 4, 0) ** 2 + max(min(2 - mu - sigma, 2 + mu - sigma), 0) ** 2
    return total / channels


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (3.0, 0.5), (0.0, 6.0), (0.1, 0.1), (-2.0, 1.0)])
@pytest.mark.parametrize("flat", [False, True])
def test_the_penalty_of_a_distribution_is_the_papers(mean: float, deviation: float, flat: bool) -> None:
    values = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * deviation + mean
    values = values.permute(0, 2, 3, 1).reshape(-1, 3) if flat else values
    method, one = BnnDl(strength=1.0), of_input(BnnDl(), torch.tensor([1.0, -1.0]))
    state = method.begin(one, None)
    method.computed(values, one, state, NOW)
    assert float(method.penalty(one, state, NOW)) == pytest.approx(  # type: ignore[arg-type]
        naive_penalty(numpied(values)), rel=1e-4, abs=1e-6
    )


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        ("linear", (4, 6)),
        ("linear", (4, 5, 6)),
        ("linear", (4, 5, 3, 6)),
        ("conv1d", (4, 5, 6)),
        ("conv2d", (4, 5, 3, 6)),
    ],
)
def test_the_channels_are_those_of_the_product_that_reads(product: str, shape: tuple[int, ...]) -> None:
    """B×…×C where a linear layer reads, B×C×… where a convolution does: in a step of a network's training."""
    layers = {"linear": nn.Linear(6, 2), "conv1d": nn.Conv1d(5, 2, 1), "conv2d": nn.Conv2d(5, 2, 1)}
    layer = layers[product]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(5)) + torch.arange(6)
    place, method = f"0:{product}(input)", BnnDl(strength=2.0)
    seen = Observed(values.min(), values.max(), values.flatten())
    start = Network(nn.Sequential(layer), {}, shape[1:]).restricted(activation_grids({place: seen}, 1, method))
    state = learning(start, "cpu")
    given = values.clone().requires_grad_()
    with simulated(start.module, start.restrictions, state.instead(NOW)):
        made = start.module(given)
    (one,) = start.restrictions[place]
    torch.testing.assert_close(made, layer(one.apply(values)))
    (penalty,) = state.penalties(NOW)
    level = numpied(one.levels)[1]  # type: ignore[attr-defined]
    rows = numpied(values).reshape(-1, 6) if product == "linear" else numpied(values)
    assert penalty.item() == pytest.approx(2 * naive_penalty(rows / level), rel=1e-4)
    (slope,) = torch.autograd.grad(penalty, given)
    again = torch.tensor(rows / level, requires_grad=True)
    (wanted,) = torch.autograd.grad(2 * torch_penalty(again), again)
    torch.testing.assert_close(slope.double(), wanted.reshape(shape) / level, rtol=1e-3, atol=1e-5)


def torch_penalty(values: Tensor) -> Tensor:
    """As `naive_penalty`, to be differentiated."""
    terms = []
    for seen in values.unbind(1):
        mu, sigma = seen.mean(), seen.std(correction=0)
        terms.append(relu(mu**2 - sigma**2) + relu(sigma - 4) ** 2 + relu(2 - mu.abs() - sigma) ** 2)
    return torch.stack(terms).mean()


def test_the_penalty_is_asked_once_for_each_step_and_weights_have_none() -> None:
    method, value = BnnDl(strength=2.0), weight((8, 4)).requires_grad_()
    one = of_input(method, value)
    state = method.begin(one, None)
    assert method.penalty(one, state, NOW) is None
    made = method.computed(value, one, state, NOW)
    penalty = method.penalty(one, state, NOW)
    assert penalty is not None and method.penalty(one, state, NOW) is None
    assert penalty.item() == pytest.approx(2 * naive_penalty(numpied(value / value.abs().mean())), rel=1e-4)
    (slope,) = torch.autograd.grad(penalty, value, retain_graph=True)
    for place in ((0, 0), (5, 3)):  # against differences
        moved = [
            naive_penalty(numpied(value + by * hot(value, place)) / numpied(one.levels)[1]) for by in (1e-3, -1e-3)
        ]
        assert float(slope[place]) == pytest.approx(2 * (moved[0] - moved[1]) / 2e-3, rel=1e-2, abs=1e-4)
    (both,) = torch.autograd.grad(made.sum() + penalty, value)
    inside = (value.abs() <= float(one.levels[1])).float()
    torch.testing.assert_close(both, slope + inside)


def hot(value: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
    made = torch.zeros_like(value)
    made[place] = 1
    return made.detach()

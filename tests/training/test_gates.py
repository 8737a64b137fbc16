"""Companions with gates against their papers: estimators by autograd, closed forms by Monte Carlo, brute formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recipelang.errors import SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import PARTS, Moment, Seen
from recipelang.methods.companions.joint import Joint, straight_through
from recipelang.methods.companions.l0 import L0
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Duration, Training, canonical
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating
from recipelang.training.loop import fit

TASK = Classification()
MOMENT = Moment(0, 10, 5)
IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def loss_of(network: Network, companion: Any, state: Any, moment: Moment = MOMENT) -> Tensor:
    """As the training loop: the task's loss of the gated network, and the penalty."""
    module = network.module.eval()
    with companion.computing(network, state, moment):
        outputs = module(IMAGES)
    found: Tensor = F.cross_entropy(outputs, TARGETS) + companion.penalty(
        Seen(IMAGES, outputs, (), network), state, moment
    )
    return found


def with_maps(network: Network, gates: Tensor) -> Tensor:
    """The reference: the task's loss where the feature maps themselves are multiplied, 8 filters and 8 more."""
    module: Any = network.module.eval()
    first = module[2](module[1](module[0](IMAGES))) * gates[:8, None, None]
    second = module[5](module[4](first)) * gates[8:, None, None]
    return F.cross_entropy(module[7](second.flatten(1)), TARGETS)


# joint ----------------------------------------------------------------------------------------


def test_joint_has_the_gradients_of_equation_3_5(network: Network) -> None:
    """δm_r = δm_b · σ(m_r)(1 − σ(m_r)), with δm_b of masked feature maps by autograd, and 1/Σn of the penalty."""
    companion = Joint(0.7, unit=Filters(round=1))
    state: Any = companion.begin(network, MOMENT)
    state.reals.copy_(torch.linspace(-1, 1, 16))
    loss = loss_of(network, companion, state)
    loss.backward()

    mask = (state.reals.sigmoid() >= 0.5).float()
    mask[7] = 1  # the first 8 are all below 0.5: the largest of them stays open
    mask.requires_grad_()
    expected = with_maps(network, mask) + 0.7 * mask.sum() / 16  # the L1 norm of zeros and ones
    expected.backward()
    soft = state.reals.sigmoid()
    assert mask.grad is not None
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(state.leaf.grad, mask.grad * soft * (1 - soft), rtol=1e-4, atol=1e-7)


def test_the_straight_through_value_is_binary_to_the_bit() -> None:
    reals = torch.randn(1000, requires_grad=True)
    mask = (reals >= 0).float()
    found = straight_through(reals, mask)
    assert torch.equal(found.detach(), mask)
    found.sum().backward()
    assert torch.equal(reals.grad, torch.autograd.grad(reals.sigmoid().sum(), reals)[0])  # type: ignore[arg-type]


def test_the_penalty_of_joint_is_the_share_that_stays(network: Network) -> None:
    companion = Joint(Linear(1.0, to=0.0))
    state: Any = companion.begin(network, MOMENT)
    state.reals[:4] = -1
    for step, factor in ((0, 1.0), (5, 0.5)):
        with companion.computing(network, state, MOMENT):
            pass
        found = companion.penalty(Seen(None, None, (), network), state, Moment(step, 10, 5))
        assert float(found.detach()) == pytest.approx(factor * 12 / 16)


# l0 -------------------------------------------------------------------------------------------

U = np.random.default_rng(0).uniform(1e-3, 1 - 1e-3, 40)


def hard_concrete(alpha: float, u: float, beta: float, gamma: float, zeta: float) -> float:
    """Equations 10 and 11 with α itself, written naively."""
    s = 1 / (1 + math.exp(-(math.log(u) - math.log(1 - u) + math.log(alpha)) / beta))
    return min(1.0, max(0.0, s * (zeta - gamma) + gamma))


@pytest.mark.parametrize("settings", [{}, {"beta": 0.5, "gamma": -0.3, "zeta": 1.2}])
def test_gates_are_hard_concrete(settings: dict[str, float]) -> None:
    companion = L0(**settings)  # type: ignore[arg-type]
    alpha = torch.linspace(-4, 4, len(U), dtype=torch.float64)
    found = companion.drawn(alpha, torch.from_numpy(U))
    ends = (companion.beta, companion.gamma, companion.zeta)
    expected = [hard_concrete(math.exp(a), u, *ends) for a, u in zip(alpha.tolist(), U.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert 0 in expected and 1 in expected and any(0 < z < 1 for z in expected)


def test_gradients_through_the_gates_are_those_of_differences() -> None:
    """By finite differences of the naive formula; where a gate is cut off at 0 or 1 there is none."""
    companion = L0()
    alpha = torch.linspace(-3, 3, len(U), dtype=torch.float64, requires_grad=True)
    gates = companion.drawn(alpha, torch.from_numpy(U))
    (found,) = torch.autograd.grad(gates.sum(), alpha)
    for a, u, gate, slope in zip(alpha.tolist(), U.tolist(), gates.tolist(), found.tolist(), strict=True):
        more, less = (hard_concrete(math.exp(a + d), u, 2 / 3, -0.1, 1.1) for d in (1e-6, -1e-6))
        assert slope == pytest.approx((more - less) / 2e-6, abs=1e-4)
        assert slope == 0 or 0 < gate < 1


@pytest.mark.parametrize("alpha", [-3.0, -1.0, 0.0, 2.0])
def test_the_chance_to_be_open_is_that_of_many_draws(alpha: float) -> None:
    companion, draws = L0(), 200_000
    uniform = torch.rand(draws, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    drawn = companion.drawn(torch.full((draws,), alpha, dtype=torch.float64), uniform)
    chance = float(companion.open(torch.tensor(alpha, dtype=torch.float64)))
    assert float((drawn > 0).double().mean()) == pytest.approx(chance, abs=4 * math.sqrt(0.25 / draws))
    assert chance == pytest.approx(1 / (1 + math.exp(-(alpha - 2 / 3 * math.log(0.1 / 1.1)))))


def test_the_penalty_of_l0_counts_the_weights_of_open_filters(network: Network) -> None:
    """Σ |g| P(z ≠ 0) / Σ |g|: a filter of the first layer has 3·9 weights, one of the second 8·9."""
    companion = L0(0.5)
    state: Any = companion.begin(network, MOMENT)
    state.reals.copy_(torch.linspace(-4, 4, 16))
    found = companion.penalty(Seen(None, None, (), network), state, MOMENT)
    found.backward()
    weights = np.array([27.0] * 8 + [72.0] * 8)
    chances = 1 / (1 + np.exp(-(state.reals.double().numpy() - 2 / 3 * math.log(0.1 / 1.1))))
    assert float(found.detach()) == pytest.approx(0.5 * (weights * chances).sum() / weights.sum())
    slopes = 0.5 * weights * chances * (1 - chances) / weights.sum()
    assert state.leaf.grad.tolist() == pytest.approx(slopes.tolist(), rel=1e-4)


def test_l0_trains_with_gates_on_the_feature_maps(network: Network) -> None:
    companion = L0(1e-9, unit=Filters(round=1))
    state: Any = companion.begin(network, MOMENT)
    state.reals.copy_(torch.linspace(-2, 2, 16))
    loss = loss_of(network, companion, state)
    loss.backward()
    torch.testing.assert_close(loss.detach(), with_maps(network, state.now.detach()).detach())
    gates = state.now.detach().requires_grad_()
    with_maps(network, gates).backward()
    inside = (gates > 0) & (gates < 1)
    assert gates.grad is not None and bool(inside.any())
    soft = (gates.detach() + 0.1) / 1.2  # of what is not cut off: z = 1.2 s − 0.1, ∂s/∂log α = s (1 − s) / β
    expected = torch.where(inside, gates.grad * 1.2 * soft * (1 - soft) / (2 / 3), 0.0)
    torch.testing.assert_close(state.leaf.grad, expected, rtol=1e-3, atol=1e-6)


def test_the_gates_at_the_end_of_l0(network: Network) -> None:
    companion = L0(unit=Filters(round=1))
    state: Any = companion.begin(network, MOMENT)
    state.reals.copy_(torch.linspace(-5, 5, 16))
    ends = [min(1.0, max(0.0, 1.2 / (1 + math.exp(-a)) - 0.1)) for a in state.reals.tolist()]
    expected = with_maps(network, torch.tensor(ends))
    left = companion.finish(network, state)
    with evaluating(left.network.module):
        found = F.cross_entropy(left.network.module(IMAGES), TARGETS)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)
    (decided,) = left.decided
    assert torch.cat(list(decided.gone.values())).tolist() == [end == 0 for end in ends]


def test_gates_are_drawn_once_a_step_and_seeded(network: Network) -> None:
    companion = L0(drop=0.5)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        state: Any = companion.begin(network, MOMENT)
        with companion.computing(network, state, MOMENT):
            drawn.append(state.now.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


# both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Joint, L0])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_closes_gates_and_decides(
    make: Callable[..., Any], precision: str, network: Network, data: ImageDataset, silent: Any
) -> None:
    training = Training(Duration(4), Sgd(0.05), companions=(make(20.0, lr=0.5, unit=Filters(round=1)),))
    trained, record = fit(network, data, training, progress=silent(), task=TASK, seed=1, precision=precision)
    (decided,) = record.left.decided
    assert record.left.network is trained and make.leaves == PARTS
    assert set(decided.gone) == {"0", "4"} and any(bool(gone.any()) for gone in decided.gone.values())
    weight = trained.module.get_parameter("4.weight")
    open_ = decided.scores["0"] == decided.scores["0"].max()
    closed = decided.gone["0"] & ~open_
    assert not weight[:, closed].any(), "nothing reads a closed filter"
    assert not any(part.startswith("companion") for part in trained.module.state_dict())


@pytest.mark.parametrize("make", [Joint, L0])
def test_units(make: Callable[..., Any]) -> None:
    assert make().chosen == Filters() and make(unit=Neurons(round=4)).chosen == Neurons(round=4)
    assert make(unit=Layers()).chosen == Layers()
    with pytest.raises(SettingError, match="does not decide about bricks"):
        make(unit=SimpleNamespace(name="bricks"))
    assert "selection" not in canonical(make()), "a key that knows no selection"


def test_settings_that_contradict_each_other() -> None:
    for name, value in (("gamma", 0.0), ("drop", 1.0)):
        with pytest.raises(SettingError) as error:
            L0(**{name: value})  # type: ignore[arg-type]
        assert error.value.field == name


# short trainings --------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"drop": 0.5}, {"gamma": -0.3, "zeta": 1.4, "drop": 0.2}])
def test_l0_says_how_far_a_gate_is_from_closing(settings: dict[str, float]) -> None:
    gates = L0(**settings)
    start = math.log((1 - gates.drop) / gates.drop)
    assert float(gates.ends(torch.tensor(start - gates.closing - 1e-4))) == 0
    assert float(gates.ends(torch.tensor(start - gates.closing + 1e-4))) > 0
    assert L0(drop=0.999, gamma=-0.9).closing == 0, "closed from the start"


@pytest.mark.parametrize(
    ("companion", "enough"),
    [(L0(), 46), (Joint(), 100), (Joint(init=0.5, lr=0.1), 5), (Joint(lr=Linear(0.04, 0.0)), 50)],
)
def test_a_training_is_too_short_where_no_gate_can_get_so_far(companion: Any, enough: int) -> None:
    assert companion.too_short(enough, 10) == ""
    said = companion.too_short(enough - 2, 10)
    assert f"`{companion.name}`" in said and f"{companion.closing:.3g}" in said


def test_adam_moves_no_real_further_than_is_said(network: Network) -> None:
    """With gradients of one sign and any size, a step is about `lr`: what is said is no understatement."""
    companion = Joint(lr=0.01)
    state: Any = companion.begin(network, MOMENT)
    for step in range(60):
        (state.leaf.sum() * (1.0 + step % 7)).backward()
        companion.after_step(network, None, state, Moment(step, 60, 10))
    moved = float(companion.init - state.reals.min())
    assert 0.5 * 60 * 0.01 < moved <= 1.05 * 60 * 0.01

"""Every quantizer that learns, in the one loop: killed and continued, without decay, and what is left afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Moment, Observed
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, weight_grids
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.simulated import running
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.quantized import learning, quantizer_of, without_decay

TASK = Classification()
LEARNERS = [name for name in catalogue.names("quantizer") if catalogue.find("quantizer", name).learns]  # type: ignore[union-attr]
#: those with a zero, so that masks stay
WITH_ZERO = [name for name in LEARNERS if catalogue.find("quantizer", name).keeps_zero]  # type: ignore[union-attr]
WEIGHTS = {"0.weight": 0, "4.weight": 0, "7.weight": 0}
ACTIVATIONS = ("input", "2:relu", "5:relu")


def quantizer(name: str) -> Any:
    return catalogue.find("quantizer", name)()  # type: ignore[misc]


def quantized(network: Network, name: str, bits: int = 4) -> Network:
    """The network with what the quantizer has for its weights and activations."""
    found: dict[str, Any] = {}
    method = quantizer(name)
    bits = min(method.bits, key=lambda width: abs(width - bits))
    if "weights" in method.parts:
        found |= weight_grids(network, WEIGHTS, bits, method)
    if "activations" in method.parts:
        values = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * 2
        seen = {place: values if place == "input" else values.relu() for place in ACTIVATIONS}
        found |= activation_grids(
            {place: Observed(some.min(), some.max(), some) for place, some in seen.items()}, bits, method
        )
    return network.restricted(found)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in result[0].tensors().items()}


@pytest.mark.parametrize(("name", "precision"), [*((name, "float32") for name in LEARNERS), ("lsq", "bfloat16")])
def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Any, monkeypatch: Any, name: str, precision: str
) -> None:
    start = quantized(network, name).restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    how: Any = {"task": TASK, "seed": 4, "precision": precision}
    training = Training(Duration(6, "steps"), Sgd(0.05))
    whole = fit(start, data, training, progress=silent(), **how)
    with pytest.raises(Killed), monkeypatch.context() as often:
        often.setattr(loop, "SAVE_EVERY", -1.0)
        fit(start, data, training, progress=silent(kill_after(4)), checkpoint=tmp_path / "c", **how)
    again = fit(start, data, training, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert again[1].resumed_at == 3
    assert bytes_of(again) == bytes_of(whole)
    assert again[1].history == whole[1].history


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_left_is_executed(network: Network, data: ImageDataset, silent: Any, name: str) -> None:
    """After training the restrictions alone say what computes; a mask stays, and training can go on."""
    start = quantized(network, name)
    if name in WITH_ZERO:
        start = start.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    images = torch.randn(4, 3, 8, 8)
    before = running(start)(images)
    trained, _ = fit(start, data, Training(Duration(5, "steps"), Sgd(0.05)), progress=silent(), task=TASK, seed=1)
    assert torch.equal(running(start)(images), before), "the start is not changed"
    for place, each in trained.restrictions.items():
        kinds = sorted(one.kind for one in each)
        assert kinds == sorted(one.kind for one in start.restrictions[place])
        (one,) = (one for one in each if one.kind != "mask")
        assert one.trained == catalogue.spell(quantizer(name))  # type: ignore[attr-defined]
        again = type(one).read(one.json(), one.tensors())
        assert again.json() == one.json(), "it can be written and read"
        if place in WEIGHTS:
            weight = trained.module.get_parameter(place).detach()
            assert len(one.apply(weight)[0].unique()) <= 2 ** quantizer_bits(name)
    computed = {place: one.apply(trained.module.get_parameter(place)) for place, one in grids(trained).items()}
    if name in WITH_ZERO and "7.weight" in computed:
        assert not computed["7.weight"][~trained.masks["7.weight"].keep].any()
    assert running(trained)(images).isfinite().all()
    fit(trained, data, Training(Duration(1, "steps"), Sgd(0.05)), progress=silent(), task=TASK, seed=1)


def quantizer_bits(name: str) -> int:
    return int(min(quantizer(name).bits, key=lambda width: abs(width - 4)))


def grids(network: Network) -> dict[str, Any]:
    return {
        place: one for place, each in network.restrictions.items() for one in each if place in WEIGHTS and one.computes
    }


@pytest.mark.parametrize("name", WITH_ZERO)
def test_zero_computes_as_zero(network: Network, name: str) -> None:
    """Masks, padding and ReLU: where the weights or values are zero, zeros compute, in every step."""
    start = quantized(network, name)
    for place in WEIGHTS:
        torch.nn.init.zeros_(start.module.get_parameter(place))
    state = learning(start, "cpu")
    for (place, _), learned in state.found.items():
        value = torch.zeros_like(start.module.get_parameter(place)) if place in WEIGHTS else torch.zeros(2, 8, 4, 4)
        assert learned.one.apply(value).count_nonzero() == 0
        for step in (0, 5, 9):
            computed = learned.quantizer.computed(value, learned.one, learned.state, Moment(step, 10, 5))
            assert computed.count_nonzero() == 0, place


@pytest.mark.parametrize("name", LEARNERS)
def test_its_gradients_are_finite_and_reach_the_weights(network: Network, name: str) -> None:
    start = quantized(network, name)
    state = learning(start, "cpu")
    for (place, _), learned in state.found.items():
        value = network.module.get_parameter(place) if place in WEIGHTS else torch.randn(2, 8, 4, 4).requires_grad_()
        computed = learned.quantizer.computed(value, learned.one, learned.state, Moment(0, 10, 5))
        assert computed.shape == value.shape and computed.isfinite().all()
        if computed.requires_grad:
            (gradient,) = torch.autograd.grad(computed.square().sum(), value, allow_unused=True, retain_graph=True)
            assert gradient is not None and gradient.isfinite().all()


@pytest.mark.parametrize("optimizer", [Sgd(0.0, weight_decay=0.5), AdamW(0.0, weight_decay=0.5)])
def test_steps_do_not_decay(network: Network, optimizer: Any) -> None:
    state = learning(quantized(network, "lsq"), "cpu")
    parts = torch.nn.ModuleDict({"network": network.module, "parts": torch.nn.ModuleDict(state.states)})
    made = without_decay(optimizer.build(parts), state)
    steps = {id(p) for one in state.states.values() for p in one.parameters()}
    decays = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert {decays[one] for one in steps} == {0.0}
    assert decays[id(network.module[0].weight)] == 0.5
    assert len(decays) == len(list(parts.parameters())) == sum(len(group["params"]) for group in made.param_groups)


def test_what_nothing_trains_is_straight_through(network: Network, data: ImageDataset, silent: Any) -> None:
    start = network.restricted(weight_grids(network, WEIGHTS, 4, quantizer("minmax")))
    trained, _ = fit(start, data, Training(Duration(1), Sgd(0.05)), progress=silent(), task=TASK, seed=1)
    assert learning(start, "cpu").found == {}
    for name in WEIGHTS:
        assert torch.equal(grids(trained)[name].scale, grids(start)[name].scale)


@pytest.mark.parametrize(
    ("spelling", "why"),
    [("nothing", "there is no quantizer"), ("minmax", "no part"), ("lsq(speed=3)", "no setting"), ("1 +", "not a")],
)
def test_a_quantizer_that_is_not_here_is_refused(network: Network, spelling: str, why: str) -> None:
    grid: Grid = replace(grids(quantized(network, "lsq"))["0.weight"], trained=spelling)
    with pytest.raises(Refusal) as refused:
        learning(network.restricted({"0.weight": grid}), "cpu")
    assert refused.value.code == "RCP1424" and why in refused.value.message


def test_the_spelling_of_a_method_is_that_method() -> None:
    for name in LEARNERS:
        one = quantizer(name)
        assert quantizer_of(catalogue.spell(one), "here") == one  # type: ignore[attr-defined]


# lsq ------------------------------------------------------------------------------------------


def test_learned_steps_move_and_start_where_the_error_is_least(
    network: Network, data: ImageDataset, silent: Any
) -> None:
    start = quantized(network, "lsq")
    trained, _ = fit(start, data, Training(Duration(3), Sgd(0.05)), progress=silent(), task=TASK, seed=1)
    for place, one in grids(start).items():
        weight = network.module.get_parameter(place).detach()
        error = mean_error(one, weight)
        for share in (0.5, 0.8, 0.9, 1.1, 1.25):
            assert error <= mean_error(replace(one, scale=one.scale * share), weight) * 1.05
        assert not torch.equal(grids(trained)[place].scale, one.scale)
        assert torch.equal(grids(trained)[place].zero, one.zero)


def mean_error(grid: Grid, value: Tensor) -> float:
    return float((grid.apply(value) - value).square().mean())

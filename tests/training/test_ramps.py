"""Ramps and optimizers against PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.ramps.multistep import Multistep
from recipelang.plan import Duration

TOTAL, PER_EPOCH = 60, 10


def torch_values(make: Any, lr: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    values = []
    for _ in range(TOTAL):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def ramp_values(ramp: Any) -> list[float]:
    return [ramp.value_at(step, TOTAL, PER_EPOCH) for step in range(TOTAL)]


def test_cosine_is_pytorchs() -> None:
    wanted = torch_values(lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.02), 0.4)
    assert ramp_values(Cosine(0.4, to=0.02)) == pytest.approx(wanted)


def test_linear_is_pytorchs() -> None:
    wanted = torch_values(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, TOTAL), 0.4)
    assert ramp_values(Linear(0.4, to=0.1)) == pytest.approx(wanted)


def test_multistep_is_pytorchs_by_epochs() -> None:
    wanted = torch_values(lambda o: lr_scheduler.MultiStepLR(o, [2 * PER_EPOCH, 5 * PER_EPOCH], 0.3), 0.4)
    assert ramp_values(Multistep(0.4, factor=0.3, at=(2, 5))) == pytest.approx(wanted)


@pytest.mark.parametrize("ramp", [Cosine, Linear])
@pytest.mark.parametrize("warmup", [Duration(2), Duration(20, "steps")])
def test_warm_up_rises_in_equal_steps_and_meets_the_start(ramp: Any, warmup: Duration) -> None:
    values = ramp_values(ramp(0.5, warmup=warmup))
    assert values[:20] == pytest.approx([0.5 * (k + 1) / 20 for k in range(20)])
    assert values[20] == pytest.approx(0.5)
    assert all(a > b for a, b in zip(values[20:], values[21:], strict=False))


def test_a_warm_up_longer_than_the_training_only_rises() -> None:
    values = ramp_values(Cosine(0.6, warmup=Duration(99)))
    assert values == pytest.approx([0.6 * (k + 1) / TOTAL for k in range(TOTAL)])


@pytest.mark.parametrize("at", [(), (3, 2), (0, 2), (2, 2)])
def test_multistep_wants_rising_epochs(at: tuple[float, ...]) -> None:
    with pytest.raises(SettingError) as caught:
        Multistep(0.1, at=at)
    assert caught.value.field == "at"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


def optimized(method: Any, reference: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters after five steps by the method and by plain torch."""
    results = []
    for build in (method, reference):
        module = network()
        x = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(1))
        module(x)
        optimizer = build(module)
        for _ in range(5):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
        results.append([p.detach() for p in module.parameters()])
    return results[0], results[1]


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        (Sgd(0.1), lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)),
        (Sgd(0.1, 0.8, 0.0, True), lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.8, nesterov=True)),
        (Adam(0.01, weight_decay=0.1), lambda m: torch.optim.Adam(m.parameters(), 0.01, weight_decay=0.1)),
        (AdamW(0.01, 0.8, 0.9, 0.0), lambda m: torch.optim.AdamW(m.parameters(), 0.01, (0.8, 0.9), weight_decay=0)),
    ],
)
def test_optimizers_step_as_torchs(method: Any, reference: Any) -> None:
    mine, theirs = optimized(method.build, reference)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)


def test_adamw_decays_matrices_and_leaves_biases_and_norms() -> None:
    module = network()
    module(torch.randn(2, 3, 5, 5))
    groups = AdamW(weight_decay=0.3).build(module).param_groups
    decayed = {id(p) for g in groups for p in g["params"] if g["weight_decay"] == 0.3}
    for name, parameter in module.named_parameters():
        assert (id(parameter) in decayed) == (name in ("0.weight", "3.weight")), name


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(SettingError):
        Sgd(0.1, momentum=0.0, nesterov=True)


@pytest.mark.parametrize("name", catalogue.names("optimizer"))
def test_every_optimizer_takes_a_ramp_and_leaves_frozen_parameters(name: str) -> None:
    module = network()
    module(torch.randn(2, 3, 5, 5))
    module[0].requires_grad_(False)
    method: Any = catalogue.find("optimizer", name)
    optimizer = method(lr=Linear(0.25)).build(module)
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    assert len(trained) == 4 and all(p.requires_grad for p in trained)

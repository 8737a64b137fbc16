"""Ramps and optimizers against PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from recipelang import catalogue
from recipelang.errors import Refusal, SettingError
from recipelang.meaning import schedules
from recipelang.methods.optimizers.adadelta import Adadelta
from recipelang.methods.optimizers.adafactor import Adafactor
from recipelang.methods.optimizers.adagrad import Adagrad
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.adamax import Adamax
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.nadam import NAdam
from recipelang.methods.optimizers.radam import RAdam
from recipelang.methods.optimizers.rmsprop import RMSprop
from recipelang.methods.optimizers.rprop import Rprop
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.ramps.multistep import Multistep
from recipelang.plan import Duration, Term, Training, canonical
from recipelang.training.rounds import share

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
        (Adadelta(0.5, 0.8, 0.1), lambda m: torch.optim.Adadelta(m.parameters(), 0.5, 0.8, weight_decay=0.1)),
        (Adafactor(0.1, 1.5, 0.1), lambda m: torch.optim.Adafactor(m.parameters(), 0.1, d=1.5, weight_decay=0.1)),
        (Adagrad(0.1, 0.2, 0.1), lambda m: torch.optim.Adagrad(m.parameters(), 0.1, lr_decay=0.2, weight_decay=0.1)),
        (Adamax(0.1, 0.8, 0.7, 0.1), lambda m: torch.optim.Adamax(m.parameters(), 0.1, (0.8, 0.7), weight_decay=0.1)),
        (NAdam(0.1, 0.8, 0.7, 0.1), lambda m: torch.optim.NAdam(m.parameters(), 0.1, (0.8, 0.7), weight_decay=0.1)),
        (
            RAdam(0.1, 0.8, 0.7, 0.1, True),
            lambda m: torch.optim.RAdam(m.parameters(), 0.1, (0.8, 0.7), 1e-8, 0.1, decoupled_weight_decay=True),
        ),
        (
            RMSprop(0.1, 0.8, 0.5, 0.01, True, 0.1),
            lambda m: torch.optim.RMSprop(m.parameters(), 0.1, 0.8, 0.01, 0.1, 0.5, True),
        ),
        (Rprop(0.1, 0.4, 1.3), lambda m: torch.optim.Rprop(m.parameters(), 0.1, (0.4, 1.3))),
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


def undecayed(module: nn.Module) -> set[str]:
    """The names of the parameters on which AdamW's decay does not act."""
    groups = AdamW(weight_decay=0.3).build(module).param_groups
    decayed = {id(p) for g in groups for p in g["params"] if g["weight_decay"] == 0.3}
    every = dict(module.named_parameters())
    assert sum(len(g["params"]) for g in groups) == len(every)
    return {name for name, parameter in every.items() if id(parameter) not in decayed}


@pytest.mark.parametrize(
    ("name", "special"),
    [
        ("vit_b_16", {"class_token", "encoder.pos_embedding"}),
        ("swin_t", {"relative_position_bias_table"}),
        ("swin_v2_t", {"logit_scale"}),
        ("convnext_tiny", {"layer_scale"}),
        *(("resnet18", set()), ("mobilenet_v3_small", set()), ("densenet121", set())),
    ],
)
def test_adamw_leaves_what_is_added_or_scales_as_it_is(name: str, special: set[str]) -> None:
    """By hand: what does not decay is every vector, and of the rest the tokens, embeddings, tables and scales."""
    with torch.device("meta"):
        module = torchvision.models.get_model(name, num_classes=1)
    vectors = {n for n, p in module.named_parameters() if p.ndim == 1}
    rest = undecayed(module) - vectors
    assert undecayed(module) >= vectors
    assert {n for n in rest if any(n.endswith(s) for s in special)} == rest
    assert all(any(n.endswith(s) for n in rest) for s in special)


class _Held(nn.Module):
    """Parameters of every role, under uninformative names."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.row = nn.Parameter(torch.zeros(4, 5)), nn.Parameter(torch.zeros(1, 5))
        self.places, self.kernel = nn.Parameter(torch.zeros(1, 4, 5)), nn.Parameter(torch.zeros(4, 5, 3))
        self.gain, self.one = nn.Parameter(torch.zeros(4, 1, 1)), nn.Parameter(torch.zeros(()))
        self.positional_embedding = nn.Parameter(torch.zeros(4, 5))
        self.table, self.head = nn.Embedding(4, 5), nn.Linear(5, 1)
        self.attention, self.cell = nn.MultiheadAttention(4, 2, add_bias_kv=True), nn.GRU(4, 3)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        self.tied = nn.Linear(5, 4)
        self.tied.weight = self.table.weight  # looked up and multiplied: it decays


def test_adamw_goes_by_roles_and_shapes() -> None:
    assert undecayed(_Held()) == {
        *("row", "places", "gain", "one", "positional_embedding", "head.bias", "tied.bias"),
        *("attention.in_proj_bias", "attention.out_proj.bias", "attention.bias_k", "attention.bias_v"),
        *("cell.bias_ih_l0", "cell.bias_hh_l0", "normed.bias", "normed.parametrizations.weight.original0"),
    }


def test_what_decays_is_part_of_the_key_of_a_training() -> None:
    assert canonical(AdamW())["groups"] == 2 and "groups" not in {s.name for s in catalogue.settings(AdamW)}


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(SettingError):
        Sgd(0.1, momentum=0.0, nesterov=True)


@pytest.mark.parametrize("name", catalogue.names("optimizer"))
def test_every_optimizer_takes_a_ramp_and_leaves_frozen_parameters(name: str) -> None:
    module = network()
    module(torch.randn(2, 3, 5, 5))
    module[0].requires_grad_(False)
    method: Any = catalogue.find("optimizer", name)
    ramps = next(setting.ramp for setting in catalogue.settings(method) if setting.name == "lr")
    assert ramps or method is Rprop  # whose steps follow from signs alone
    optimizer = method(lr=Linear(0.25) if ramps else 0.25).build(module)
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    assert len(trained) == 4 and all(p.requires_grad for p in trained)


@pytest.mark.parametrize("ramp", [cls for name in catalogue.names("ramp") if (cls := catalogue.find("ramp", name))])
def test_every_ramp_ends_its_warm_up_within_the_training(ramp: Any) -> None:
    settings = {"at": (4.0,)} if ramp is Multistep else {}
    for warmup, duration, per_epoch, late in [
        *((Duration(2), Duration(2), 7, True), (Duration(2), Duration(5), 7, False)),
        *((Duration(14, "steps"), Duration(2), 7, True), (Duration(13, "steps"), Duration(5), 7, False)),
        *((Duration(2), Duration(14, "steps"), 7, True), (Duration(2), Duration(29, "steps"), 7, False)),
        (Duration(0), Duration(5), 7, False),
    ]:
        training = Training(duration, Sgd(lr=ramp(0.1, warmup=warmup, **settings)))
        if late:
            with pytest.raises(Refusal, match="warm-up") as caught:
                schedules.fit(training, per_epoch)
            assert caught.value.code == "RCP0312"
        else:
            schedules.fit(training, per_epoch)


@given(
    at=st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True).map(sorted),
    count=st.integers(1, 60),
    unit=st.sampled_from(("epochs", "steps")),
    per_epoch=st.integers(1, 9),
)
def test_a_milestone_is_refused_exactly_where_no_step_sees_it(
    at: list[int], count: int, unit: str, per_epoch: int
) -> None:
    ramp = Multistep(1.0, factor=0.5, at=tuple(map(float, at)))
    total = count * (per_epoch if unit == "epochs" else 1)
    values = {ramp.value_at(step, total, per_epoch) for step in range(total)}
    training = Training(Duration(count, unit), Sgd(lr=0.1), (Term(ramp, None),))
    if len(values) == len(at) + 1:
        schedules.fit(training, per_epoch)
    else:
        with pytest.raises(Refusal):
            schedules.fit(training, per_epoch)


@given(total=st.integers(1, 40), rounds=st.integers(1, 12), unit=st.sampled_from(("epochs", "steps")))
def test_the_share_of_a_round_is_the_least_that_one_trains(total: int, rounds: int, unit: str) -> None:
    training = Training(Duration(total, unit), Sgd())
    shares = [share(training, turn, rounds).duration.count for turn in range(1, rounds + 1)]
    assert schedules.share(training.duration, rounds).count == min(s for s in shares if s)

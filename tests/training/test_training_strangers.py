"""Users' own networks in training: frozen and integer parameters, several outputs, inputs changed in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.methods.losses.kd import Kd
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.nm import NM
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.entry import enter
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

How = dict[str, Any]


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head, self.second = nn.Linear(8, 3), nn.Linear(8, 3)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x))


def network_of(module: nn.Module) -> Network:
    return Network(module.eval(), {}, (3, 8, 8), classes=("a", "b", "c"))


@pytest.fixture
def how(silent: Any) -> How:
    return {"task": Classification(), "seed": 0, "progress": silent(), "precision": "float32"}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("optimizer", [Sgd(0.1, weight_decay=0.1), AdamW(0.01, weight_decay=0.1)], ids=["sgd", "adamw"])
def test_frozen_and_integer_parameters_stay_bit_for_bit(optimizer: Any, data: ImageDataset, how: How) -> None:
    class Net(Body):
        def __init__(self) -> None:
            super().__init__()
            self.index = nn.Parameter(torch.arange(8).flip(0), requires_grad=False)
            self.place = nn.Parameter(torch.sin(torch.arange(8.0)), requires_grad=False)
            self.flags = nn.Parameter(torch.ones(3, dtype=torch.bool), requires_grad=False)
            self.conv.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.features(x)[:, self.index] + self.place)

    network = network_of(Net())
    trained, _ = fit(network, data, Training(Duration(2), optimizer), **how)
    before, after = network.module.state_dict(), trained.module.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {"index", "place", "flags", "conv.weight", "conv.bias"} <= kept
    assert not {"head.weight", "head.bias", "norm.weight"} & kept
    flags = {name: p.requires_grad for name, p in network.module.named_parameters()}
    assert flags == {name: p.requires_grad for name, p in trained.module.named_parameters()}


def test_batchnorm_of_frozen_layers_goes_on_averaging_as_in_torch(data: ImageDataset, how: How) -> None:
    network = network_of(Body())
    network.module.norm.requires_grad_(False)
    trained, _ = fit(network, data, Training(Duration(1), Sgd(0.1)), **how)
    assert torch.equal(network.module.norm.weight, trained.module.norm.weight)
    assert not torch.equal(network.module.norm.running_mean, trained.module.norm.running_mean)

    class Still(Body):
        def train(self, mode: bool = True) -> Still:
            super().train(mode)
            self.norm.eval()
            return self

    still = network_of(Still())
    trained, _ = fit(still, data, Training(Duration(1), Sgd(0.1)), **how)
    assert torch.equal(still.module.norm.running_mean, trained.module.norm.running_mean)


def test_a_mask_on_a_frozen_weight_holds(data: ImageDataset, how: How) -> None:
    network = network_of(Body())
    network.module.head.requires_grad_(False)
    scores = {"head.weight": network.module.head.weight.abs()}
    trained, _ = fit(sparsify(network, NM(), scores), data, Training(Duration(1), Sgd(0.1)), **how)
    assert (trained.module.head.weight == 0).sum() == 12


@pytest.mark.parametrize("kind", ["frozen", "detached"])
def test_a_network_with_nothing_to_train_is_refused(kind: str, data: ImageDataset, how: How) -> None:
    class Detached(Body):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    module = Body().requires_grad_(False) if kind == "frozen" else Detached()
    with pytest.raises(Refusal) as caught:
        fit(network_of(module), data, Training(Duration(1), Sgd(0.1)), **how)
    assert caught.value.code == "RCP0725"


# several outputs ------------------------------------------------------------------------------


class Averaged(Body):
    def forward(self, x: Tensor) -> Any:
        f = self.features(x)
        a, b = self.head(f), self.second(f)
        return (a, b) if self.training else (a + b) / 2


@dataclass
class Answer:
    features: Tensor
    logits: Tensor


class Dressed(Body):
    def forward(self, x: Tensor) -> Any:
        f = self.features(x)
        return Answer(f, self.head(f))


class Auxiliary(Body):
    def forward(self, x: Tensor) -> Any:
        f = self.features(x)
        a = self.head(f)
        return {"aux": self.second(F.dropout(f, 0.0, self.training)), "out": a} if self.training else a


class Embedding(Body):
    """Its embedding has as many features as there are classes, and is not an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Linear(8, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        e = self.embed(self.features(x))
        y = self.last(F.dropout(e, 0.5, self.training))
        return (e, y) if self.training else y


class NoisyAverage(Averaged):
    """What makes numbers in training differ hides nothing: functional dropout."""

    def features(self, x: Tensor) -> Tensor:
        return F.dropout(super().features(x), 0.3, self.training)


def cross(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels)


LOSSES: dict[type[Body], Callable[[Any, Tensor], Tensor]] = {
    Averaged: lambda raw, y: (cross(raw[0], y) + cross(raw[1], y)) / 2,
    NoisyAverage: lambda raw, y: (cross(raw[0], y) + cross(raw[1], y)) / 2,
    Dressed: lambda raw, y: cross(raw.logits, y),
    Auxiliary: lambda raw, y: cross(raw["out"], y) + 0.3 * cross(raw["aux"], y),
    Embedding: lambda raw, y: cross(raw[1], y),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_what_is_trained_of_several_outputs_is_the_loop_by_hand(kind: type[Body], data: ImageDataset, how: How) -> None:
    network = network_of(kind())
    trained, record = fit(network, data, Training(Duration(2), Sgd(0.1)), **how)
    module = network.clone().module.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=Sgd(0.1).weight_decay)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for epoch in range(2):
            for x, y in data.batches("train", epoch=epoch, seed=0):
                loss = LOSSES[kind](module(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    for name, wanted in module.state_dict().items():
        torch.testing.assert_close(trained.module.state_dict()[name], wanted, rtol=1e-4, atol=1e-6)
    assert record.history[1]["loss"] == pytest.approx(sum(losses[4:]) / 4, rel=1e-4)


def test_both_heads_of_an_average_learn(data: ImageDataset, how: How) -> None:
    module = Averaged()
    nn.init.normal_(module.second.weight, std=3.0)
    network = network_of(module)
    trained, record = fit(network, data, Training(Duration(20), AdamW(0.02)), **how)
    images, labels = next(iter(data.batches("test", batch=70)))
    with torch.no_grad():
        right = (trained.module.eval()(images).argmax(1) == labels).float().mean()
    assert right > 0.8 and record.history[-1]["accuracy"] > 0.8


def test_a_training_answer_without_scores_is_refused(data: ImageDataset, how: How) -> None:
    class Lost(Body):
        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            return {"loss": y.mean()} if self.training else y

    class Raises(Body):
        def forward(self, x: Tensor) -> Any:
            assert not self.training, "give me targets"
            return super().forward(x)

    for kind, code, word in ((Lost, "RCP0812", "dict of loss one number"), (Raises, "RCP0713", "give me targets")):
        with pytest.raises(Refusal) as caught:
            fit(network_of(kind()), data, Training(Duration(1), Sgd(0.1)), **how)
        assert caught.value.code == code and word in caught.value.message


# inputs ---------------------------------------------------------------------------------------


class Rescaled(Body):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.mul(0.5).add(0.5))


class InPlace(Body):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.mul_(0.5).add_(0.5))


class InPlaceInTraining(Body):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.mul_(0.5).add_(0.5) if self.training else x.mul(0.5).add(0.5))


@pytest.mark.parametrize("kind", [InPlace, InPlaceInTraining])
def test_a_network_that_writes_into_its_input_trains_and_teaches_as_one_that_does_not(
    kind: type[Body], data: ImageDataset, how: How
) -> None:
    def distilled(build: type[Body]) -> tuple[dict[str, Tensor], Any]:
        torch.manual_seed(0)
        student, teacher = network_of(build()), network_of(build())
        for network in (student, teacher):
            enter(network.module, torch.randn(2, 3, 8, 8))
        training = Training(Duration(2), Sgd(0.1), (Term(1.0, Kd(4)),))
        trained, record = fit(student, data, training, teachers=[Teacher("old", teacher)], **how)
        return trained.module.state_dict(), record.history

    (plain, told), (found, history) = distilled(Rescaled), distilled(kind)
    assert told == history and all(torch.equal(plain[name], found[name]) for name in plain)


def test_activations_that_are_kept_do_not_stand_in_the_way_of_copies(data: ImageDataset, how: How) -> None:
    class Keeps(Body):
        def forward(self, x: Tensor) -> Any:
            self.seen = [self.features(x)]
            return self.head(self.seen[0])

    trained, _ = fit(network_of(Keeps()), data, Training(Duration(1), Sgd(0.1)), **how)
    again, _ = fit(trained.clone(), data, Training(Duration(1), Sgd(0.1)), **how)
    assert replace(again).module.seen[0].grad_fn is None


def test_a_network_that_cannot_be_trained_in_bfloat16_is_refused_with_torchs_sentence(
    data: ImageDataset, how: How
) -> None:
    class Scatters(Body):
        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            return torch.zeros(len(x), 3).index_add_(0, torch.arange(len(x)), y)

    network = network_of(Scatters())
    fit(network, data, Training(Duration(1, "steps"), Sgd(0.1)), **how)
    with pytest.raises(Refusal) as caught:
        fit(network, data, Training(Duration(1, "steps"), Sgd(0.1)), **{**how, "precision": "bfloat16"})
    assert caught.value.code == "RCP0726" and "RuntimeError" in caught.value.message


def test_an_exception_that_has_nothing_to_do_with_the_precision_does_not_blame_it(data: ImageDataset, how: How) -> None:
    class Small(Body):
        def forward(self, x: Tensor) -> Any:
            if self.training and len(x) > 1:
                raise ValueError("one at a time")
            return super().forward(x)

    with pytest.raises(Refusal, match="in training mode: ValueError: one at a time") as caught:
        fit(
            network_of(Small()),
            data,
            Training(Duration(1, "steps"), Sgd(0.1)),
            **{**how, "precision": "bfloat16"},
        )
    assert caught.value.code == "RCP0713"

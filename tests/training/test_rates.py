"""Learning rates of some layers: groups of the optimizer, each with its factor at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parameter_groups import (
    HEAD,
    TASK,
    Noting,
    planned,
    refused,
    require_resumed_alike,
    require_same_weights,
    written_again,
)
from torch import nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.methods.companions.clip import Clip
from recipelang.methods.companions.rate import Rate
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.plan import Duration, Selection, Selector, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit

STEM = (Selector("glob", "0"), Selector("type", "BatchNorm2d"))


def trained(network: Network, data: ImageDataset, silent: Any, *rates: Rate, **more: Any) -> tuple[Network, Noting]:
    noting = Noting()
    optimizer = more.pop("optimizer", Sgd(0.1))
    training = Training(Duration(2), optimizer, companions=(*rates, noting), trains=more.pop("trains", Selection()))
    return fit(network, data, training, task=TASK, seed=4, precision="float32", progress=silent(), **more)[0], noting


def test_it_is_torch_with_groups(another: Any, data: ImageDataset, silent: Any) -> None:
    network: Network = another(dropout=0.0)
    found, _ = trained(
        network, data, silent, Rate(0.25, STEM), Rate(4.0, HEAD), optimizer=Sgd(Cosine(0.05, to=0.01))
    )  # fmt: skip
    module = network.clone().module.train()
    factors = {0: 0.25, 1: 0.25, 7: 4.0}
    groups = [{"params": list(part.parameters()), "rate": factors.get(n, 1.0)} for n, part in enumerate(module)]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(2):
        for step, (x, y) in enumerate(data.batches("train", epoch=epoch, seed=4)):
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * Cosine(0.05, to=0.01).value_at(4 * epoch + step, 8, 4)
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    require_same_weights(found.module, module)


@pytest.mark.parametrize("name", catalogue.names("optimizer"))
def test_with_every_optimizer_and_beside_others(network: Network, data: ImageDataset, silent: Any, name: str) -> None:
    noting, cls = Noting(), catalogue.find("optimizer", name)
    ramped = next(s.ramp for s in catalogue.settings(cls) if s.name == "lr")
    lr = Cosine(1e-2, to=0) if ramped else 1e-2
    training = Training(Duration(4, "steps"), cls(lr=lr), companions=(Rate(10.0, HEAD), Clip(1.0), noting))
    fit(network, data, training, task=TASK, seed=0, progress=silent())
    assert len(noting.learning_rates) == 4
    for step, seen in enumerate(noting.learning_rates):
        now = Cosine(1e-2, to=0).value_at(step, 4, 4) if ramped else 1e-2
        assert seen.keys() == dict(network.module.named_parameters()).keys()
        assert seen == pytest.approx({p: now * (10 if p.startswith("7.") else 1) for p in seen})


def test_the_last_one_that_names_a_parameter_counts(network: Network, data: ImageDataset, silent: Any) -> None:
    _, noting = trained(network, data, silent, Rate(10.0, (Selector("glob", "*"),)), Rate(0.5, (Selector("last"),)))
    rates = noting.learning_rates[0]
    assert {name: lr for name, lr in rates.items() if lr != 1.0} == {"7.weight": 0.05, "7.bias": 0.05}


def test_quantizers_and_parts_keep_the_rate_of_the_optimizer() -> None:
    from recipelang.training.rates import in_groups, set_rate

    module, beside = nn.Linear(2, 2), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": list(module.parameters())}, {"params": [beside], "weight_decay": 0.5}])
    set_rate(in_groups(optimizer, module, {"bias": 3.0}, {}), 0.1)
    lrs = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert lrs[id(module.weight)] == (0.1, 0) and lrs[id(beside)] == (0.1, 0.5)
    assert lrs[id(module.bias)] == (pytest.approx(0.3), 0)


def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(Duration(2), Sgd(0.1), companions=(Rate(3.0, HEAD), Rate(0.1, STEM)))
    require_resumed_alike(network, data, silent, training, tmp_path / "c", monkeypatch)


def test_what_does_not_train_is_refused(network: Network, data: ImageDataset, silent: Any) -> None:
    for rate, trains in (
        (Rate(2.0, HEAD), Selection((Selector("glob", "0"),))),
        (Rate(2.0, HEAD), Selection(exclude=HEAD)),
        (Rate(2.0, (Selector("type", "ReLU"),)), Selection()),
    ):
        with pytest.raises(Refusal) as none:
            trained(network, data, silent, rate, trains=trains)
        assert none.value.code == "RCP1540"


SETUP = "model digits_resnet\ndata digits\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('finetune for 1 epoch with rate(10, layers="fc")', "RCP0703"),
        ('finetune in "layer1" for 1 epoch with rate(10, layers="linear")', "RCP1540"),
    ],
)
def test_plan_refuses_what_a_network_lacks(tmp_path: Path, text: str, code: str) -> None:
    assert refused(lambda: planned(SETUP + text, tmp_path)) == [code]


@pytest.mark.parametrize(
    ("companions", "code"),
    [
        ("rate(10)", "RCP0304"),
        ("rate(10, layers=linear)", "RCP0301"),
        ("rate(10, layers=[])", "RCP0301"),
        ('rate(0, layers="linear")', "RCP0303"),
        ('rate(2, layers="linear"), rate(2, layers="linear")', "RCP0408"),
        ("clip(1), clip(2)", "RCP0408"),
    ],
)
def test_check_refuses_what_it_can_know(companions: str, code: str) -> None:
    assert refused(lambda: check(parse(f"{SETUP}finetune for 1 epoch with {companions}"))) == [code]


def test_it_is_read_as_it_is_written() -> None:
    written = 'rate(0.1, layers=["conv1", type(BatchNorm2d), first]), rate(10, layers=["linear"])'
    assert written_again(check(parse(f"{SETUP}finetune for 1 epoch with {written}"))) == written


def test_a_recipe_and_its_control(tmp_path: Path) -> None:
    trains = 'finetune for 2 steps with rate(10, layers="linear"), sgd(lr=1e-3)'
    text = f"{SETUP}prune 1 layer by random\n{trains}\ncontrol\nmeasure top1"
    told = repr(planned(text, tmp_path))
    assert '10 × the learning rate in "linear": 330 parameters' in told
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    assert 'finetune for 2 steps with rate(10, layers=[\\"linear\\"]), sgd(lr=1e-3)' in json.dumps(result.report)

"""Weight decay of some parameters: groups of the optimizer, each with its factor."""

from __future__ import annotations

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
from recipelang.kinds import Companion
from recipelang.methods.companions.decays import Decays
from recipelang.methods.companions.rate import Rate
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.plan import Duration, Selection, Selector, Training
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit


def noted(
    network: Network, data: ImageDataset, silent: Any, optimizer: Any, *companions: Companion, **more: Any
) -> dict[str, tuple[float, float]]:
    """Parameter → its learning rate and weight decay in a training of two steps."""
    noting = Noting()
    training = Training(Duration(2, "steps"), optimizer, companions=(*companions, noting), **more)
    fit(network, data, training, task=TASK, seed=4, progress=silent())
    return noting.seen[-1]


def others_of(module: nn.Module) -> set[str]:
    """Biases, and everything of BatchNorm."""
    norms = {name for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    return {name for name, _ in module.named_parameters() if name.endswith("bias") or name.rpartition(".")[0] in norms}


def test_it_is_torch_with_groups(another: Any, data: ImageDataset, silent: Any) -> None:
    network: Network = another(dropout=0.0)
    companions = Decays(0.0, "others"), Decays(3.0, "weights", HEAD)
    training = Training(Duration(1), Sgd(0.1, weight_decay=0.05), companions=companions)
    found, _ = fit(network, data, training, task=TASK, seed=4, precision="float32", progress=silent())
    module, spared = network.clone().module.train(), others_of(network.module)
    decay = {
        name: 0.0 if name in spared else 0.15 if name == "7.weight" else 0.05
        for name in dict(module.named_parameters())
    }
    assert len(spared) > 2
    optimizer = torch.optim.SGD(
        [{"params": [p], "weight_decay": decay[name]} for name, p in module.named_parameters()], lr=0.1, momentum=0.9
    )
    for x, y in data.batches("train", epoch=0, seed=4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    require_same_weights(found.module, module)


@pytest.mark.parametrize("name", [name for name in catalogue.names("optimizer") if name != "rprop"])
def test_with_every_optimizer_and_beside_a_rate(network: Network, data: ImageDataset, silent: Any, name: str) -> None:
    made: Any = catalogue.find("optimizer", name)
    optimizer = made(lr=1e-3, weight_decay=0.25)
    seen = noted(network, data, silent, optimizer, Decays(0.0, "all", HEAD), Rate(10.0, HEAD))
    assert seen.keys() == dict(network.module.named_parameters()).keys()
    spared = others_of(network.module) if name == "adamw" else set()
    for path, (lr, decay) in seen.items():
        assert lr == pytest.approx(1e-2 if path.startswith("7.") else 1e-3)
        assert decay == (0 if path.startswith("7.") or path in spared else 0.25), path


def test_weights_are_those_that_adamw_lets_decay(network: Network, data: ImageDataset, silent: Any) -> None:
    mine = noted(network, data, silent, Sgd(0.1, weight_decay=0.5), Decays(0.0, "others"))
    usual = noted(network, data, silent, AdamW(0.1, weight_decay=0.5))
    assert {name: decay for name, (_, decay) in mine.items()} == {name: decay for name, (_, decay) in usual.items()}


def test_the_last_one_that_names_a_parameter_counts(network: Network, data: ImageDataset, silent: Any) -> None:
    companions = Decays(0.0, "all", (Selector("glob", "*"),)), Decays(2.0, "others", HEAD)
    seen = noted(network, data, silent, Sgd(0.1, weight_decay=0.5), *companions)
    assert {name: decay for name, (_, decay) in seen.items() if decay} == {"7.bias": 1.0}


def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(Duration(2), Sgd(0.1, weight_decay=0.05), companions=(Decays(0.0, "others"), Rate(3.0, HEAD)))
    require_resumed_alike(network, data, silent, training, tmp_path / "c", monkeypatch)


@pytest.mark.parametrize(
    ("optimizer", "companion", "trains"),
    [
        (Sgd(0.1, weight_decay=0.0), Decays(0.0, "others"), Selection()),
        (AdamW(0.1), Decays(0.0, "others"), Selection()),
        (Sgd(0.1), Decays(0.0, "all", HEAD), Selection(exclude=HEAD)),
        (Sgd(0.1), Decays(0.0, "all", (Selector("type", "ReLU"),)), Selection()),
    ],
    ids=["none", "adamw", "frozen", "empty"],
)
def test_what_has_no_weight_decay_is_refused(
    network: Network, data: ImageDataset, silent: Any, optimizer: Any, companion: Decays, trains: Selection
) -> None:
    with pytest.raises(Refusal) as none:
        noted(network, data, silent, optimizer, companion, trains=trains)
    assert none.value.code == "RCP1540"


SETUP = "model digits_resnet\ndata digits\nfinetune for 1 epoch with "


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("decays(0)", "RCP0307"),
        ("decays(1, parameters=others)", "RCP0307"),
        ("decays(2000000, parameters=others)", "RCP0303"),
        ("decays(parameters=others)", "RCP0304"),
        ("decays(0, parameters=biases)", "RCP0301"),
        ("decays(0, parameters=others), decays(0, parameters=others)", "RCP0408"),
        ("adam(weight_decay=0), decays(0, parameters=others)", "RCP1540"),
        ("adam, decays(0, parameters=others)", "RCP1540"),
    ],
)
def test_check_refuses_what_it_can_know(given: str, code: str) -> None:
    assert refused(lambda: check(parse(SETUP + given))) == [code]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("adamw, decays(0, parameters=others)", "RCP1540"),
        ("rprop, decays(0, parameters=others)", "RCP1540"),
        ('sgd, decays(0, layers="fc")', "RCP0703"),
    ],
)
def test_plan_refuses_what_a_network_lacks(tmp_path: Path, given: str, code: str) -> None:
    assert refused(lambda: planned(SETUP + given, tmp_path)) == [code]


def test_the_plan_names_the_parameters(tmp_path: Path) -> None:
    text = SETUP + 'sgd, decays(0, parameters=others, layers=["conv1", "bn1", "linear"])'
    told = repr(planned(text, tmp_path))
    assert "no weight decay of 3 parameters with 42 numbers: bn1.weight, bn1.bias and linear.bias" in told


def test_it_is_read_as_it_is_written() -> None:
    written = 'decays(0, parameters=others), decays(2, layers=["linear"])'
    assert written_again(check(parse(SETUP + written))) == written

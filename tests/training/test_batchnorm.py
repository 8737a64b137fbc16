"""BatchNorm statistics against the population's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.measuring.predict import take
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Samples
from recipelang.surgery.network import Network
from recipelang.training.batchnorm import extent, recalibrate


def population(data: ImageDataset, module: nn.Module, samples: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and unbiased variance per channel of a module's output for all images at once."""
    x = torch.cat([x for x, _ in data.batches("train", samples=samples)])
    with torch.no_grad():
        values = module(x).double().transpose(0, 1).flatten(1)
    return values.mean(1), values.var(1)


@pytest.mark.parametrize("batch", [7, 16, 69, 70])
@pytest.mark.parametrize("samples", [None, 30])
def test_the_first_layer_knows_the_population(
    network: Network, data: ImageDataset, silent: Any, batch: int, samples: int | None
) -> None:
    new = recalibrate(
        network, replace(data, batch=batch), Samples("train", samples), seed=0, progress=silent(), device="cpu"
    )
    mean, variance = population(data, network.module[0], samples)
    norm = new.module[1]
    if batch == 69 and samples is None:  # the last image stands alone and is left out
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=0.05, atol=0.02)
        return
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-5, atol=1e-5)


def test_deeper_layers_see_what_recalibrated_layers_give(data: ImageDataset, silent: Any) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))
    with torch.no_grad():
        module[1].running_mean.fill_(1e3)  # statistics of another life
    network = Network(module, {}, (3, 8, 8))
    new = recalibrate(network, replace(data, batch=70), Samples("train"), seed=0, progress=silent())
    mean, variance = population(data, new.module[:3].eval())
    torch.testing.assert_close(new.module[3].running_mean.double(), mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(new.module[3].running_var.double(), variance, rtol=1e-2, atol=1e-3)


def test_only_statistics_change_and_only_in_the_copy(network: Network, data: ImageDataset, silent: Any) -> None:
    before = {n: t.clone() for n, t in network.module.state_dict().items()}
    random = torch.get_rng_state()
    new = recalibrate(network, data, Samples("train", 2048), seed=0, progress=silent()).module
    assert all(torch.equal(before[n], t) for n, t in network.module.state_dict().items())
    changed = {n for n, t in new.state_dict().items() if not torch.equal(before[n], t)}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert torch.equal(random, torch.get_rng_state()) and not new.training


def test_as_many_images_are_looked_at_as_there_are(data: ImageDataset) -> None:
    there = data.size("train")
    asked = {count: extent(data, Samples("train", count)) for count in (None, 1, there, there + 1)}
    assert asked == {None: there, 1: 1, there: there, there + 1: there}


def test_a_network_without_batchnorm_is_refused(data: ImageDataset, silent: Any) -> None:
    for module in (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), nn.BatchNorm2d(3, track_running_stats=False)):
        with pytest.raises(Refusal) as caught:
            recalibrate(Network(module, {}, (3, 8, 8)), data, Samples("train"), seed=0, progress=silent())
        assert caught.value.code == "RCP0813"


@dataclass
class Whole:
    """A metric that keeps every answer, or refuses."""

    refuse: bool = False

    def start(self, task: Any) -> list[tuple[Tensor, Tensor]]:
        return []

    def add(self, state: list[Any], answer: Tensor, targets: Tensor) -> list[Any]:
        if self.refuse and state:
            raise Refusal("RCP1002", "after one batch")
        return [*state, (answer, targets)]

    def result(self, state: list[Any]) -> Any:
        return [torch.cat(parts) for parts in zip(*state, strict=True)]


def test_answers_are_those_of_the_module(network: Network, data: ImageDataset, silent: Any) -> None:
    network.module.train()
    progress = silent()
    refused, found = take(
        [Whole(refuse=True), Whole()], network.module, data, "test", task=Classification(), progress=progress
    )
    assert isinstance(refused, Refusal), "a metric that refuses does not stop the others"
    answer, targets = found  # type: ignore[misc]
    assert network.module.training and progress.done == 70 and not progress.running
    x, y = next(iter(data.batches("test", batch=70)))
    with torch.no_grad():
        wanted = network.clone().module.eval()(x)
    torch.testing.assert_close(answer, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(targets, y)
    assert answer.dtype == torch.float32 and not answer.requires_grad
    some = take([Whole()], network.module, data, "val", task=Classification(), samples=9)[0]
    assert len(some[0]) == 9  # type: ignore[index]

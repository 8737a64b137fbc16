"""`prune` with a criterion that corrects: guards judge the corrected network in every round, and the record says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from recipelang.budgets.verdict import Verdict
from recipelang.check import check
from recipelang.kinds import Quiet
from recipelang.plan import steps_of
from recipelang.stages.prune import run
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.verbs.prune import Prune


def twice() -> Network:
    """A network whose first convolution has every filter twice, read with different weights."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4)
    )
    with torch.no_grad():
        for tensor in (module[0].weight, module[0].bias):
            tensor[4:] = tensor[:4].clone()
    return Network(module.eval(), {}, (1, 8, 8))


IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def operation(text: str) -> Prune:
    found = [step.operation for step in steps_of(check(parse(text)).nodes) if isinstance(step.operation, Prune)]
    return found[0]


def context(network: Network, folder: Path) -> Any:
    """A guard holds while the network computes what it did."""
    with torch.no_grad():
        before = network.module(IMAGES)

    def judge(condition: Any, tried: Network, surely: bool) -> Verdict:
        with torch.no_grad():
            return Verdict(torch.allclose(tried.module.eval()(IMAGES), before, atol=1e-4), ())

    return SimpleNamespace(
        network=network, data=None, task=None, seed=0, device="cpu", threads=1, folder=folder, judge=judge, look=None,
        read=lambda reading, network: 1.0, progress=Quiet(), smoke=False,
    )  # fmt: skip


@pytest.mark.parametrize(("rounds", "text"), [(1, ""), (2, " over 2 rounds")])
def test_a_guard_judges_the_corrected_network(tmp_path: Path, rounds: int, text: str) -> None:
    """Every second filter can leave if its weights are added to those of its twin, and not one without that."""
    network = twice()
    for criterion, gone in (("similarity", 4), ("magnitude", 0)):
        asked = operation(f'prune filters(round=1) by {criterion} while top1 drop < 1% except "3"{text}')
        made = run(asked, context(network, tmp_path))
        conv: Any = made.network.module[0]  # type: ignore[index]
        assert conv.out_channels == 8 - gone, criterion
        assert ("corrected 1 weight for what is removed: `3.weight`" in made.note) == (criterion == "similarity")
        with torch.no_grad():
            torch.testing.assert_close(made.network.module(IMAGES), network.module(IMAGES), rtol=1e-4, atol=1e-4)


def test_a_number_is_removed_with_corrections_too(tmp_path: Path) -> None:
    network = twice()
    made = run(operation('prune 4 filters(round=1) by similarity except "3"'), context(network, tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(made.network.module(IMAGES), network.module(IMAGES), rtol=1e-4, atol=1e-4)
    assert made.edits == ("removed 4 of 8 filters of `0`",)

"""How much of the data a plan expects a criterion to see: passes that are shared count once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checked import step
from torch import nn

from recipelang.check import check
from recipelang.plan import steps_of
from recipelang.run.keys import step_ingredients
from recipelang.run.timing import images_seen
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse


@pytest.mark.parametrize(
    ("by", "images"),
    [
        ("magnitude", 0),
        ("wanda", 100),
        ("taylor", 300),
        ("features", 300),
        ("imprint", 140),
        ("ensemble(taylor, features, bn_taylor)", 300),
        ("ensemble(imprint, probe, magnitude)", 140),
        ("ensemble(wanda, ensemble(taylor, imprint))", 340),
        ("ablate", 1000),
        ("ensemble(ablate, taylor)", 1300),
        ("sparsegpt", 100),  # half a pass for each of two weights
    ],
)
def test_passes_that_are_shared_count_once(by: str, images: float) -> None:
    operation: Any = step(f"prune 1 layers by {by}").operation
    network = Network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).eval(), {}, (1, 4, 4))
    torch.manual_seed(0)
    data: Any = SimpleNamespace(size=lambda split: {"train": 1000, "val": 40}[split])
    assert images_seen(operation.criterion, 100, network, data, parts=9) == images


@pytest.mark.parametrize(("by", "decided"), [("ablate", True), ("taylor", True), ("magnitude", False)])
def test_the_task_enters_the_key_where_its_loss_ranks(by: str, decided: bool) -> None:
    text = f"task classification(smoothing=0.1)\nprune 1 layers by {by}"
    steps = list(steps_of(check(parse(text)).nodes))
    task = next(step.operation.method for step in steps if step.operation.verb == "task")
    lane: Any = SimpleNamespace(current=None, healthy=None, seed=0, trace=())
    options: Any = SimpleNamespace(device="cpu", smoke=False, threads=1)
    data: Any = SimpleNamespace(fingerprint="")
    found = step_ingredients(steps[-1].operation, data, lane, options, task)
    assert ("task" in found) == decided


@pytest.mark.parametrize(
    ("budget", "of_machine"), [("latency", True), ('memory(device="cuda")', True), ("memory", False), ("flops", False)]
)
def test_the_machine_enters_the_key_where_a_budget_reads_a_number_of_it(budget: str, of_machine: bool) -> None:
    steps = list(steps_of(check(parse(f"prune layers by magnitude until {budget} < 0.7")).nodes))
    lane: Any = SimpleNamespace(current=None, healthy=None, seed=0, trace=())
    options: Any = SimpleNamespace(device="cpu", smoke=False, threads=1)
    data: Any = SimpleNamespace(fingerprint="")
    found = step_ingredients(steps[-1].operation, data, lane, options, SimpleNamespace())  # type: ignore[arg-type]
    assert ("hardware" in found) == of_machine

"""`prune … over sfp for …`: the weakest become zero, go on being trained, and leave at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import context, operation
from gradual import Residual, killed, network_of, tensors
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment
from recipelang.meaning import schedules
from recipelang.plan import Duration, Selection, unhashed
from recipelang.scoring.softening import set_to_zero
from recipelang.stages import _pace, prune
from recipelang.surgery.network import Network
from recipelang.training import loop

SOFT = "prune 8 filters(round=1) by magnitude over sfp(every=2 steps) for 7 steps with sgd(lr=1e-2)"


@dataclass(frozen=True)
class Noting(Companion):
    """Writes down the weights before the updates of a step, after them, and after the step."""

    seen: Any = unhashed(None)
    when: str = ""

    def _note(self, when: str, network: Network, moment: Moment) -> None:
        weights = {name: p.detach().clone() for name, p in network.module.named_parameters()}
        self.seen[moment.step, when] = weights

    def before_step(self, network: Network, state: Any, moment: Moment) -> None:
        self._note(f"{self.when} it", network, moment)

    def after_step(self, network: Network, optimizer: Any, state: Any, moment: Moment) -> None:
        self._note("trained", network, moment)


def weakest(weights: dict[str, Tensor], count: int) -> set[tuple[str, int]]:
    """By hand: the filters of the blocks' first convolutions with the smallest L2 norm, over all of them; the others
    make the stream of all blocks, whose channels three more convolutions make."""
    norms = {(f"blocks.{n}.one", k): float(f.square().sum().sqrt()) for n in range(3)
             for k, f in enumerate(weights[f"blocks.{n}.one.weight"])}  # fmt: skip
    stream = ["stem.weight", *(f"blocks.{n}.two.weight" for n in range(3))]
    norms |= {("stem", k): float(sum(weights[name][k].square().sum() for name in stream).sqrt()) for k in range(8)}
    return set(sorted(norms, key=norms.__getitem__)[:count])


def zeros(weights: dict[str, Tensor]) -> set[tuple[str, int]]:
    found = {
        (f"blocks.{n}.one", k) for n in range(3) for k in range(8) if not weights[f"blocks.{n}.one.weight"][k].any()
    }
    stream = ["stem.weight", *(f"blocks.{n}.two.weight" for n in range(3))]
    return found | {("stem", k) for k in range(8) if not any(bool(weights[name][k].any()) for name in stream)}


def test_the_weakest_become_zero_at_every_update_and_go_on_being_trained(
    data: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[int, str], dict[str, Tensor]] = {}
    fit = loop.fit

    def fits(network: Network, data: Any, training: Any, **how: Any) -> Any:
        around = (Noting(seen, "before"), *training.companions, Noting(seen, "after"))
        return fit(network, data, replace(training, companions=around), **how)

    monkeypatch.setattr(_pace, "fit", fits)
    outcome = prune.run(operation(SOFT), context(network_of(Residual), data, tmp_path))
    for step in range(7):
        before, after = seen[step, "before it"], seen[step, "after it"]
        if step not in (2, 4, 6):
            assert all(torch.equal(before[name], after[name]) for name in before)
            continue
        assert zeros(after) == weakest(before, 8)
        same = {name for name in before if torch.equal(before[name], after[name])}
        assert same >= {
            name for name in before if "norm" in name or "bias" in name or "head" in name or "hidden" in name
        }
        assert len(zeros(seen[step, "trained"])) < 8, "they learn again"
    gone = {(row["layer"], row["gone"]) for row in outcome.ranking if row["gone"]}
    last = weakest(seen[6, "trained"], 8)
    assert gone == {(name, sum(1 for n, _ in last if n == name)) for name in {name for name, _ in last}}
    assert sum(row["gone"] for row in outcome.ranking) == 8


def test_softly_killed_and_the_same_bytes(data: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    plan, network = operation(SOFT.replace("magnitude", "taylor")), network_of(Residual)
    whole, again, taken = killed(plan, network, data, tmp_path, (3, 2))  # the last step of each is lost
    assert taken == 7 - 2 - 1 and tensors(again) == tensors(whole) and again.history == whole.history


def test_a_normalised_filter_is_zero_by_its_scale() -> None:
    module = nn.Sequential(
        weight_norm(nn.Conv2d(3, 4, 1)), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(128, 3)
    )
    network = Network(module.eval(), {}, (3, 8, 8))
    offer = operation("prune 1 filters(round=1) by magnitude").unit.find(network, Selection())
    group = next(group for group in offer.groups if group.name == "0")
    set_to_zero(module, group.source, (1, 3), offer.source.followed.normalised)
    weight = module[0].weight
    assert bool(weight.isfinite().all()) and [bool(row.any()) for row in weight] == [True, False, True, False]


def test_a_plan_says_when_parts_become_zero() -> None:
    course = operation(SOFT).training.course
    told = schedules.told(course, Duration(7, "steps"), 4)
    assert told == "sfp sets the weakest to zero 3 times, 2 steps apart; they are removed after the training"
    schedules.fit(replace(operation(SOFT).training, duration=Duration(3, "steps")), 4)
    with pytest.raises(Refusal) as late:
        schedules.fit(replace(operation(SOFT).training, duration=Duration(2, "steps")), 4)
    assert late.value.code == "RCP0312"

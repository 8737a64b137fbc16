"""`prune … over SCHEDULE for …`: every unit by every schedule that moves parts, update by update, killed or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from contexts import context, operation, unused
from gradual import Progress, Residual, killed, network_of, tensors
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.budgets.verdict import Verdict
from recipelang.errors import RecipeError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Group, Offer
from recipelang.meaning import schedules
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration
from recipelang.stages import _pace, prune
from recipelang.stages.context import Outcome
from recipelang.surgery.network import Network
from recipelang.training import loop

SCHEDULES = [name for name in catalogue.names("schedule") if "parts" in catalogue.find("schedule", name).moves]  # type: ignore[union-attr]
AMOUNTS = {"layers": "2 layers", "filters": "50% filters(round=1)", "neurons": "50% neurons(round=1)"}
OVER = "over agp(begin=1 steps, every=2 steps) for 8 steps with sgd(lr=1e-2)"


class Layer(nn.Module):
    """Attention with four heads beside a skip connection, then a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.norm, self.qkv, self.proj = 4, nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).reshape(*x.shape[:2], 3, self.heads, 2).permute(2, 0, 3, 1, 4)
        return x + self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Tokens(nn.Module):
    """Patches of 4×4 pixels through two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.layers = nn.Conv2d(3, 8, 4, stride=4), nn.Sequential(Layer(), Layer())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.patches(x).flatten(2).mT).mean(1))


class Images:
    """As many as 4 steps an epoch need."""

    batch = 16

    def size(self, split: str) -> int:
        return 64


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(parts removed so far, steps trained so far) at every update."""
    found: list[tuple[int, int]] = []
    trained = [0]
    told, fit = prune.told, loop.fit

    def tells(outcome: Any, operation: Any, network: Any, result: Any, tallies: Any, *said: Any) -> Any:
        found.append((sum(tally.count for tally in tallies), trained[0]))
        return told(outcome, operation, network, result, tallies, *said)

    def fits(*args: Any, **how: Any) -> Any:
        network, record = fit(*args, **how)
        trained[0] += record.steps
        return network, record

    monkeypatch.setattr(prune, "told", tells)
    monkeypatch.setattr(_pace, "fit", fits)
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("unit", catalogue.names("unit"))
def test_every_unit_over_every_schedule_that_moves_parts(
    unit: str, schedule: str, data: ImageDataset, tmp_path: Path
) -> None:
    amount = AMOUNTS.get(unit, f"50% {unit}")
    text = f"prune {amount} by magnitude over {schedule}(every=2 steps) for 6 steps with sgd(lr=1e-2)"
    kind: Any = catalogue.find("schedule", schedule)
    if unit not in getattr(kind, "units", [unit]):
        with pytest.raises(RecipeError) as refused:
            operation(text)
        assert [d.code for d in refused.value.diagnostics] == ["RCP0432"]
        return
    network = network_of(Tokens if unit == "heads" else Residual)
    outcome = prune.run(operation(text), context(network, data, tmp_path))
    gone = sum(row.get("gone", int(row["removed"])) for row in outcome.ranking)
    assert gone == outcome.reached[0].value and outcome.network.edits
    assert gone == {"layers": 2, "heads": 4, "neurons": 6, "filters": 16}[unit]
    assert [t.duration for t in outcome.training] == [Duration(6, "steps")]
    assert [row["epoch"] for row in outcome.history] == [1, 2]
    images, _ = next(data.batches("train"))
    with torch.no_grad():
        assert bool(torch.isfinite(outcome.network.module(images)).all())


@dataclass(frozen=True)
class Piles:
    """A unit of parts in two piles, which are numbers in the source of a network."""

    name, one, ranks, many = "piles", "part", "filter", True

    def find(self, network: Network, selection: Any) -> Offer:
        return Offer(tuple(Group(name, size, least=1) for name, size in network.source.items()), {})

    def aggregate(self, criterion: Any, scores: Any, evidence: Any, groups: Any) -> Any:
        return {group.name: torch.arange(group.size) for group in groups}

    def edits(self, network: Network, offer: Offer, gone: Any) -> Any:
        return ()

    def remove(self, network: Network, offer: Offer, gone: Any) -> Any:
        left = {name: size - len(gone.get(name, ())) for name, size in network.source.items()}
        return replace(network, source=left), {}


@given(
    number=st.integers(1, 20), start=st.sampled_from([0.0, 0.1, 0.5]), begin=st.integers(0, 3), every=st.integers(1, 3),
    share=st.booleans(),
)  # fmt: skip
def test_after_every_update_as_many_are_removed_as_the_formula_says(
    number: int, start: float, begin: int, every: int, share: bool
) -> None:
    """round(N · s(t)/s_f), at the steps t₀, t₀ + Δt, …"""
    amount, final = (f"{number / 32:.5%}", number / 32) if share else (str(number), 1.0)
    if start >= final:
        return
    over = f"agp(start={start:.0%}, begin={begin} steps, every={every} steps)"
    plan = operation(f"prune {amount} filters by random over {over} for 7 steps with sgd(lr=1e-2)")
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        told = prune.told
        patch.setattr(prune, "told", lambda *of: seen.append(of[4][0].count) or told(*of))
        patch.setattr(_pace, "fit", lambda network, *_, **__: (network, loop.FitRecord(1, 1, 1.0, "", 0, ())))
        network, images = Network(nn.Identity(), {"a": 20, "b": 12}, (3, 8, 8)), cast(Any, Images())
        prune.run(replace(plan, unit=Piles()), context(network, images, Path()))
    updates = (6 - begin) // every
    targets = [final + (start - final) * (1 - k / updates) ** 3 for k in range(updates + 1)]
    assert seen == [round(number * target / final) for target in targets] and seen[-1] == number


def test_updates_come_before_their_steps(counted: Any, data: ImageDataset, tmp_path: Path) -> None:
    plan = operation(f"prune 8 filters(round=1) by taylor {OVER}")
    outcome = prune.run(plan, context(network_of(Residual), data, tmp_path))
    assert counted == [(0, 1), (6, 3), (8, 5), (8, 7)]  # 8 · (1 − (2/3)³) = 5.6, 8 · (1 − (1/3)³) = 7.7
    assert sum(row["gone"] for row in outcome.ranking) == 8


def test_the_training_is_that_without_removal_where_the_updates_remove_nothing(
    data: ImageDataset, tmp_path: Path
) -> None:
    """Rates and images are those of one training of 8 steps, up to its last update."""
    plan = operation(
        f"prune 1 filters(round=1) by magnitude {OVER}".replace("sgd(lr=1e-2)", "sgd(lr=cosine(1e-2), momentum=0)")
    )
    training = plan.training
    network = network_of(Residual)
    pace = _pace.pace_of(training, 1, context(network, data, tmp_path / "a"), unused)
    outcome = pace.before(Outcome(network))
    for turn in range(1, len(pace.parts) + 1):
        outcome = pace.after(outcome, turn, last=turn == len(pace.parts))
    whole, record = loop.fit(network, data, training, task=Classification(), seed=0, threads=1, progress=Progress())
    assert list(outcome.training) == [training]
    for name, tensor in whole.module.state_dict().items():
        torch.testing.assert_close(outcome.network.module.state_dict()[name], tensor, rtol=1e-5, atol=1e-7)
    assert [row["lr"] for row in outcome.history] == [row["lr"] for row in record.history]


@pytest.mark.parametrize("unit", ["filters", "layers"])
def test_killed_at_any_step_and_the_same_bytes(
    unit: str, data: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    plan = operation(f"prune {AMOUNTS[unit]} by taylor {OVER}")
    network = network_of(Residual)
    whole, again, taken = killed(plan, network, data, tmp_path, (1, 2, 3))  # the last step of each is lost
    assert taken == 8 - 0 - 1 - 2
    assert tensors(again) == tensors(whole) and again.network.described() == whole.network.described()
    assert (again.ranking, again.history, again.edits) == (whole.ranking, whole.history, whole.edits)


def test_a_guard_ends_the_removal_and_the_training_goes_on(counted: Any, data: ImageDataset, tmp_path: Path) -> None:
    plan = operation(f"prune 8 filters(round=1) by magnitude while params > 0.9 {OVER}")
    network = network_of(Residual)
    size = lambda net: sum(p.numel() for p in net.module.parameters())  # noqa: E731

    def judge(condition: Any, tried: Network, surely: bool) -> Any:
        return Verdict(size(tried) > 0.9 * size(network), ())

    outcome = prune.run(plan, replace(context(network, data, tmp_path), judge=judge))
    assert 0 < counted[-1][0] < 8 and len(counted) == 2  # the second update of four is cut short
    assert "the guard stopped it" in outcome.note and size(outcome.network) > 0.9 * size(network)
    assert [row["epoch"] for row in outcome.history] == [1, 2] and outcome.training == (plan.training,)


def test_smoke_removes_twice_in_two_steps(counted: Any, data: ImageDataset, tmp_path: Path) -> None:
    plan = operation("prune 8 filters(round=1) by magnitude over agp(begin=20 epochs) for 90 epochs")
    prune.run(plan, context(network_of(Residual), data, tmp_path, smoke=True))
    assert counted == [(4, 0), (8, 1)]


def test_a_plan_says_how_the_way_is_made(data: ImageDataset) -> None:
    course = operation(f"prune 8 filters by magnitude {OVER}").training.course
    assert schedules.told(course, Duration(8, "steps"), 4).startswith(
        "agp sets the target 4 times: 0.00 % at epoch 0.25"
    )

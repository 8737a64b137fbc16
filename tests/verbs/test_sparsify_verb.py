"""What `sparsify` refuses before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from checked import refused

from recipelang import catalogue
from recipelang.catalogue import method, setting
from recipelang.check import check
from recipelang.plan import Mark, steps_of
from recipelang.syntax.parse import parse


@method("pattern", "scattered")
@dataclass(frozen=True)
class Scattered:
    """A pattern without groups."""

    restriction: ClassVar[str] = ""
    target: ClassVar[str] = ""


class Always:
    """A schedule that sets its masks at every step."""

    moves: ClassVar[tuple[str, ...]] = ("masks",)

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float:
        return final

    def why_not(self, final: float) -> str:
        return ""

    def marks(self) -> tuple[Mark, ...]:
        return ()


@method("schedule", "shuffling")
@dataclass(frozen=True)
class Shuffling(Always):
    """A schedule that ranks single weights by a law of its own."""

    ranks: ClassVar[bool] = False
    single: ClassVar[bool] = True


@method("schedule", "cutting")
@dataclass(frozen=True)
class Cutting(Always):
    """A schedule of parts."""

    moves: ClassVar[tuple[str, ...]] = ("parts",)


@method("schedule", "rewinding")
@dataclass(frozen=True)
class Rewinding(Always):
    """A schedule that reads a kept state."""

    rewind: str = setting("healthy", type="word")

    @property
    def states(self) -> tuple[str, ...]:
        return (self.rewind,)


OWN: dict[tuple[str, str], Any] = {
    ("pattern", "scattered"): Scattered,
    **{("schedule", cls.name): cls for cls in (Shuffling, Cutting, Rewinding)},  # type: ignore[attr-defined]
}


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    names, find = catalogue.names, catalogue.find
    added = {kind: tuple(name for of, name in OWN if of == kind) for kind, _ in OWN}
    monkeypatch.setattr(catalogue, "names", lambda kind: (*names(kind), *added.get(kind, ())))
    monkeypatch.setattr(catalogue, "find", lambda kind, name: OWN.get((kind, name)) or find(kind, name))


def test_a_criterion_that_corrects_needs_a_pattern_with_groups() -> None:
    assert refused("sparsify scattered by sparsegpt(damp=0.1)") == [("RCP0413", "sparsegpt(damp=0.1)")]
    assert refused("sparsify scattered by wanda") == refused("sparsify nm 2:4 by sparsegpt(damp=0.1)") == []


def test_settings_have_a_range_and_layers_go_by_scores() -> None:
    assert refused("sparsify nm 2:4 by sparsegpt(damp=0)") == [("RCP0303", "0")]
    assert refused("sparsify nm 2:4 by sparsegpt(block=0)") == [("RCP0303", "0")]
    assert refused("prune 2 layers by sparsegpt(block=64)") == refused("prune 2 layers by wanda") == []


def test_a_pattern_that_no_hardware_asks_for_gives_no_recovered() -> None:
    teachers = "\ndistill from healthy, recovered"
    assert [code for code, _ in refused("sparsify scattered by magnitude" + teachers)] == ["RCP0501"]
    assert refused("sparsify nm 2:4" + teachers) == []


def test_a_schedule_says_what_it_moves_and_whether_it_ranks() -> None:
    over = "sparsify weights to 90% over shuffling for 3 epochs"
    assert refused(over) == []
    assert refused(over.replace("over", "by magnitude over")) == [("RCP0447", "by")]
    assert refused(f"{over} on train(samples=64)") == [("RCP0447", "on")]
    assert refused(over.replace("weights", "kernels")) == [("RCP0447", "shuffling")]
    assert refused(over.replace("weights to 90%", "nm 2:4")) == [("RCP0432", "shuffling")]
    assert refused(over.replace("shuffling", "cutting")) == [("RCP0432", "cutting")]
    assert refused(over.replace("shuffling", "agp").replace("over", "by taylor over")) == []


def test_a_schedule_of_a_kept_state_needs_it() -> None:
    over = "sparsify weights to 90% over rewinding(rewind=early) for 3 epochs"
    assert refused(over) == [("RCP0205", "early")]
    kept = f"train for 1 epochs\nkeep as early\n{over}"
    assert refused(kept) == []
    plan = check(parse(kept))
    assert not plan.warnings, "the state is used"
    step = next(step for step in steps_of(plan.nodes) if step.operation.verb == "sparsify")
    assert step.operation.needs().states == ("early",)
    assert refused(over.replace("(rewind=early)", "")) == []
    recovered = over.replace("early", "recovered")
    assert refused(recovered) == [("RCP0501", "recovered")]
    assert refused(f'sparsify nm 2:4 in "layer1.*"\n{recovered} except "layer1.*"') == []


def test_from_scratch_needs_a_schedule_and_has_the_optimizer_of_a_training_from_scratch() -> None:
    over = "sparsify weights to 90% over shuffling for 3 epochs from scratch"
    assert refused(over) == []
    plan = check(parse(f"model resnet20\ndata digits\n{over}"))
    assert not plan.warnings, "the weights before it do not matter"
    operation: Any = next(step.operation for step in steps_of(plan.nodes) if step.operation.verb == "sparsify")
    assert operation.scratch and operation.training.optimizer.lr.start == 0.1
    assert refused("sparsify weights to 90% from scratch") == [("RCP0431", "scratch")]
    assert refused(over.replace("scratch", "healthy")) == [("RCP0301", "healthy")]

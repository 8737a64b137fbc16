"""Learning rates and weight decays of some layers: what is noted in a training, resumed from a checkpoint, refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Plan, Selector, Training
from recipelang.run.options import Options
from recipelang.run.planning import make
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training import loop
from recipelang.training.loop import fit

TASK: Any = Classification()
HEAD = (Selector("glob", "7"),)


@dataclass(frozen=True)
class Noting(Companion):
    """Notes learning rate and weight decay of every parameter before each update; NaN for none."""

    seen: list[dict[str, tuple[float, float]]] = field(default_factory=list, metadata={"key": False})

    def before_update(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        names = {id(p): name for name, p in network.module.named_parameters()}
        now = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                now[names[id(p)]] = float(group["lr"]), float(group.get("weight_decay", math.nan))
        self.seen.append(now)

    @property
    def learning_rates(self) -> list[dict[str, float]]:
        """The learning rates alone, update by update."""
        return [{name: rate for name, (rate, _) in now.items()} for now in self.seen]


def require_same_weights(found: nn.Module, wanted: nn.Module) -> None:
    """Require that two trainings gave the same state, up to rounding."""
    for mine, other in zip(found.state_dict().values(), wanted.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def require_resumed_alike(
    network: Network,
    data: ImageDataset,
    silent: Any,
    training: Training,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Require that a training killed in its third step and resumed gives what the whole one gives, to the bit."""
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    how: Any = {"task": TASK, "seed": 4}
    whole, _ = fit(network, data, training, progress=silent(), **how)
    with pytest.raises(Killed):
        fit(network, data, training, progress=silent(kill_after(3)), checkpoint=checkpoint, **how)
    again, record = fit(network, data, training, progress=silent(), checkpoint=checkpoint, **how)
    assert record.resumed_at == 2
    assert all(torch.equal(a, b) for a, b in zip(again.tensors().values(), whole.tensors().values(), strict=True))


def planned(text: str, tmp_path: Path) -> Any:
    """What `recipe plan` makes of a recipe."""
    return make(check(parse(text)), Options(store=tmp_path / "store"), timed=False)


def refused(call: Callable[[], Any]) -> list[str]:
    """The codes of what is refused."""
    with pytest.raises(RecipeError) as caught:
        call()
    return [one.code for one in caught.value.diagnostics]


def written_again(plan: Plan) -> str:
    """The companions of the last step, as they are written."""
    companions = plan.nodes[-1].operation.training.companions  # type: ignore[union-attr]
    return ", ".join(map(catalogue.spell, companions))

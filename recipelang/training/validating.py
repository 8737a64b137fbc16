"""How a network in training does on samples of the validation split, for about a twentieth of the training's time.

What is trained is not touched: random numbers, statistics and modes are afterwards as they were, so that a training
ends with the same bytes whether it validates or not. The samples are the same at each point of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from recipelang.errors import Refusal
from recipelang.images.batches import count, moved
from recipelang.kinds import Companion, Dataset, Task
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.layout import wants_channels_last
from recipelang.surgery.network import Restrictions
from recipelang.surgery.simulated import simulated
from recipelang.surgery.tracing import evaluating
from recipelang.training.quantized import Instead

#: samples that are validated for each that is trained with; forward is a third of a step, so this is a twentieth
SHARE = 0.15
#: with fewer samples a score says little; where an epoch is too short for them, several pass between two points
FEWEST = 64


@dataclass(frozen=True)
class Validating:
    """How a training validates.

    Attributes:
        data: its `val` split is used, without augmentation.
        task: its loss and its score.
        device: of the module.
        seed: draws the samples.
        samples: how many at each point.
        every: epochs between two points; the last step is always one.
        elements: of inputs, after which no further batch is begun: they may be larger than those of training.
        why_not: why there is no validation; "" where there is.
    """

    data: Dataset
    task: Task
    device: str = "cpu"
    seed: int = 0
    samples: int = 0
    every: int = 1
    elements: float = math.inf
    why_not: str = ""

    def due(self, step: int, per_epoch: int, total: int) -> bool:
        """Whether the network is looked at after so many steps."""
        return not self.why_not and (step == total or (step % (per_epoch * self.every) == 0))

    def point(
        self, module: nn.Module, parts: nn.Module, restrictions: Restrictions, instead: Instead
    ) -> Mapping[str, Any]:
        """What a point of a history says of the network: `validation`, as `report.curves.Validation` has it, or
        `unvalidated`, why its output on these samples is not an answer of the task.

        Args:
            module: in training; unchanged afterwards.
            parts: states of companions and quantizers; unchanged afterwards.
            restrictions, instead: what it computes with.
        """
        try:
            return {"validation": self._looked(module, parts, restrictions, instead)}
        except Refusal as refusal:
            return {"unvalidated": refusal.message}

    def _looked(
        self, module: nn.Module, parts: nn.Module, restrictions: Restrictions, instead: Instead
    ) -> Mapping[str, Any]:
        """Loss and score of the network as it is now."""
        loss, right, name, seen, elements = 0.0, 0.0, "", 0, 0
        last = wants_channels_last(module)
        with _untouched(module, parts), random_numbers(device=torch.device(self.device)), evaluating(module):
            for inputs, targets in self.data.batches("val", samples=self.samples, seed=self.seed):
                given = moved(inputs, self.device, channels_last=last)
                goal = moved(targets, self.device)
                with simulated(module, restrictions, instead):
                    answer = self.task.answer(module(given), goal, self.data.labels)
                here = count(goal)
                loss += float(self.task.loss(answer, goal)) * here
                if scored := self.task.score(answer, goal):
                    name, right = scored[0], right + float(scored[1])
                seen += here
                elements += sum(leaf.numel() for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
                if elements >= self.elements:
                    break
        found: dict[str, Any] = {"loss": loss / seen if math.isfinite(loss) else None, "n": seen}
        if name:
            found |= {"score": right / seen, "name": name, "better": getattr(self.task, "score_better", "higher")}
        return found


def validating(
    data: Dataset, task: Task, companions: Sequence[Companion], epoch: int, device: str, seed: int
) -> Validating:
    """How a training validates, or why it does not.

    Args:
        companions: of the training; one that judges asks for the whole split after every epoch.
        epoch: training samples of an epoch.
        device, seed: of the training.
    """
    drawn = [one for one in companions if type(one).computing is not Companion.computing]
    if drawn:
        why = f"`{drawn[0].name}` decides in each step which parts compute; the network that it leaves comes at the end"  # type: ignore[attr-defined]
        return Validating(data, task, why_not=why)
    try:
        size = data.size("val")
    except Refusal:
        size = 0
    if not size:
        return Validating(data, task, why_not=f"the data `{data.name}` has no validation split")
    if any(one.judges for one in companions):
        return Validating(data, task, samples=size, device=device, seed=seed)
    samples = min(size, max(FEWEST, int(SHARE * epoch)))
    every = math.ceil(samples / max(1.0, SHARE * epoch))
    elements = every * SHARE * epoch * math.prod(data.input_shape)
    return Validating(data, task, samples=samples, every=every, elements=elements, device=device, seed=seed)


def require_validation(how: Validating | None, companions: Sequence[Companion]) -> None:
    """Refuse a companion that judges, where a training does not validate.

    Raises:
        Refusal: RCP0827.
    """
    judge = next((one for one in companions if one.judges), None)
    if judge is not None and how is not None and how.why_not:
        message = f"`{judge.name}` needs a validation split: {how.why_not}"  # type: ignore[attr-defined]
        raise Refusal("RCP0827", message, f"leave `{judge.name}` out")  # type: ignore[attr-defined]


def unvalidated(how: Validating | None, history: Sequence[Mapping[str, Any]]) -> str:
    """Why a training that was asked to validate did not; "" where it did."""
    if how is None or any("validation" in row for row in history):
        return ""
    return how.why_not or next((str(row["unvalidated"]) for row in history if "unvalidated" in row), "")


@contextmanager
def _untouched(*modules: nn.Module) -> Iterator[None]:
    """Afterwards, all buffers hold what they held: a network may count its calls, a quantizer keep an average."""
    held = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in held:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)

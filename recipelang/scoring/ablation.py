"""A network without some of its parts: what it loses, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from recipelang.images.batches import count
from recipelang.kinds import Ablation, Batch, Edit, Gone, Task
from recipelang.kinds.data import Labels
from recipelang.surgery.edits import neutralised


def ablations(
    running: nn.Module,
    module: nn.Module,
    cases: Iterable[Gone],
    edits: Callable[[Gone], Sequence[Edit]],
    batches: Callable[[str], Iterable[Batch]],
    task: Task,
    labels: Labels | None,
) -> Iterator[Ablation]:
    """The loss and the score of the network without the parts of each case, one pass each.

    Args:
        running: computes as the network does; a wrapper of `module`, or `module` itself, in evaluation mode.
        module: in which the parts are neutralised; as it was, after each case.
        cases: group → the numbers of the parts; none is the whole network.
        edits: that remove the parts of a case.
        batches: of the split; the string says what the pass is for.
        task: whose loss and score.
        labels: of the data.
    """
    for case in cases:
        with ExitStack() as stack:
            for edit in edits(case) if any(len(parts) for parts in case.values()) else ():
                stack.enter_context(neutralised(edit, module))
            stack.enter_context(torch.no_grad())
            found = measured_on(running, batches(f"leaving out {_words(case)}"), task, labels)
        yield found


def measured_on(running: nn.Module, batches: Iterable[Batch], task: Task, labels: Labels | None) -> Ablation:
    """The loss and the score of a network, means over all samples of some batches."""
    losses: list[float] = []
    scores: list[float] = []
    sizes: list[int] = []
    for inputs, targets in batches:
        answer: Any = task.answer(running(inputs), targets, labels)
        size = count(inputs)
        losses.append(float(task.loss(answer, targets)) * size)
        if (shown := task.score(answer, targets)) is not None:
            scores.append(float(shown[1]) * (-1 if getattr(task, "score_better", "higher") == "lower" else 1))
        sizes.append(size)
    total = sum(sizes)
    return Ablation(sum(losses) / total, sum(scores) / total if len(scores) == len(sizes) else None)


def _words(case: Gone) -> str:
    names = [f"`{name}`" for name, parts in case.items() if len(parts)]
    return ", ".join(names[:2]) + (" and more" if len(names) > 2 else "") if names else "nothing"

"""Metrics of a network's answers, taken together in one pass over a split."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.images.batches import count, moved
from recipelang.kinds import Dataset, Measurement, PredictionMetric, Progress, Task


def take(
    metrics: Sequence[PredictionMetric],
    module: nn.Module,
    data: Dataset,
    split: str,
    *,
    task: Task,
    device: str = "cpu",
    samples: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Measurement | Refusal]:
    """Every metric of the network on a split: evaluation mode, float32, no gradients, a batch in memory at a time.

    Args:
        metrics: of the task. A metric that refuses does not stop the others.
        module: is not changed, in any mode and on any device.
        split: `train`, `val` or `test`; not augmented.
        samples: maximum number of samples, drawn with `seed`.
        progress: one part per sample.

    Returns:
        for each metric its measurement, or why it refuses.

    Raises:
        Refusal: the network's outputs are not answers of the task.
    """
    ready = module if _is_ready(module, device) else copy.deepcopy(module).to(device).eval()
    states = [metric.start(task) for metric in metrics]
    refused: dict[int, Refusal] = {}
    if progress:
        progress.start(f"predicting {split}", min(samples or data.size(split), data.size(split)))
    try:
        with torch.no_grad():
            for inputs, targets in data.batches(split, samples=samples, seed=seed):
                goal = moved(targets, device)
                answer = task.answer(ready(moved(inputs, device)), goal, data.labels)
                for index, metric in enumerate(metrics):
                    if index not in refused:
                        try:
                            states[index] = metric.add(states[index], answer, goal)
                        except Refusal as refusal:
                            refused[index] = refusal
                if progress:
                    progress.advance(count(targets))
    finally:
        if progress:
            progress.stop()
    return [refused.get(i) or _result(metric, states[i]) for i, metric in enumerate(metrics)]


def _result(metric: PredictionMetric, state: object) -> Measurement | Refusal:
    try:
        return metric.result(state)
    except Refusal as refusal:
        return refusal


def _is_ready(module: nn.Module, device: str) -> bool:
    """Whether the module can be used as it is: in evaluation mode, on the device."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    here = all(t.device.type == torch.device(device).type for t in tensors)
    return here and not any(m.training for m in module.modules())

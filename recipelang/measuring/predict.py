"""The outputs of a network, from which metrics are computed."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn

from recipelang.kinds import Dataset, Progress


def predict(
    module: nn.Module,
    data: Dataset,
    split: str,
    *,
    device: str = "cpu",
    samples: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """The outputs for every image of a split, in order: evaluation mode, float32, no gradients.

    Args:
        module: is not changed, in any mode and on any device.
        split: `train`, `val` or `test`; not augmented.
        samples: maximum number of images, drawn with `seed`.
        progress: one part per image.

    Returns:
        outputs float32 N×C and labels int64 N, on the CPU.
    """
    ready = module if _is_ready(module, device) else copy.deepcopy(module).to(device).eval()
    total = min(samples or data.size(split), data.size(split))
    outputs, labels = [], []
    if progress:
        progress.start(f"predicting {split}", total)
    with torch.no_grad():
        for images, truth in data.batches(split, samples=samples, seed=seed):
            outputs.append(ready(images.to(device)).float().cpu())
            labels.append(truth)
            if progress:
                progress.advance(len(truth))
    if progress:
        progress.stop()
    return torch.cat(outputs), torch.cat(labels)


def _is_ready(module: nn.Module, device: str) -> bool:
    """Whether the module can be used as it is: in evaluation mode, on the device."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    here = all(t.device.type == torch.device(device).type for t in tensors)
    return here and not any(m.training for m in module.modules())

"""What tasks share whose answers are one score for each class or label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Labels


def scores(raw: Any, targets: Any, labels: Labels | None, one: str, several: str, network: str) -> Tensor:
    """Scores B×C in float32.

    Args:
        raw, targets, labels: as of `kinds.Task.answer`.
        one, several: what a score is for, in words.
        network: what is called for, in words.

    Raises:
        Refusal: RCP0812: it is not one score for each, the data has another number of them, or targets are for another
            number of samples.
    """
    fits = isinstance(raw, torch.Tensor) and raw.ndim == 2 and raw.is_floating_point()
    if not fits or (labels is not None and raw.shape[1] != len(labels.names)):
        raise _misfit(raw, labels, one, several, network)
    if targets is not None and len(raw) != len(targets):
        raise _misfit(raw, labels, one, several, network)
    found: Tensor = raw.float()
    return found


def _misfit(raw: Any, labels: Labels | None, one: str, several: str, network: str) -> Refusal:
    from recipelang.surgery.answers import describe

    if labels is None:
        message = f"the network's answer is {describe(raw)}, not one score per {one}"
        return Refusal("RCP0812", message, f"use a {network} network, whose output has shape B×C")
    count = len(labels.names)
    shape = "×".join(map(str, raw.shape[1:])) if isinstance(raw, torch.Tensor) else describe(raw)
    return Refusal(
        "RCP0812",
        f"the network gives {shape} outputs per image, and the data has {count} {several}",
        f"build the network for this data, for example with `classes={count}`",
    )

"""What outputs are worth: correct predictions and losses, sample by sample."""

from __future__ import annotations

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.measuring.intervals import normal_mean, wilson


def check_predictions(outputs: Tensor, labels: Tensor) -> None:
    """Outputs N×C must be finite, and labels (N) must be among their classes.

    Raises:
        Refusal: RCP1003: an output is NaN or infinite. RCP1004: no samples, or a label beyond the classes.
    """
    if outputs.ndim != 2 or len(outputs) != len(labels) or not len(labels):
        raise Refusal(
            "RCP1004",
            f"outputs of shape {tuple(outputs.shape)} cannot be compared with {len(labels)} labels",
            "a classifier gives one row of class scores for each sample, and the split must not be empty",
        )
    if int(labels.max()) >= outputs.shape[1] or int(labels.min()) < 0:
        raise Refusal(
            "RCP1004",
            f"the data has labels up to {int(labels.max())}, and the network distinguishes {outputs.shape[1]} classes",
            "set the number of classes in the `model` statement, or use the data that the network was made for",
        )
    broken = int((~torch.isfinite(outputs)).any(1).sum())
    if broken:
        raise Refusal(
            "RCP1003",
            f"the network gives NaN or infinite scores for {broken} of {len(outputs)} samples",
            "its training has diverged: lower the learning rate, or start from different weights",
        )


def correct(outputs: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k highest outputs; ties go to the lower class, as with argmax.

    Args:
        outputs: N×C. labels: N.

    Returns:
        bool N.
    """
    own = outputs.gather(1, labels[:, None])
    lower = torch.arange(outputs.shape[1], device=outputs.device) < labels[:, None]
    ahead = (outputs > own) | ((outputs == own) & lower)
    return ahead.sum(1) < k


def accuracy(outputs: Tensor, labels: Tensor, k: int) -> Measurement:
    """Share of samples (a fraction of 1) whose label is among the k highest outputs, with the Wilson interval.

    Raises:
        Refusal: RCP1002: fewer than k classes. RCP1003, RCP1004: see `check_predictions`.
    """
    check_predictions(outputs, labels)
    if outputs.shape[1] < k:
        raise Refusal(
            "RCP1002",
            f"`top{k}` needs {k} classes, and the network distinguishes {outputs.shape[1]}",
            "measure `top1`",
        )
    hits = correct(outputs, labels, k)
    n, successes = len(hits), int(hits.sum())
    low, high = wilson(successes, n)
    return Measurement(successes / n, low, high, n, "Wilson", per_sample=hits.float().cpu().numpy())


def cross_entropy(outputs: Tensor, labels: Tensor) -> Measurement:
    """Mean cross-entropy in nats of outputs N×C (logits), with the normal interval.

    Raises:
        Refusal: RCP1003, RCP1004: see `check_predictions`.
    """
    check_predictions(outputs, labels)
    losses = torch.nn.functional.cross_entropy(outputs.float(), labels, reduction="none").cpu().numpy()
    low, high = normal_mean(losses)
    return Measurement(
        float(losses.mean(dtype="float64")), max(0.0, low), high, len(losses), "normal", per_sample=losses
    )

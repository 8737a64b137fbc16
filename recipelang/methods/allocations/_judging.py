"""What allocations that try share: how good a candidate is."""

from __future__ import annotations

from recipelang.errors import Refusal
from recipelang.kinds import Ablation


def badness(found: Ablation, by: str, name: str) -> float:
    """The lower, the better: the loss, or minus the score of the task.

    Args:
        by: `loss` or `score`.
        name: of the allocation, for the refusal.

    Raises:
        Refusal: RCP1061: the task has no score.
    """
    if by == "loss":
        return found.loss
    if found.score is None:
        raise Refusal(
            "RCP1061",
            f"`{name}(by=score)` needs a score of the task, and the task of this recipe has none",
            f"write `{name}(by=loss)`",
        )
    return -found.score


def shown(bad: float, by: str) -> float:
    """As reports show it: the loss or the score itself."""
    return bad if by == "loss" else -bad

"""What searches share in which an agent learns from episodes."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.kinds import Ablation, Task

#: a loss is no larger than this as an error
WORST = 10.0


def require_learning(episodes: int, warmup: int | None) -> None:
    """Refuse a warm-up that is as long as the search.

    Raises:
        SettingError: of `warmup`.
    """
    if warmup is not None and warmup >= episodes:
        message = f"{warmup} random episodes of {episodes} leave none to learn in"
        raise SettingError("warmup", message, "leave `warmup` out: a quarter of the episodes is usual")


def random_episodes(episodes: int, warmup: int | None) -> int:
    """The number of episodes of random actions: the setting `warmup`, or a quarter of all."""
    return episodes // 4 if warmup is None else warmup


def score_as_share(found: Ablation, task: Task) -> float | None:
    """The task's score where that is a share, 0…1; else None."""
    metric: Any = catalogue.find("metric", task.metrics[0])
    return found.score if metric is not None and metric.unit == "%" else None

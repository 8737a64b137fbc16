"""What a step stores beside the network, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipelang.kinds import figure, plot
from recipelang.stages.context import Outcome


def as_record(outcome: Outcome) -> dict[str, Any]:
    """What is stored of an outcome beside the network."""
    return {
        "asked": figure.stored(outcome.asked),
        "reached": figure.stored(outcome.reached),
        "note": outcome.note,
        "edits": list(outcome.edits),
        "ranking": [dict(row) for row in outcome.ranking],
        "history": [dict(row) for row in outcome.history],
        **({"unvalidated": outcome.unvalidated} if outcome.unvalidated else {}),
        **({"plots": plot.stored(outcome.plots)} if outcome.plots else {}),
        "trained": [{"count": t.duration.count, "unit": t.duration.unit} for t in outcome.training],
    }


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether a step of this version wrote the record: an older version may have written something else."""
    lists = [record.get(name, []) for name in ("edits", "ranking", "history", "trained", "plots")]
    texts = [record.get("content"), record.get("note", ""), record.get("unvalidated", "")]
    try:
        for name in ("asked", "reached"):
            figure.read(record.get(name, ""))
    except TypeError:
        return False
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(record.get("cost", {}), dict)
        and all(isinstance(rows, list) for rows in lists)
        and all(isinstance(row, str) for row in lists[0])
        and all(isinstance(row, dict) for rows in lists[1:] for row in rows)
        and all(set(row) == {"count", "unit"} for row in lists[3])
    )

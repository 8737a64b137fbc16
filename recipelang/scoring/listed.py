"""The evidence that a criterion listed, and nothing else."""

from __future__ import annotations

from typing import Any, cast

from recipelang.errors import Refusal
from recipelang.kinds import Criterion, Evidence
from recipelang.kinds.evidence import NEEDED


def listed(evidence: Evidence, criterion: Criterion) -> Evidence:
    """Evidence for one criterion: asking for what it does not list in `needs` is refused (RCP1020)."""
    return cast(Evidence, _Listed(evidence, criterion))


class _Listed:
    def __init__(self, evidence: Evidence, criterion: Criterion) -> None:
        self._evidence, self._criterion = evidence, criterion

    def __getattr__(self, name: str) -> Any:
        """One kind of evidence.

        Raises:
            Refusal: RCP1020: the criterion does not list it. And as `Gathered`.
        """
        needs = getattr(self._criterion, "needs", ())
        missing = [need for need in NEEDED.get(name, ()) if need not in needs]
        if missing:
            own = getattr(self._criterion, "name", type(self._criterion).__name__)
            raise Refusal(
                "RCP1020",
                f"the criterion `{own}` uses `evidence.{name}`, and its `needs` does not contain {missing[0]!r}",
                f"add {missing[0]!r} to the `needs` of {type(self._criterion).__name__}, in its own package",
            )
        return getattr(self._evidence, name)

"""`prune filters by taylor with global`: the default for a single unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Ledger, Queue, RemovalStep


@method("allocation", "global")
@dataclass(frozen=True)
class Global:
    """One ranking of the whole network: the least important part is removed first, whichever layer it is in.

    Formula: steps in the order of the mean score of their parts; ties in the order of the network.
    Needs: scores that can be compared between layers. The card of a criterion says how it makes them comparable; where
        several units are removed, only criteria whose scores add up can be used.
    When it misleads: a criterion on another scale in every layer empties some layers down to the least width that they
        may have, and leaves others whole; compare with `uniform`.
    Source: Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NeurIPS 2015
        (thresholds by layer); one threshold for all layers: Liu et al., "Learning efficient convolutional networks
        through network slimming", ICCV 2017.
    """

    compares: ClassVar[bool] = True
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    patterns: ClassVar[bool] = True

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """All steps, the lowest score first."""
        return sorted((step for queue in queues for step in queue.steps), key=lambda step: step.score)

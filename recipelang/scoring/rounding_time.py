"""How long a step of a rounder takes, from a few steps on a few pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from recipelang.images.batches import moved
from recipelang.kinds import LAYER, Batch, Dataset, Quiet, Restriction, Task
from recipelang.scoring.rounding_parts import PartPiece
from recipelang.scoring.rounding_pieces import Division
from recipelang.scoring.rounding_rows import RowsPiece, reached
from recipelang.scoring.rounding_twins import Twins
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import on_device

#: samples that run together, as when weights are rounded
TOGETHER = 32
#: pieces that are tried, spread over the network
TRIED = 3


class _Steps(Quiet):
    """A progress that notes when each step was done."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.marks.append(time.perf_counter())


def step_seconds(
    rounder: Any,
    network: Network,
    grids: Mapping[str, Restriction],
    pieces: tuple[Division, ...],
    data: Dataset,
    task: Task,
    device: str,
) -> float:
    """Seconds of one step of a rounder that learns: the mean over pieces of the middle of the network and its ends.

    Args:
        rounder: takes few steps where a piece is `brief`.
        network: is not changed.
        grids: parameter name → the restriction that its values shall meet.
        pieces: all of them.
        data: of which one batch of the training split is seen.
        device: where it is rounded.
    """

    def batches(what: str) -> Iterator[Batch]:
        for inputs, targets in data.batches("train", batch=TOGETHER, samples=TOGETHER, seed=0):
            yield Batch(moved(inputs, device), moved(targets, device))

    names = tuple(name for piece in pieces for name in piece.names)
    twins = Twins.of(
        network, names, device, batches=batches, count=1, task=task, labels=data.labels, seed=0, brief=True
    )
    active = on_device({name: (one,) for name, one in grids.items()}, device)
    found = []
    for number in sorted({round(k * (len(pieces) - 1) / (TRIED - 1)) for k in range(TRIED)}):
        piece, steps = pieces[number], _Steps()
        mine = {name: active[name][0] for name in piece.names}
        alone = rounder.unit == LAYER and piece.names[0] in reached(twins)
        name = piece.names[0]
        made = (
            RowsPiece(twins, name, mine[name], None, number)
            if alone
            else PartPiece(twins, piece.path, mine, {}, number, piece.calls)
        )
        rounder.round(made, steps)
        found += [after - before for before, after in pairwise(steps.marks)]
    return sum(found) / len(found) if found else 0.0

"""`sensitivity(by=loss)`: each group is cut alone, and what it loses orders the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Line, Plot, Queue, RemovalStep
from recipelang.methods.allocations._judging import badness, shown


@method("allocation", "sensitivity")
@dataclass(frozen=True)
class Sensitivity:
    """Every group is cut alone, width by width, and the step that harms least comes first, whichever group it is of.

    What: a sweep over each group by itself, the others whole, says how sensitive it is: a curve for each group, which
        the report draws. A threshold on the harm, the same for all groups, is the allocation.
    Formula: harm of the first k steps of a group = loss without them − loss of the whole network (with `by=score` the
        loss of the task's score); steps in the order of the largest harm of their group up to them, so that after any
        number of them the groups are cut to the same harm. Ties in the order of the network.
    Judged on: a fifth of the training split, at most 1,000 samples, which neither ranking nor tuning uses. The
        criterion says which parts of a group go first.
    Needs: one pass over these samples for every step of every group, and one for the whole network.
    When it misleads: groups are cut one at a time, and harms of several add up to more than their sum; no training
        follows a cut, and a layer that training would repair looks as sensitive as one that it would not.
    Source: Han et al., "Learning both weights and connections for efficient neural networks", NeurIPS 2015 (figure 6);
        Li et al., "Pruning filters for efficient ConvNets", ICLR 2017 (figure 2).
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    patterns: ClassVar[bool] = True
    decides: ClassVar[bool] = False

    by: str = setting(
        "loss", type="word", choices=("loss", "score"), help="What a cut harms: the loss, or the score of the task."
    )

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """All steps, those first whose cut harms least.

        Raises:
            Refusal: RCP1061: the task has no score.
        """
        curves = self.sweep(queues, bench)
        bench.tell(plots=(self._drawn(queues, curves),))
        harms = [[harm - curve[0] for harm in curve[1:]] for curve in curves]
        ordered = [
            (least, step)
            for queue, harm in zip(queues, harms, strict=True)
            for least, step in zip(accumulate(harm, max), queue.steps, strict=True)
        ]
        return [step for _, step in sorted(ordered, key=lambda pair: pair[0])]

    def sweep(self, queues: Sequence[Queue], bench: Bench) -> list[list[float]]:
        """For each queue how bad the network is with 0, 1, … of its steps and the others whole: the lower, the better.

        Raises:
            Refusal: RCP1061: the task has no score.
        """
        none = [0] * len(queues)

        def bad(taken: list[int]) -> float:
            return float(
                bench.remember(f"{self.by} {taken}", lambda: badness(bench.score(taken), self.by, "sensitivity"))
            )

        whole = bad(none)
        bench.progress.start("cutting each group alone", sum(len(queue.steps) for queue in queues))
        curves = []
        for number, queue in enumerate(queues):
            curve = [whole]
            for count in range(1, len(queue.steps) + 1):
                curve.append(bad([*none[:number], count, *none[number + 1 :]]))
                bench.progress.advance()
            curves.append(curve)
        bench.progress.stop()
        return curves

    def _drawn(self, queues: Sequence[Queue], curves: Sequence[Sequence[float]]) -> Plot:
        lines = tuple(
            Line(
                queue.group.name,
                tuple(100 * queue.gone(count) / queue.group.size for count in range(len(curve))),
                tuple(shown(bad, self.by) for bad in curve),
            )
            for queue, curve in zip(queues, curves, strict=True)
        )
        return Plot("Each group cut alone", "% of the group removed", self.by, lines)

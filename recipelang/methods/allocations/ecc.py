"""`ecc(steps=300)`: weights and widths are trained in turn until a bilinear model of the cost meets the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Figure, Queue, RemovalStep
from recipelang.lazy import torch
from recipelang.methods.allocations._shown import course_plot, kept_plot

#: ρ_y, ρ_z for one group, and the rate of the widths, for a training of one step
WIDTH, COST, RATE = 20.0, 5.0, 2.0


@method("allocation", "ecc")
@dataclass(frozen=True)
class Ecc:
    """Training under a constraint: weights become zero and widths shrink in turn, at prices that rise with the excess.

    What: `samples` networks of random widths are measured, and a model of the cost that is bilinear in the widths is
        fitted to them. A copy of the network is trained; after every update parts whose weights are worth less than
        their price become zero, until the model says that the budget is met. What was zeroed then is removed, and what
        was trained stays.
    Formula: cost(u) = a + Σ b_j·u_j + Σ a_ij·u_i·u_j, u_j the share of group j that may stay, i and j two groups on
        different axes of one parameter; least squares, the smallest of several solutions. Minimised is the loss such
        that φ_j(W) ≤ u_j and cost(u) ≤ bound, φ_j the share of parts that are not zero, by alternating steps on the
        augmented Lagrangian: weights (optimizer, then the number of steps k of each queue that minimises
        norm lost + y_j·φ(k) + ρ_y/2·[φ(k) − u_j]₊²), widths (gradient descent), multipliers y and z (ascent by what
        is violated, not below zero). The factors are WIDTH, COST and RATE of the source code, times `pace`, over the
        number of steps; those of a group in proportion to its price, so that a stream that costs most is not the only
        one to move.
    Norm: ‖w‖² of the weights that read a part, in units of the mean over groups. The criterion says which parts of a
        group go first; the paper takes those of the smallest norm (`by magnitude` is near it).
    Measured: a clock is read for each of the samples; whatever the model says, the network that is kept is measured,
        and loses more where it has to, what is least worth for what it costs first.
    Needs: `until`; groups of several parts; a training split. It trains with the optimizer of the statement.
    When it misleads: a model of few samples of a clock errs by what its note says; norms compare layers that a
        rescaling would change. The training counts: compare with a control that is trained as long.
    Source: Yang, Zhu, Liu, "ECC: platform-independent energy-constrained deep neural network compression via a
        bilinear regression model", CVPR 2019.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    tunes: ClassVar[bool] = True
    adopts: ClassVar[bool] = True
    looks: ClassVar[int] = 43

    steps: int = setting(300, type="integer", low=1, positional=True, help="Updates of the training.")
    samples: int = setting(40, type="integer", low=3, help="Networks that are measured at most for the model.")
    pace: float = setting(
        1.0, type="number", low=0, open_low=True, help="How fast prices and widths change; at 1 within the training."
    )

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps whose parts training has zeroed, and more where the measured budget needs them."""
        from recipelang.plan import Duration
        from recipelang.searching.alternating import Alternating
        from recipelang.searching.bilinear import modelled
        from recipelang.searching.blocks import blocks_of
        from recipelang.searching.settling import cheapest_first, settled

        known: dict[tuple[int, ...], float] = {}

        def read(taken: Sequence[int]) -> float:
            found = float(bench.remember(f"cost {list(taken)}", lambda: bench.measured(taken)))
            known[tuple(taken)] = found
            bench.progress.advance()
            return found

        bench.progress.start("measuring networks of random widths", self.samples)
        cost = modelled(queues, read, self.samples, torch.Generator().manual_seed(bench.seed))
        bench.progress.stop()
        cheapest = min(known, key=known.__getitem__)  # on a clock it need not be the one with the fewest parts
        if known[cheapest] > 1:
            return bench.steps(cheapest)
        found: dict[str, Any] = {}
        alternating = Alternating(
            tuple(blocks_of(bench.whole.module, queue, ("reads",), ("makes", "scales", "shifts")) for queue in queues),
            tuple(tuple(tuple(step.parts) for step in queue.steps) for queue in queues),
            cost,
            self._factors(cost, len(queues)),
            found,
        )
        none = [0] * len(queues)
        trained = bench.tuned(none, Duration(self.steps, "steps"), companions=(alternating,), key="ecc")
        bench.adopt(trained, none)
        taken = settled(queues, bench, [found["steps"]], cheapest_first(queues, found["steps"], found["norms"], cost))
        if not bench.met(taken):
            taken = list(cheapest)
        bench.tell(
            figures=(Figure("error of the cost model", cost.error, "%"),),
            plots=(course_plot("The cost during training", "update", "cost / budget", model=found["costs"]),)
            + (kept_plot(queues, taken),),
        )
        return bench.steps(taken)

    def _factors(self, cost: Any, groups: int) -> Any:
        from recipelang.searching.admm import factors

        each = self.pace / self.steps
        prices = cost.slope(torch.ones(groups, dtype=torch.float64))
        return factors(WIDTH * each, COST * groups * each, RATE * each, prices)

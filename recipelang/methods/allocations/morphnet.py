"""`morphnet(steps=300)`: a penalty by cost shrinks the network, and one multiplier expands it to the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Figure, Queue, RemovalStep
from recipelang.lazy import torch
from recipelang.methods.allocations._shown import course_plot, kept_plot

#: how many structures of the path are expanded and compared
STRUCTURES = 12


@method("allocation", "morphnet")
@dataclass(frozen=True)
class Morphnet:
    """A penalty that prices every part by what it costs decides the proportions, and one width multiplier the size.

    What: a copy of the network is trained under the penalty until what is left of it costs `shrink` of the budget. The
        shares that were left of each group on the way are then multiplied by one ω, the largest that meets the budget;
        of up to 12 such structures, the whole network among them, the one of the lowest loss on the held-out samples
        is taken, after BatchNorm's statistics were estimated again. The copy is discarded: what is kept are widths.
    Formula: loss + λ·G, G = Σ b_j·m_j + Σ a_ij·(m_i·A_j + A_i·m_j), m_j the mean of |γ| over group j, A_j the share of
        it that is alive; a and b are those of the cost, which is Σ b_j·A_j + Σ a_ij·A_i·A_j: for multiply-accumulates
        those of the paper's layers. G is minimised by proximal steps, whose zeros are exact, so no threshold is needed.
        λ grows with the updates: at strength 1 a part of the most expensive group is gone after 7 in 10 of them where
        no gradient holds it. So the way passes through the structures of all λ up to that, of which the paper asks for
        a suitable one.
    |γ|: of the BatchNorms that scale a part; coupled layers share parts, so the norm over all of them (group lasso).
        Where there is no BatchNorm, the norm of the weights that make the part. In units of the mean of its group.
    Widths: no group becomes wider than it is, so that ω stops to widen the one that has kept everything; the paper
        builds a wider network and trains it from scratch. A group keeps one part at least.
    Needs: `until`; groups of several parts; a training split. It trains with the optimizer of the statement.
    When it misleads: the price of a part is that of a model of the budget; on a clock it is what tables of single
        groups say. Within half a training scales tell little of what a network would learn without these parts.
    Source: Gordon, Eban, Nachum, Chen, Wu, Yang, Choi, "MorphNet: fast & simple resource-constrained structure
        learning of deep networks", CVPR 2018, algorithm 1 without its repetition.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    tunes: ClassVar[bool] = True
    looks: ClassVar[int] = 40

    steps: int = setting(300, type="integer", low=1, positional=True, help="Updates of the training.")
    strength: float = setting(1.0, type="number", low=0, open_low=True, help="Of the penalty; see the formula.")
    shrink: float = setting(
        0.8, type="number", low=0.01, high=1, help="The part of the budget that is left when shrinking ends."
    )

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps that leave the widest multiple of what the penalty left."""
        from recipelang.plan import Duration
        from recipelang.searching.bilinear import everything, modelled, wanted
        from recipelang.searching.blocks import blocks_of
        from recipelang.searching.morphing import some, widest
        from recipelang.searching.settling import settled, widest_first
        from recipelang.searching.shrinking import Shrinking

        if bench.cost(everything(queues)) > 1:
            return bench.steps(everything(queues))

        def read(taken: Sequence[int]) -> float:
            return float(bench.remember(f"cost {list(taken)}", lambda: bench.cost(taken)))

        cost = modelled(queues, read, wanted(queues), torch.Generator().manual_seed(bench.seed))
        found: dict[str, Any] = {}
        blocks = tuple(blocks_of(bench.whole.module, queue, ("scales",), ("makes",)) for queue in queues)
        shrinking = Shrinking(blocks, cost, self.shrink, self.strength, found)
        bench.tuned([0] * len(queues), Duration(self.steps, "steps"), companions=(shrinking,), key="morphnet")
        widths = [[queue.group.size - queue.gone(k) for k in range(len(queue.steps) + 1)] for queue in queues]
        path = some([(1.0,) * len(queues), *map(tuple, found["path"])], STRUCTURES)
        factors, proposals = zip(
            *(widest(alive, widths, lambda steps: read(steps) <= 1) for alive in path), strict=True
        )

        def loss(number: int) -> float:
            taken = proposals[number]
            return float(bench.remember(f"loss {taken}", lambda: bench.score(taken, recalibrated=True).loss))

        best = min(range(len(path)), key=loss)
        taken = settled(queues, bench, [proposals[best]], widest_first(queues, proposals[best]))
        bench.tell(
            figures=(Figure("width multiplier", factors[best]),),
            plots=(course_plot("The cost of what is alive", "update", "cost / budget", model=found["costs"]),)
            + (kept_plot(queues, taken),),
        )
        return bench.steps(taken)

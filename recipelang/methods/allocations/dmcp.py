"""`prune filters by magnitude with dmcp until flops < 0.5`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Bench, Queue, RemovalStep


@method("allocation", "dmcp")
@dataclass(frozen=True)
class DMCP:
    """Each group has a Markov chain of widths, and gradients of the loss and of the expected cost train the chains.

    Formula: a group's parts are in bins, the most important first. Bin k is kept with p_k = σ(α_k) if bin k − 1 is, so
        P(k kept) = Π_{i ≤ k} p_i. The first bin that cannot be removed is always kept.
    Cost: E = Σ over widths of P(width) · cost, exact for costs that are sums of products of widths of different groups
        (FLOPs, parameters); costs of clocks come from the tables of the groups. 1 is the budget's bound.
    Weights: the sandwich rule: the whole network learns the task; the smallest one and `random` ones drawn from the
        chains learn the whole one's answer.
    Chains: after `warmup` steps, every step of the weights is followed by one of α, with Adam, on held-out training
        samples. Loss: the task's, with each part multiplied by P(it is kept) where it is read, + weight · R; R is
        log(1 − E) for E < 0.95, 0 up to 1, log(E − 0.95) above.
    Widths: `expected`: Σ P(k kept) of each group, rounded; then the bin least likely to be kept goes until the budget
        holds, and the likeliest ones come back as far as it allows. `sampled`: of `draws` networks drawn from the
        chains, each brought to the budget in the same way, the one with the lowest loss on the held-out samples, with
        BatchNorm's statistics estimated again.
    Needs: an `until`; `steps` of 3 + `random` passes; costs of each group at each width and of neighbours together.
    Result: the widths. The network keeps the weights that it had, cut in the criterion's order; train it afterwards.
    When it misleads: multiplied by their probabilities, parts still compute, and a norm or the next weight can make up
        for the factor; with few steps the chains stay near where they start, at equal probability of all widths.
    Source: Guo, Wang, Li, Yan, "DMCP: Differentiable Markov channel pruning for neural networks", CVPR 2020; the
        piecewise logarithm as in the authors' code.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    tunes: ClassVar[bool] = True
    looks: ClassVar[int] = 40
    units: ClassVar[tuple[str, ...]] = ("filters", "neurons", "heads")

    steps: int = setting(400, type="integer", low=2, positional=True, help="Steps of the training of the weights.")
    warmup: int | None = setting(
        None, type="integer", low=0, help="Of these, steps before the first of the chains; by default three eighths."
    )
    bins: int = setting(10, type="integer", low=1, help="Most bins of a group.")
    random: int = setting(2, type="integer", low=0, high=16, help="Networks drawn from the chains at every step.")
    rate: float = setting(0.05, type="number", low=0, help="Learning rate of the chains.")
    weight: float = setting(0.1, type="number", low=0, help="Weight of the distance of the expected cost.")
    widths: str = setting("expected", type="word", choices=("expected", "sampled"), help="How widths follow.")
    draws: int = setting(20, type="integer", low=1, help="How many networks `sampled` judges.")

    def __post_init__(self) -> None:
        if self.warmup is not None and self.warmup >= self.steps:
            message = f"{self.warmup} steps of {self.steps} before the chains leave none to train them"
            raise SettingError("warmup", message, "leave `warmup` out: three eighths of the steps is usual")

    @property
    def start(self) -> int:
        """The step of the weights after which the chains are trained."""
        return 3 * self.steps // 8 if self.warmup is None else self.warmup

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps of the widths that the chains end with, within the budget; all of them where there are none."""
        from recipelang.supernets.chaining import learned
        from recipelang.supernets.searching import fits, meeting, told
        from recipelang.supernets.shared import shared

        weights = shared(queues, bench)
        if not fits(bench, weights.most):
            return bench.steps(weights.most)
        found = learned(self, weights, bench)
        candidates = found.sampled(self.draws) if self.widths == "sampled" else [found.expected()]
        chosen = meeting(bench, candidates, weights.most)
        bench.tell(**told(queues, bench, [chosen], found.judge, found.plots))
        return bench.steps(chosen)

"""`prune filters by magnitude with autoslim until flops < 0.5`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Queue, RemovalStep


@method("allocation", "autoslim")
@dataclass(frozen=True)
class AutoSlim:
    """Networks of all widths are trained as one, and the group that hurts this one least loses parts.

    Training: a copy of the network, by the sandwich rule: at every step the whole network learns the task, and the
        smallest one and `random` ones of random widths learn the whole one's answer (in-place distillation). All share
        the weights; of every group the most important parts of the criterion's ranking compute.
    Slimming: from the whole network on, every group is tried with its next parts gone; the one with the lowest loss on
        training samples that were held out loses them. Ends where the budget holds. BatchNorm's statistics are
        estimated again for every network that is judged.
    Needs: an `until`; `steps` of training with the statement's optimizer, 2 + `random` passes each, and one judgement
        for each group at each step of slimming.
    Result: the widths. The network keeps the weights that it had, cut in the criterion's order; train it afterwards.
    When it misleads: widths are ranked by shared weights, which are trained for all of them and fit none; greedy steps
        do not see that two groups can replace each other. With few `steps`, narrow networks are judged by chance.
    Source: Yu, Huang, "AutoSlim: towards one-shot architecture search for channel numbers", arXiv:1903.11728, 2019;
        sandwich rule and in-place distillation: Yu, Huang, "Universally slimmable networks and improved training
        techniques", ICCV 2019. There slimming looks at the error, here at the loss, which every task has.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    tunes: ClassVar[bool] = True
    looks: ClassVar[int] = 40
    units: ClassVar[tuple[str, ...]] = ("filters", "neurons", "heads")

    steps: int = setting(300, type="integer", low=1, positional=True, help="Steps of the training of all widths.")
    random: int = setting(2, type="integer", low=0, high=16, help="Networks of random widths at every step of it.")
    stages: int = setting(5, type="integer", low=1, help="In how many steps of slimming a group loses all that it can.")

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps of the widths at which the budget holds; all of them where it never does."""
        from recipelang.supernets.greedy import slimmed
        from recipelang.supernets.sandwich import Sandwich, named
        from recipelang.supernets.searching import Judge, fits, told
        from recipelang.supernets.shared import shared

        weights = shared(queues, bench)
        if not fits(bench, weights.most):
            return bench.steps(weights.most)
        beside = Sandwich(
            groups=named(weights),
            random=self.random,
            seed=bench.seed,
            weights=weights,
            task=bench.task,
            labels=bench.data.labels,
        )
        judge = Judge.trained(bench, self.steps, (beside,))
        stride = [-(-most // self.stages) for most in weights.most]
        path = list(
            slimmed(
                weights.most,
                stride,
                lambda taken: fits(bench, taken) and bench.met(taken),
                lambda options: min(range(len(options)), key=lambda k: judge.loss(options[k])),
            )
        )
        bench.tell(**told(queues, bench, path, judge))
        return bench.steps(path[-1])

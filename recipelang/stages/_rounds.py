"""`sparsify … over 3 rounds`, `… over lottery(…)`: masks are set in rounds, with a training after each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import torch
from torch import Tensor

from recipelang.budgets.tally import agreement
from recipelang.kinds import Figure
from recipelang.plan import Training
from recipelang.scoring.dividing import Dividing
from recipelang.scoring.ranking import rank_correlation
from recipelang.stages.context import Context, Outcome, nth_seed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.rewinding import require_same, rewound
from recipelang.training.history import FitRecord, together
from recipelang.training.loop import fit
from recipelang.training.rounds import share
from recipelang.units import show

#: gives a network's weights their scores, by name
Score = Callable[[Network], Mapping[str, Tensor]]


def in_rounds(
    context: Context,
    training: Training,
    pattern: Any,
    names: Sequence[str],
    score: Score,
    dividing: Dividing | None = None,
) -> Outcome:
    """Rank what stays, mask the lowest, go back to the schedule's state if it has one, and train, in each round.

    A round ends with its file `round-N`, from which a run that was killed goes on.

    Args:
        context: its network is ranked in the first round.
        training: of all rounds; its course has the schedule.
        pattern: divides a weight into pieces; `pattern.at(share)` is the pattern with another share of zeros.
        names: of the weights.
        score: asked once a round; what is masked stays masked, whatever its score.
        dividing: a round's target among the weights; None: each has the target.

    Returns:
        the outcome with the last round's network, and the trainings of all.

    Raises:
        Refusal: RCP0791: the state has another architecture.
    """
    assert training.course
    schedule: Any = training.course.schedule
    state = context.state(schedule.rewind) if hasattr(schedule, "rewind") else None
    if state is not None:
        require_same(context.network, state, schedule.rewind)
    network = context.network
    keep = {name: _kept(network, name) for name in names}
    parts, records, zeros, ranked = list[Training](), list[FitRecord](), list[str](), _Ranked()
    for turn in range(1, schedule.rounds + 1):
        target, found = schedule.after(training.course.target, turn), score(network)
        ranked.add(found, keep)
        masks = _masks(pattern, found, keep, target, dividing)
        keep = {name: mask.keep for name, mask in masks.items()}
        masked = restrict(network, masks)
        zeros.append(show(1 - _count(keep) / sum(map(Tensor.numel, keep.values())), "%"))
        parts.append(replace(share(training, turn, schedule.rounds), course=None))
        network, record = fit(
            rewound(masked, state) if state is not None else masked,
            context.data,
            parts[-1],
            seed=nth_seed(context.seed, turn - 1),
            checkpoint=context.folder / f"round-{turn}",
            validate=True,
            **context.working,
        )
        records.append(record)
    done = together(records)
    note = f"{schedule.name}: {', '.join(zeros)} zeros"
    note += f", each round from `{schedule.rewind}`" if state is not None else ""
    single = getattr(pattern, "piece", "weight") == "weight"
    reached = (*(ranked.agreement(keep) if single else ()), *done.figures)
    return Outcome(
        network,
        reached=reached,
        note=note,
        history=done.history,
        unvalidated=done.unvalidated,
        training=tuple(parts),
    )


def _masks(
    pattern: Any, found: Mapping[str, Tensor], keep: Mapping[str, Tensor], target: float, dividing: Dividing | None
) -> dict[str, Mask]:
    """The masks of a round: of what has stayed until then, the lowest scores are masked."""
    scores = {name: found[name].cpu().masked_fill(~kept, -torch.inf) for name, kept in keep.items()}
    shares = dividing.at(pattern, scores, target) if dividing else dict.fromkeys(keep, target)
    here = {name: pattern.at(shares[name]) for name in keep}
    return {name: Mask(str(here[name]), kept & here[name].mask(scores[name])) for name, kept in keep.items()}


@dataclass
class _Ranked:
    """The scores of single weights in the first round, and those with which each left or stays."""

    rounds: int = 0
    once: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def add(self, scores: Mapping[str, Tensor], keep: Mapping[str, Tensor]) -> None:
        """Add a round: the scores that it ranks by, and which weights have stayed until then."""
        self.rounds += 1
        for name, kept in keep.items():
            score = scores[name].detach().double().cpu()
            before, score_before = self.last.get(name, (torch.zeros_like(score), score))
            self.once.setdefault(name, score)
            self.last[name] = torch.where(kept, float(self.rounds), before), torch.where(kept, score, score_before)

    def agreement(self, keep: Mapping[str, Tensor]) -> tuple[Figure, ...]:
        """Spearman's rank correlation, within each weight, of the first ranking with the order in which elements were
        masked: by round, and by score within a round; what stays comes last.

        Args:
            keep: which elements stay at the end.
        """
        if self.rounds < 2:
            return ()
        pairs = []
        for name, (turn, score) in self.last.items():
            keys = torch.where(keep[name], torch.inf, turn).flatten(), score.flatten()
            order = torch.from_numpy(numpy.lexsort((keys[1].numpy(), keys[0].numpy())))
            place = torch.zeros(len(order), dtype=torch.float64)
            new = [torch.cat([torch.ones(1, dtype=torch.bool), key[order][1:] != key[order][:-1]]) for key in keys]
            place[order] = (new[0] | new[1]).cumsum(0).double()
            pairs.append((self.once[name], place))
        return agreement(rank_correlation(pairs))


def _count(keep: Mapping[str, Tensor]) -> int:
    return sum(int(kept.sum()) for kept in keep.values())


def _kept(network: Network, name: str) -> Tensor:
    """Which elements of a weight an earlier mask keeps; all without one."""
    mask = network.masks.get(name)
    return torch.ones_like(network.module.get_parameter(name), dtype=torch.bool) if mask is None else mask.keep.cpu()

"""`sparsify … over lottery(…)`: masks are set in rounds, and the network goes back and is trained again in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recipelang.plan import Training
from recipelang.scoring.dividing import Dividing
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
    """Rank what stays, mask the lowest, go back to the schedule's state and train, as many times as it has rounds.

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
    state = context.state(schedule.rewind)
    require_same(context.network, state, schedule.rewind)
    network = context.network
    keep = {name: _kept(network, name) for name in names}
    parts, records, zeros = list[Training](), list[FitRecord](), list[str]()
    for turn in range(1, schedule.rounds + 1):
        target, found = schedule.after(training.course.target, turn), score(network)
        scores = {name: found[name].cpu().masked_fill(~kept, -torch.inf) for name, kept in keep.items()}
        shares = dividing.at(pattern, scores, target) if dividing else dict.fromkeys(keep, target)
        here = {name: pattern.at(shares[name]) for name in keep}
        keep = {name: kept & here[name].mask(scores[name]) for name, kept in keep.items()}
        masked = restrict(network, {name: Mask(str(here[name]), kept) for name, kept in keep.items()})
        zeros.append(show(1 - _count(keep) / sum(map(Tensor.numel, keep.values())), "%"))
        parts.append(replace(share(training, turn, schedule.rounds), course=None))
        network, record = fit(
            rewound(masked, state),
            context.data,
            parts[-1],
            task=context.task,
            seed=nth_seed(context.seed, turn - 1),
            device=context.device,
            threads=context.threads,
            checkpoint=context.folder / f"round-{turn}",
            progress=context.progress,
            smoke=context.smoke,
        )
        records.append(record)
    done = together(records)
    note = f"{schedule.name}: {', '.join(zeros)} zeros, each round from `{schedule.rewind}`"
    return Outcome(network, reached=done.figures, note=note, history=done.history, training=tuple(parts))


def _count(keep: Mapping[str, Tensor]) -> int:
    return sum(int(kept.sum()) for kept in keep.values())


def _kept(network: Network, name: str) -> Tensor:
    """Which elements of a weight an earlier mask keeps; all without one."""
    mask = network.masks.get(name)
    return torch.ones_like(network.module.get_parameter(name), dtype=torch.bool) if mask is None else mask.keep.cpu()

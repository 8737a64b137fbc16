"""Remove the least important units until a budget holds, or a given number of them.

what units offer ─ rank ─ allocate ─▶ one order of steps ─ search ─▶ how many ─ remove with parity ─▶ smaller network
     ▲                                                                                                     │
     └──────────────── rounds, updates: find and rank again after a part of the training ◀─────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recipelang.budgets.bench import Told
from recipelang.budgets.conditions import assuming, relaxed
from recipelang.budgets.iterations import Iterations
from recipelang.budgets.offering import described, emptied, offered, remaining, wanted
from recipelang.budgets.search import SearchResult
from recipelang.budgets.tally import Tally
from recipelang.budgets.weighing import usual
from recipelang.errors import Refusal
from recipelang.kinds import Gone, Offer, Quiet
from recipelang.stages._pace import Weakest, pace_of, turns_of
from recipelang.stages._pruned import out_of_reach, told
from recipelang.stages._turn import Turn
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.stages.train import tune
from recipelang.surgery.network import Network
from recipelang.verbs.prune import Prune


def run(operation: Prune, context: Context) -> Outcome:
    """Prune `context.network`.

    Several units are removed together, against a budget, or one after another where each has its amount.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0911: fewer parts than asked for; RCP1007: nothing that the
            criterion can score.
        OutOfReach: RCP0904: the budget cannot be met; before any training where its computed costs tell.
    """
    if operation.criterion is None:
        assert operation.training is not None  # a companion of it decides
        return tune(context, operation.training, None)
    start, pace = context.network, pace_of(operation.training, operation.rounds, context, _weakest(operation, context))
    several = len(operation.amounts) > 1
    compares = (operation.allocation or usual()).compares
    tallies = [
        Tally(one.unit, operation.criterion.name, several=several, iterations=Iterations(compares))
        for one in operation.alone
    ]
    if operation.training is not None and (operation.rounds > 1 or operation.training.course is not None):
        _require_reach(operation, context, tallies)
    outcome, totals, said = pace.before(Outcome(start)), dict[str, int](), list[Told]()
    for turn, part in enumerate(pace.parts, 1):
        until = relaxed(operation.until, lambda r: context.read(r, start), part) if operation.until and part else None
        for step in operation.alone if operation.amounts[0].given else (operation,):
            here = [tally for tally in tallies if tally.unit in [amount.unit for amount in step.amounts]]
            label = f"{pace.called} {turn}" if len(pace.parts) > 1 else ""
            once = Turn(step, context, turn, outcome.network, until, here, said, label=label)
            try:
                network, found = once.done(part, totals)
            except Refusal as refusal:
                network, found = outcome.network, once.exhausted(refusal)
            outcome = told(outcome, operation, network, found, tallies, said)
            if not found.met and not (found.guarded and operation.until is None):
                raise out_of_reach(operation, outcome, found, tallies, context)
            if found.guarded:
                break
        outcome = pace.after(outcome, turn, last=found.guarded or turn == len(pace.parts))
        if found.guarded:
            break
    return outcome


def _require_reach(operation: Prune, context: Context, tallies: Sequence[Tally]) -> None:
    """Refuse a budget whose computed costs no removal can meet, before anything is trained for it.

    Raises:
        OutOfReach: RCP0904: they are not met without anything that may be removed.
    """
    computed = assuming(operation.until, True) if operation.until else True
    if isinstance(computed, bool):
        return
    far = _furthest(operation, context.network, [offered(one, context.network) for one in operation.alone])
    verdict = context.judge(computed, far, True)
    if not verdict.holds:
        asked, found = replace(operation, until=computed), SearchResult(0, verdict, False)
        raise out_of_reach(asked, Outcome(far), found, tallies, context)


def _weakest(operation: Prune, context: Context) -> Weakest:
    """What a network in training would lose at this step: a guard is judged at the end, and widths do not change."""

    def weakest(network: Network, step: int) -> Sequence[tuple[Offer, Gone]]:
        found: list[tuple[Offer, Gone]] = []
        for one in operation.alone if operation.amounts[0].given else (operation,):
            tallies = [Tally(each.unit, operation.criterion.name) for each in one.alone]
            offers = [offered(each, context.network) for each in one.alone]
            alone, quiet = replace(one, guard=None), replace(context, progress=Quiet())
            found += Turn(alone, quiet, step, network, one.until, tallies, offers=offers).weakest()
        return found

    return weakest


def foresee(operation: Prune, network: Network, known: Known) -> Foresight:
    """What a statement may remove, and the network without any of it: the limit of what it can reach.

    Raises:
        Refusal: RCP0910: nothing; RCP0911: less than asked for.
    """
    if operation.criterion is None:
        return Foresight()  # its companion says what it may remove
    offers = [offered(one, network) for one in operation.alone]
    for one, offer in zip(operation.alone, offers, strict=True):
        wanted(one, offer)
    words = (line for one, offer in zip(operation.alone, offers, strict=True) for line in described(one, offer))
    return Foresight(tuple(words), _furthest(operation, network, offers))


def _furthest(operation: Prune, network: Network, offers: Sequence[Offer]) -> Network:
    """The network without anything that the statement may remove; a later turn finds finer widths in what is narrow."""
    for turn in range(turns_of(operation)):
        if turn:
            offers = [remaining(one, network) for one in operation.alone]
        if not any(offer.groups for offer in offers):
            break
        network = emptied(operation, network, offers)
    return network

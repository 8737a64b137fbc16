"""Remove the least important units until a budget holds, or a given number of them.

what the unit offers ─ rank ─▶ least important first ─ search ─▶ how many ─ remove with parity ─▶ smaller network
     ▲                                                                                                │
     └────────────────── rounds: find and rank again after a share of the training ◀─────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from recipelang.budgets.conditions import bounds, relaxed
from recipelang.budgets.offering import described, offered, wanted
from recipelang.budgets.removal import Removal, parts_of
from recipelang.budgets.search import SearchResult, smallest
from recipelang.budgets.tally import Tally
from recipelang.budgets.verdict import Verdict
from recipelang.kinds import Figure, Offer
from recipelang.plan import Condition, tests_of
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import RemovalStep, rank
from recipelang.stages.context import Context, Foresight, Known, Outcome, OutOfReach, nth_seed
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.rounds import share
from recipelang.training.smoke import few
from recipelang.units import counted
from recipelang.verbs.prune import Prune


def run(operation: Prune, context: Context) -> Outcome:
    """Prune `context.network`.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0911: fewer parts than asked for; RCP1007: nothing that the
            criterion can score.
        OutOfReach: RCP0904: the budget cannot be met.
    """
    network = start = context.network
    offer = offered(operation, network)
    total = wanted(operation, offer)
    tally, outcome = Tally(operation.unit, operation.criterion.name), Outcome(network)
    for turn in range(1, operation.rounds + 1):
        if turn > 1:
            offer = offered(operation, network)
        part = turn / operation.rounds
        goal = None if total is None else round(total * part) - tally.count
        until = operation.until and relaxed(operation.until, lambda r: context.read(r, start), part)
        network, found = _round(operation, network, offer, goal, until, context, turn, tally)
        outcome = _told(outcome, operation, network, found, tally)
        if not found.met and not (found.guarded and operation.until is None):
            raise _out_of_reach(operation, outcome, found, tally, context)
        if operation.training:
            network, outcome = _tune(operation, network, outcome, context, turn)
        if found.guarded:
            break
    return replace(outcome, network=network)


def foresee(operation: Prune, network: Network, known: Known) -> Foresight:
    """What a statement may remove, and the network without any of it: the limit of what it can reach.

    Raises:
        Refusal: RCP0910: nothing; RCP0911: less than asked for.
    """
    offer = offered(operation, network)
    wanted(operation, offer)
    gone = {group.name: range(group.most) for group in offer.groups}
    least = apply_edits(network, operation.unit.edits(network, offer, gone), check=False)
    return Foresight(tuple(described(operation, offer)), least)


def _round(
    operation: Prune,
    network: Network,
    offer: Offer,
    goal: int | None,
    until: Condition | None,
    context: Context,
    turn: int,
    tally: Tally,
) -> tuple[Network, SearchResult]:
    """One ranking, the search for how many steps of it are taken, and the network without them."""
    evidence = _evidence(operation, network, offer, context, turn)
    ranking = rank(operation.criterion, operation.unit, evidence, offer.groups)
    removal = Removal(network, operation.unit, offer, operation.criterion, evidence, _judged(operation))
    barred: dict[str, str] = {}
    while True:
        steps = [step for step in ranking.steps if step.group not in barred]
        found = _search(operation, removal, steps, goal, until, context, tally.count)
        taken = steps[: found.count]
        smaller, stays = removal.made(taken)
        if not stays:
            break
        barred |= stays  # rare: these groups had to stay after all, so others are removed
    tally.add(offer, ranking, parts_of(taken), barred, removal.remark(taken))
    return smaller, found


def _evidence(operation: Prune, network: Network, offer: Offer, context: Context, turn: int) -> Gathered:
    """What the criterion sees of the network in this round."""
    return Gathered(
        network=network,
        data=context.data,
        task=context.task,
        groups=offer.groups,
        unit=operation.unit.ranks,
        needs=operation.criterion.needs,
        samples=few(operation.samples.count, context.smoke),
        seed=context.seed + turn - 1,
        device=context.device,
        progress=context.progress,
        edits=partial(operation.unit.edits, network, offer),
    )


def _judged(operation: Prune) -> bool:
    """Whether a condition reads the quality of what is tried."""
    tests = [test for condition in (operation.until, operation.guard) if condition for test in tests_of(condition)]
    return any(test.reading.metric.role == "quality" for test in tests)


def _search(
    operation: Prune,
    removal: Removal,
    steps: Sequence[RemovalStep],
    goal: int | None,
    until: Condition | None,
    context: Context,
    before: int,
) -> SearchResult:
    """How many of the ranked steps are taken, after rounds that removed `before` parts."""
    unit = operation.unit
    sums = [0]
    for step in steps:
        sums.append(sums[-1] + len(step.parts))

    def removed(k: int) -> Network:
        return removal.tried(steps[:k])

    def tried(k: int, verdict: Verdict) -> None:
        context.progress.say(f"    {counted(before + sums[k], unit.one)} removed: {verdict.text}")

    most = len(steps) if goal is None else max(k for k, total in enumerate(sums) if total <= max(goal, 0))
    return smallest(removed, most, until, operation.guard, context.judge, tried, unit.many)


def _told(outcome: Outcome, operation: Prune, network: Network, found: SearchResult, tally: Tally) -> Outcome:
    """The outcome after a round."""
    unit = operation.unit
    measured = found.verdict.figures if found.verdict else ()
    notes = [f"the guard stopped it: removing one more {unit.one} would violate the guard"] if found.guarded else []
    notes += [note for note in (*tally.remarks, tally.staying) if note]
    return replace(
        outcome,
        network=network,
        asked=_asked(operation),
        reached=(tally.reached, *(replace(figure, joins=figure.joins or ":") for figure in measured)),
        note="; ".join(notes),
        edits=tally.edits,
        ranking=tally.rows,
    )


def _asked(operation: Prune) -> tuple[Figure, ...]:
    """The budget or the amount, and the guard."""
    unit, amount = operation.unit, tuple[Figure, ...]()
    if operation.until:
        amount = bounds(operation.until)
    elif operation.count is not None:
        amount = (Figure(value=operation.count, noun=unit.one),)
    elif operation.share is not None:
        amount = (Figure(unit.name, operation.share, "%"),)
    return (*amount, *(bounds(operation.guard, "while") if operation.guard else ()))


def _tune(operation: Prune, network: Network, outcome: Outcome, context: Context, turn: int) -> tuple[Network, Outcome]:
    """This round's share of the statement's training."""
    training = share(operation.training, turn, operation.rounds)  # type: ignore[arg-type]
    if training.duration.count == 0:
        return network, outcome
    tuned, record = fit(
        network,
        context.data,
        training,
        task=context.task,
        seed=nth_seed(context.seed, len(outcome.training)),
        device=context.device,
        threads=context.threads,
        checkpoint=context.folder / f"round-{turn}",
        progress=context.progress,
        smoke=context.smoke,
    )
    history = (*outcome.history, *record.history)
    return tuned, replace(outcome, history=history, training=(*outcome.training, training))


def _out_of_reach(
    operation: Prune, outcome: Outcome, found: SearchResult, tally: Tally, context: Context
) -> OutOfReach:
    """The refusal that says how far the statement can get."""
    unit = operation.unit
    verdict = found.verdict or (context.judge(operation.until, outcome.network, True) if operation.until else None)
    how = "before the guard is violated" if found.guarded else f"with every removable {unit.one} removed"
    text = operation.until.text if operation.until else ""
    costs = {test.reading.metric.name for test in tests_of(operation.until)}
    at = verdict.text if verdict else "?"
    if found.guarded:  # here the order of removal matters, and so does training between rounds
        help = "ask for less, loosen the guard, try another criterion, or train between rounds (`over`, `for`)"
    else:
        far = " and ".join(sorted(costs))
        help = f"ask for less, or let more {unit.name} be removed; no criterion changes how far {far} can go"
    return OutOfReach(
        "RCP0904",
        f"`until {text}` is out of reach: {how} ({counted(tally.count, unit.one)}), it is at {at}",
        help,
        outcome,
    )

"""Remove the least important units until a budget holds, or a given number of them.

what the unit offers ─ rank ─▶ least important first ─ search ─▶ how many ─ remove with parity ─▶ smaller network
     ▲                                                                                                │
     └────────────────── rounds: find and rank again after a share of the training ◀─────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from recipelang.budgets.conditions import bounds, relaxed
from recipelang.budgets.search import SearchResult, smallest
from recipelang.budgets.tally import Tally
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal
from recipelang.kinds import Figure, Offer, Unit
from recipelang.plan import Condition, Duration, Training, tests_of
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import Ranking, RemovalStep, rank
from recipelang.scoring.weights import batchnorm_scales, of_groups
from recipelang.stages.context import Context, Foresight, Known, Outcome, OutOfReach, nth_seed
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
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
    return Foresight(tuple(_words(operation, offer)), least)


def _words(operation: Prune, offer: Offer) -> Iterator[str]:
    """What a unit finds: a layer each, or groups of channels with the widths that they may have, and what stays."""
    unit, names = operation.unit, [group.name for group in offer.groups]
    if not unit.many:
        yield f"{counted(offer.most, unit.one)} can be removed: {_some(names)}"
        return
    groups = counted(len(names), "group")
    yield f"{offer.most:,} of {offer.size:,} {unit.name} can be removed, in {groups}: {_some(names)}"
    steps = sorted({group.step for group in offer.groups})
    if steps[-1] > 1:
        yield f"widths stay a multiple of {' or '.join(map(str, steps))}{_finer(unit)}"
    if offer.stay:
        first = next(iter(offer.stay))
        more = f", and {counted(len(offer.stay) - 1, 'more', 'more')}" if len(offer.stay) > 1 else ""
        yield f"stays whole: `{first}` ({offer.stay[first]}){more}"


def _finer(unit: Unit) -> str:
    """How a recipe allows more widths, where the unit has a setting for that."""
    return f"; `{unit.name}(round=1)` allows every width" if hasattr(unit, "round") else ""


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown if len(names) <= 4 else f"{shown}, {'… ' * (len(names) > 5)}`{names[-1]}`"


def offered(operation: Prune, network: Network) -> Offer:
    """What the network offers of the unit; groups of channels that no BatchNorm scales stay where that is what ranks.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0703: an entry of the selection matches nothing; RCP0916: the
            criterion needs BatchNorm, and none scales a channel that can be removed.
    """
    unit = operation.unit
    offer: Offer = unit.find(network, operation.selection)
    if unit.ranks != "filter" or "batchnorm" not in operation.criterion.needs:
        return offer
    scaled = of_groups(offer.groups, batchnorm_scales(network.module), "scales")
    if not scaled:
        message = f"`{operation.criterion.name}` needs BatchNorm, and none scales the {unit.name} that can be removed"
        raise Refusal("RCP0916", message, "`by magnitude` or `by taylor`")
    groups = tuple(group for group in offer.groups if group.name in scaled)
    bare = {group.name: "no BatchNorm scales it" for group in offer.groups if group.name not in scaled}
    return replace(offer, groups=groups, stay={**bare, **offer.stay})


def wanted(operation: Prune, offer: Offer) -> int | None:
    """How many parts the statement asks for; None where a condition decides.

    Raises:
        Refusal: RCP0911: more than can be removed, or fewer than the widths allow.
    """
    if operation.count is None and operation.share is None:
        return None
    unit = operation.unit
    count = operation.count if operation.count is not None else round((operation.share or 0) * offer.size)
    asked = f"{counted(count, unit.one)} {'is' if count == 1 else 'are'} to be removed"
    if count > offer.most:
        of = f" of {offer.size}" if unit.many else ""
        raise Refusal(
            "RCP0911", f"{asked}, and {offer.most}{of} can be", "remove fewer; `recipe layers MODEL` lists them"
        )
    least = min(group.first for group in offer.groups)
    if 0 < count < least:
        message = f"{asked}, and rounded widths let {least} or more go"
        raise Refusal("RCP0911", message, f"remove more{_finer(unit)}")
    return count


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
    unit = operation.unit
    barred: dict[str, str] = {}
    ranking = _rank(operation, network, offer, context, turn)
    while True:
        steps = [step for step in ranking.steps if step.group not in barred]
        found = _search(operation, network, offer, steps, goal, until, context, tally.count)
        gone = _gone(steps[: found.count])
        smaller, stays = unit.remove(network, offer, gone)
        if not stays:
            break
        barred |= stays  # rare: these groups had to stay after all, so others are removed
    tally.add(offer, ranking, gone, barred)
    return smaller, found


def _rank(operation: Prune, network: Network, offer: Offer, context: Context, turn: int) -> Ranking:
    evidence = Gathered(
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
    )
    return rank(operation.criterion, operation.unit, evidence, offer.groups)


def _search(
    operation: Prune,
    network: Network,
    offer: Offer,
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
        return apply_edits(network, unit.edits(network, offer, _gone(steps[:k])), check=False)

    def tried(k: int, verdict: Verdict) -> None:
        context.progress.say(f"    {counted(before + sums[k], unit.one)} removed: {verdict.text}")

    most = len(steps) if goal is None else max(k for k, total in enumerate(sums) if total <= max(goal, 0))
    return smallest(removed, most, until, operation.guard, context.judge, tried, unit.many)


def _gone(steps: Sequence[RemovalStep]) -> dict[str, list[int]]:
    """Group → the parts that these steps remove, the least important first."""
    gone: dict[str, list[int]] = {}
    for step in steps:
        gone.setdefault(step.group, []).extend(step.parts)
    return gone


def _told(outcome: Outcome, operation: Prune, network: Network, found: SearchResult, tally: Tally) -> Outcome:
    """The outcome after a round."""
    unit = operation.unit
    measured = found.verdict.figures if found.verdict else ()
    notes = [f"the guard stopped it: removing one more {unit.one} would violate the guard"] if found.guarded else []
    notes += [tally.staying] if tally.staying else []
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
    training = _share(operation.training, turn, operation.rounds)  # type: ignore[arg-type]
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


def _share(training: Training, turn: int, rounds: int) -> Training:
    """A round's part of the total. Epochs are whole where there are enough of them."""
    total = training.duration.count
    if training.duration.unit == "steps" or (float(total).is_integer() and total >= rounds):
        part = float(int(total * turn // rounds) - int(total * (turn - 1) // rounds))
    else:
        part = total / rounds
    return replace(training, duration=Duration(part, training.duration.unit))


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

"""What `prune` says of a removal: asked, reached, out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recipelang.budgets.bench import Told
from recipelang.budgets.conditions import bounds, missed
from recipelang.budgets.search import SearchResult
from recipelang.budgets.tally import Tally
from recipelang.kinds import Figure
from recipelang.plan import tests_of
from recipelang.stages.context import Context, Outcome, OutOfReach
from recipelang.surgery.network import Network
from recipelang.units import counted
from recipelang.verbs.prune import Prune


def told(
    outcome: Outcome,
    operation: Prune,
    network: Network,
    found: SearchResult,
    tallies: Sequence[Tally],
    said: Sequence[Told] = (),
) -> Outcome:
    """The outcome after a round.

    Args:
        outcome: of the rounds before.
        network: as the round left it.
        found: where its search ended.
        tallies: of each unit.
        said: what allocations have said of their searches.
    """
    measured = found.verdict.figures if found.verdict else ()
    one = " or ".join(tally.unit.one for tally in tallies)
    notes = [f"the guard stopped it: removing one more {one} would violate the guard"] if found.guarded else []
    notes += [remark for tally in tallies for remark in tally.remarks]
    notes += [note for tally in tallies for note in (tally.taken_along, tally.staying)]
    notes += dict.fromkeys(one.note for one in said)
    first, *others = (tally.reached for tally in tallies)
    return replace(
        outcome,
        network=network,
        asked=_asked(operation),
        reached=(
            first,
            *(replace(figure, joins="and") for figure in others),
            *(replace(figure, joins=figure.joins or ":") for figure in measured),
            *(figure for tally in tallies for figure in tally.agreement),
            *(figure for one in said for figure in one.figures),
        ),
        note="; ".join(filter(None, notes)),
        edits=tuple(edit for tally in tallies for edit in tally.edits),
        ranking=tuple(row for tally in tallies for row in tally.rows),
        plots=tuple(plot for one in said for plot in one.plots),
    )


def _asked(operation: Prune) -> tuple[Figure, ...]:
    """The budget or the amounts, and the guard."""
    asked = bounds(operation.until) if operation.until else ()
    for amount in operation.amounts:
        joins = "and" if asked else ""
        if amount.count is not None:
            asked += (Figure(value=amount.count, noun=amount.unit.one, joins=joins),)
        elif amount.share is not None:
            asked += (Figure(amount.unit.name, amount.share, "%", joins=joins),)
    return (*asked, *(bounds(operation.guard, "while") if operation.guard else ()))


def out_of_reach(
    operation: Prune, outcome: Outcome, found: SearchResult, tallies: Sequence[Tally], context: Context
) -> OutOfReach:
    """The refusal that says how far the statement can get, and which part of its budget fails.

    Args:
        outcome: with the best network found.
        found: where the search ended.
        tallies: of each unit; of no parts where nothing was removed yet.
    """
    verdict = found.verdict
    if verdict is None and operation.until:
        verdict = context.judge(operation.until, outcome.network, True)
    ones, names = ([getattr(tally.unit, word) for tally in tallies] for word in ("one", "name"))
    searched = getattr(operation.allocation, "decides", False)
    how = "before the guard is violated" if found.guarded else f"with every removable {' and '.join(ones)} removed"
    if searched and not found.guarded:
        how = f"with what `{operation.allocation.name}` found"
    if found.guarded or any(tally.count for tally in tallies):
        how += f" ({' and '.join(counted(tally.count, tally.unit.one) for tally in tallies)})"
    text = operation.until.text if operation.until else ""
    at = verdict.text if verdict else "?"
    if operation.until and verdict and (short := missed(operation.until, verdict)):
        at += f"; {' and '.join(f'`{test}`' for test in short)} {'fails' if len(short) == 1 else 'fail'}"
    if found.guarded:  # here the order of removal matters, and so does training between rounds
        tuned = operation.training is not None and operation.rounds > 1
        train = "train longer between more rounds" if tuned else "train between rounds (`over`, `for`)"
        help = f"ask for less, loosen the guard, try another criterion, or {train}"
    else:
        far = " and ".join(sorted({test.reading.metric.name for test in tests_of(operation.until)}))
        more = " or ".join(names)
        if searched:
            help = f"ask for less, let `{operation.allocation.name}` try more, or let more {more} be removed"
        else:
            help = f"ask for less, or let more {more} be removed; no criterion changes how far {far} can go"
    message = f"`until {text}` is out of reach: {how}, it is at {at}"
    return OutOfReach("RCP0904", message, help, outcome)


def judged(operation: Prune) -> bool:
    """Whether a condition reads the quality of what is tried."""
    tests = [test for condition in (operation.until, operation.guard) if condition for test in tests_of(condition)]
    return any(test.reading.metric.role == "quality" for test in tests)

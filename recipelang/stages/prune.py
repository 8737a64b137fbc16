"""Remove the least important layers until a budget holds, or a given number of them.

candidates ─ rank ─▶ least important first ─ search ─▶ how many ─ edit with parity ─▶ smaller network
     ▲                                                                                     │
     └──────────────── rounds: rank again after a share of the training ◀───────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recipelang.budgets.conditions import relaxed
from recipelang.budgets.search import Found, smallest
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal
from recipelang.plan import Condition, Duration, Training, tests_of
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import Score, rank_layers
from recipelang.stages.context import Context, Outcome, OutOfReach, nth_seed
from recipelang.surgery.candidates import Candidate, Layers
from recipelang.surgery.edits import apply_edits, remove
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import select_layers
from recipelang.surgery.tracing import example_input
from recipelang.surgery.trial import survey
from recipelang.training.loop import fit
from recipelang.training.smoke import few
from recipelang.units import counted
from recipelang.verbs.prune import Prune


def run(operation: Prune, context: Context) -> Outcome:
    """Prune `context.network`.

    Raises:
        Refusal: RCP0910: no layer can be removed; RCP0911: fewer layers than asked for.
        OutOfReach: RCP0904: the budget cannot be met.
    """
    network = context.network
    free = _candidates(operation, network)
    total = _count(operation, len(free))
    start = context.network
    outcome = Outcome(network)
    for turn in range(1, operation.rounds + 1):
        if turn > 1:
            free = _candidates(operation, network)
        part = turn / operation.rounds
        goal = None if total is None else round(total * part) - len(outcome.edits)
        until = operation.until and relaxed(operation.until, lambda r: context.read(r, start), part)
        ranking = _rank(operation, network, free, context, turn)
        found = _search(network, ranking, goal, until, operation.guard, context)
        outcome = _removed(outcome, operation, ranking, found)
        if not found.met and not (found.guarded and operation.until is None):
            raise _out_of_reach(operation, outcome, found, context)
        network = found.network
        if operation.training:
            network, outcome = _tune(operation, network, outcome, context, turn)
        if found.guarded:
            break
    return replace(outcome, network=network)


def reachable(operation: Prune, network: Network) -> tuple[tuple[Candidate, ...], Network]:
    """The candidates of a statement, and the network without any of them: the limit of what it can reach."""
    candidates = _candidates(operation, network)
    return candidates, apply_edits(network, [remove(c) for c in candidates], check=False)


def _candidates(operation: Prune, network: Network) -> tuple[Candidate, ...]:
    found = survey(network.module, example_input(network))
    free = select_layers(network.module, found.layers, operation.selection)
    if not free:
        raise Refusal(
            "RCP0910",
            f"no layer of this network can be removed: {_why_none(found)}",
            "`recipe layers MODEL` lists what can be removed",
        )
    return free


def _why_none(found: Layers) -> str:
    if found.layers:
        return "the selection excludes all of them"
    first = next(iter(found.stay), None)
    if first is None:
        return "it has no residual block and no plain layer that keeps its input's shape"
    more = f" (and {len(found.stay) - 1} more)" if len(found.stay) > 1 else ""
    return f"`{first}`: {found.stay[first]}{more}"


def _count(operation: Prune, available: int) -> int | None:
    """How many layers the statement asks for; None where a condition decides."""
    if operation.count is None and operation.share is None:
        return None
    count = operation.count if operation.count is not None else round((operation.share or 0) * available)
    if count > available:
        raise Refusal(
            "RCP0911",
            f"{counted(count, 'layer')} {'is' if count == 1 else 'are'} to be removed, and {available} can be",
            "remove fewer; `recipe layers MODEL` lists them",
        )
    return count


def _rank(
    operation: Prune, network: Network, free: tuple[Candidate, ...], context: Context, turn: int
) -> list[tuple[Candidate, Score]]:
    candidates = {c.name: c for c in free}
    evidence = Gathered(
        network=network,
        data=context.data,
        task=context.task,
        candidates=tuple(candidates.values()),
        samples=few(operation.samples.count, context.smoke),
        seed=context.seed + turn - 1,
        device=context.device,
        progress=context.progress,
    )
    return [(candidates[score.candidate], score) for score in rank_layers(operation.criterion, evidence)]


def _search(
    network: Network,
    ranking: list[tuple[Candidate, Score]],
    goal: int | None,
    until: Condition | None,
    guard: Condition | None,
    context: Context,
) -> Found:
    """How many of the ranked layers are removed; the resulting edits are checked for parity."""
    edits = [remove(candidate) for candidate, _ in ranking]

    def removed(k: int) -> Network:
        return apply_edits(network, edits[:k], check=False)

    def tried(k: int, verdict: Verdict) -> None:
        context.progress.say(f"    {counted(k, 'layer')} removed: {verdict.text}")

    found = smallest(removed, len(edits) if goal is None else goal, until, guard, context.judge, tried)
    return replace(found, network=apply_edits(network, edits[: found.count]))


def _removed(outcome: Outcome, operation: Prune, ranking: list[tuple[Candidate, Score]], found: Found) -> Outcome:
    """The outcome after a round."""
    gone = {candidate.name for candidate, _ in ranking[: found.count]}
    rows: list[Mapping[str, Any]] = [
        {"layer": score.candidate, "score": score.value, "removed": score.candidate in gone} for _, score in ranking
    ]
    edits = (*outcome.edits, *(f"removed `{c.name}`" for c, _ in ranking[: found.count]))
    asked = [operation.until.text] if operation.until else [f"{_wanted(operation)}"] if not operation.guard else []
    asked += [f"while {operation.guard.text}"] if operation.guard else []
    measured = f": {found.verdict.text}" if found.verdict else ""
    layers = f"{counted(len(edits), 'layer')} removed"
    note = "the guard stopped it: removing one more layer would violate the guard" if found.guarded else ""
    first = outcome.ranking or tuple(rows)
    return replace(
        outcome,
        network=found.network,
        asked=" ".join(asked),
        reached=f"{layers}{measured}",
        note=note,
        edits=edits,
        ranking=tuple({**row, "removed": f"removed `{row['layer']}`" in edits} for row in first),
    )


def _wanted(operation: Prune) -> str:
    return (
        counted(operation.count, "layer")
        if operation.count is not None
        else f"{100 * (operation.share or 0):g} % of the layers"
    )


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


def _out_of_reach(operation: Prune, outcome: Outcome, found: Found, context: Context) -> OutOfReach:
    """The refusal that says how far the statement can get."""
    verdict = found.verdict or (context.judge(operation.until, found.network, True) if operation.until else None)
    how = "before the guard is violated" if found.guarded else "with every removable layer removed"
    text = operation.until.text if operation.until else ""
    costs = {test.reading.metric.name for test in tests_of(operation.until)}
    at = verdict.text if verdict else "?"
    return OutOfReach(
        "RCP0904",
        f"`until {text}` is out of reach: {how} ({counted(len(outcome.edits), 'layer')}), it is at {at}",
        f"ask for less, or let more layers go; no criterion changes how far {' and '.join(sorted(costs))} can go",
        outcome,
    )

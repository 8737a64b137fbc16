"""The parts of a report below its comparison: steps, rankings, training curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recipelang.kinds import figure as figures
from recipelang.report import words
from recipelang.report.curves import Epoch
from recipelang.report.record import Ranked, Run, Step, Trouble
from recipelang.report.rows import Row
from recipelang.units import listed

MOST_EDITS = 200  # of one step; the others are counted


@dataclass(frozen=True)
class Done:
    """One statement as it was carried out, under all seeds that did it in the same way.

    Attributes:
        step: the record under the first seed.
        asked: its budget or amount. reached: its result, one text per different outcome.
        seconds: over all seeds, in words.
        cached: whether every seed found it in the store.
        edits: what was changed, in words; the first of them, and how many more there are.
        readings: what was measured right after it: (metric, value).
    """

    step: Step
    asked: str
    reached: tuple[str, ...]
    seconds: str
    cached: bool
    edits: tuple[str, ...]
    readings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Journey:
    """The steps of one network, or those that all share.

    Attributes:
        name: the row's name; for the steps that all networks of a run share the run's, or "" if it is the only one.
        shared: whether all networks of the run share them.
        seeds: "seeds 0, 1 and 2", or "".
        steps: in order.
        error: what ended it early.
        origin: which report it comes from, counted from 0.
        anchor: its id on a page; its n-th step has the same with `-n`.
    """

    name: str
    seeds: str
    steps: tuple[Done, ...]
    shared: bool = False
    error: Trouble | None = None
    origin: int = 0
    anchor: str = ""


def journeys(found: Sequence[Row], runs_named: Sequence[str]) -> tuple[Journey, ...]:
    """The steps of every network; those that made healthy, and those that all others share, come first and once.

    Args:
        found: the rows.
        runs_named: the names of the runs that the rows come from.
    """
    result: list[Journey] = []
    for origin in sorted({row.origin for row in found}):
        mine = [row for row in found if row.origin == origin and row.variant.runs]
        healthy = next((row.variant.runs[0].steps for row in mine if row.kind == "healthy"), ())
        told = {row.name: after(healthy, row.variant.runs) for row in mine if row.kind != "healthy"}
        paths = [run.steps for runs in told.values() for run in runs]
        shared = _shared(paths) if len(told) > 1 else 0
        once = (*healthy, *paths[0][:shared]) if paths else healthy
        if once:
            name = runs_named[origin] if len(runs_named) > 1 else ""
            anchor = f"steps-{origin + 1}"
            result.append(Journey(name, "", _merged([Run(steps=once)], 0), shared=True, origin=origin, anchor=anchor))
        for row in mine:
            result += [
                Journey(
                    row.name,
                    _seeds(alike),
                    _merged(alike, shared),
                    error=row.variant.error,
                    origin=origin,
                    anchor=steps_anchor(row, number),
                )
                for number, alike in enumerate(_alike(told.get(row.name, ())))
            ]
    return tuple(result)


def steps_anchor(row: Row, number: int = 0) -> str:
    """The id of the steps of a network; a number tells those apart that only some of its seeds took."""
    return f"steps-of-{row.anchor.removeprefix('row-')}{f'.{number + 1}' if number else ''}"


def after(before: Sequence[Step], runs: Sequence[Run]) -> list[Run]:
    """The runs without the steps that made the healthy network, if they include those."""
    start = [_same(step) for step in before]
    return [
        replace(run, steps=run.steps[len(start) :]) if [_same(s) for s in run.steps[: len(start)]] == start else run
        for run in runs
    ]


def _same(step: Step) -> tuple[str, str, int | None]:
    return step.verb, step.text, step.line


def _shared(paths: Sequence[Sequence[Step]]) -> int:
    """How many first steps all paths have in common."""
    count = 0
    for together in zip(*paths, strict=False):
        if len({_same(step) for step in together}) > 1:
            break
        count += 1
    return count


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs, grouped by the steps that they took."""
    groups: dict[tuple[tuple[str, str, int | None], ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(map(_same, run.steps)), []).append(run)
    return list(groups.values())


def _seeds(runs: Sequence[Run]) -> str:
    names = [str(run.seed) for run in runs if run.seed is not None]
    return f"{'seeds' if len(names) > 1 else 'seed'} {listed(names, most=12)}" if names else ""


def _merged(runs: Sequence[Run], start: int) -> tuple[Done, ...]:
    """The steps, from `start` on, of runs that took the same ones, merged."""
    return tuple(_done(steps) for steps in zip(*(run.steps[start:] for run in runs), strict=True))


def _done(steps: tuple[Step, ...]) -> Done:
    first = steps[0]
    times = [step.seconds for step in steps if step.seconds is not None]
    reached = dict.fromkeys(figures.words(step.reached) for step in steps if step.reached)
    readings = tuple(
        (name, words.quantity(m.value, m.unit)) for name, m in first.metrics.items() if m.value is not None
    )
    return Done(
        step=first,
        asked=figures.words(first.asked),
        reached=tuple(reached),
        seconds=words.duration(sum(times)) if times else "",
        cached=all(step.cached for step in steps),
        edits=_edits(first.edits),
        readings=readings,
    )


def _edits(edits: Sequence[object]) -> tuple[str, ...]:
    more = len(edits) - MOST_EDITS
    return (*map(_edit, edits[:MOST_EDITS]), *([f"and {more} more"] if more > 0 else []))


def _edit(edit: object) -> str:
    """An entry of the edit log in one line: its values, in order."""
    if not isinstance(edit, dict):
        return str(edit)
    shown = (" ".join(map(str, v)) if isinstance(v, list | tuple) else words.plain(v) for v in edit.values())
    return " ".join(shown)


@dataclass(frozen=True)
class Ranking:
    """One importance ranking.

    Attributes:
        name: of the networks that share it.
        step: the statement.
        ranked: least important first.
    """

    name: str
    step: Step
    ranked: tuple[Ranked, ...]


def steps_of(found: Sequence[Row]) -> Iterator[tuple[Row, Run, Step]]:
    """Every step of every run of some rows."""
    for row in found:
        for run in row.variant.runs:
            for step in run.steps:
                yield row, run, step


def rankings(found: Sequence[Row]) -> tuple[Ranking, ...]:
    """Every different ranking under the first seed that has it, with the networks that share it; of a step that removes
    several units, one ranking of each."""
    owners: dict[tuple[str, tuple[Ranked, ...]], list[str]] = {}
    steps: dict[tuple[str, tuple[Ranked, ...]], Step] = {}
    for row, run, step in steps_of(found):
        if step.ranking and run is row.variant.runs[0]:
            for unit in dict.fromkeys(ranked.unit for ranked in step.ranking):
                key = step.text, tuple(ranked for ranked in step.ranking if ranked.unit == unit)
                steps.setdefault(key, step)
                if row.name not in owners.setdefault(key, []):
                    owners[key].append(row.name)
    return tuple(Ranking(listed(owners[key]), step, key[1]) for key, step in steps.items())


@dataclass(frozen=True)
class Curve:
    """The loss of one network under one seed, over all trainings of one statement.

    Attributes:
        name: the row's name.
        seed: null if the recipe names none.
        points: epochs are counted through all rounds of a repeat.
    """

    name: str
    seed: int | None
    points: tuple[Epoch, ...]


@dataclass(frozen=True)
class Training:
    """The curves of one statement, all networks and seeds together.

    Attributes:
        step: the statement as the first network has it.
        curves: equal curves once.
    """

    step: Step
    curves: tuple[Curve, ...]


Place = tuple[int, int | str, int]  # report, line or text, which of the trainings of that line


def trainings(found: Sequence[Row]) -> tuple[Training, ...]:
    """The training curves by the statement that they come from, so that networks are seen side by side.

    A control has no statements of its own: its n-th training is shown beside the n-th of its variant.
    """
    first: dict[Place, Step] = {}
    curves: dict[Place, dict[tuple[str, int | None], list[Epoch]]] = {}
    for row in found:
        model = next((r for r in found if r.kind == "variant" and r.control == row.name), None)
        for run in row.variant.runs:
            places = _places(row.origin, model.variant.runs[0] if model else run)
            own = _places(row.origin, run)
            for n, step in enumerate(_trained(run)):
                place = (places[n:] or own[n:])[0]
                first.setdefault(place, step)
                points = curves.setdefault(place, {}).setdefault((row.name, run.seed), [])
                done = points[-1].epoch if points else 0.0
                points += [replace(p, epoch=done + p.epoch) for p in step.history or ()]
    return tuple(Training(step, _once(curves[place])) for place, step in first.items())


def _trained(run: Run) -> list[Step]:
    return [step for step in run.steps if step.history]


def _places(origin: int, run: Run) -> list[Place]:
    """The statement of every training of a run; a line may hold several, and a repeat runs them again."""
    texts: dict[int | str, list[str]] = {}
    found = []
    for step in _trained(run):
        line = step.text if step.implied or not step.line else step.line
        on_line = texts.setdefault(line, [])
        if step.text not in on_line:
            on_line.append(step.text)
        found.append((origin, line, on_line.index(step.text)))
    return found


def _once(curves: dict[tuple[str, int | None], list[Epoch]]) -> tuple[Curve, ...]:
    """Each different curve once, named after all that share it."""
    owners: dict[tuple[Epoch, ...], list[tuple[str, int | None]]] = {}
    for owner, points in curves.items():
        owners.setdefault(tuple(points), []).append(owner)
    return tuple(
        Curve(listed(list(dict.fromkeys(name for name, _ in who)), most=3), who[0][1], points)
        for points, who in owners.items()
    )

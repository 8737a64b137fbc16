"""The recipes of a report, each line with its words told apart and with links to the steps that it became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report.parts import Journey
from recipelang.report.runs import RecordedRun
from recipelang.syntax.roles import roles

MOST_RECIPES, MOST_LINES, MOST_LINKS = 20, 5000, 100  # of a page; of a recipe; of a line


@dataclass(frozen=True)
class Line:
    """A line of a recipe.

    Attributes:
        anchor: its id on the page.
        pieces: (role, text), blanks included; together the line. The role is a word of `syntax.roles`, or "".
        steps: (id of the step, name of the network, or "" for all) of what it became.
        more: how many more steps it became.
    """

    anchor: str
    pieces: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, str], ...] = ()
    more: int = 0


@dataclass(frozen=True)
class ShownRecipe:
    """A recipe, and the runs that have exactly this text.

    Attributes:
        runs: their names.
        path: of the file; "" if it has none.
        lines: the first of them; `cut` is how many are left out.
    """

    runs: tuple[str, ...]
    path: str
    lines: tuple[Line, ...]
    cut: int = 0


def recipes(sources: Sequence[RecordedRun], journeys: Sequence[Journey]) -> tuple[ShownRecipe, ...]:
    """The recipes of some runs, each different text once; of very many only the first with their lines.

    Args:
        sources: the runs.
        journeys: the steps that the page shows.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for origin, source in enumerate(sources):
        alike.setdefault((source.report.recipe.path, source.report.recipe.text), []).append(origin)
    became = _became(journeys)
    found = []
    for number, ((path, text), origins) in enumerate(alike.items()):
        written = text.splitlines() if number < MOST_RECIPES else []
        steps: dict[int, list[tuple[str, str]]] = {}
        for origin in origins:
            for line, step in became.get(origin, ()):
                steps.setdefault(line, []).append(step)
        lines = tuple(
            Line(anchor_of(number, line), pieces, tuple(at[:MOST_LINKS]), max(0, len(at) - MOST_LINKS))
            for line, pieces in enumerate(highlight("\n".join(written[:MOST_LINES])) if written else (), 1)
            for at in [steps.get(line, [])]
        )
        names = tuple(sources[origin].name for origin in origins)
        found.append(ShownRecipe(names, path, lines, max(0, len(written) - MOST_LINES)))
    return tuple(found)


def anchor_of(recipe: int, line: int) -> str:
    """The id of a line: of the first recipe `line-3`, of the next one `line-2-3`."""
    return f"line-{recipe + 1}-{line}" if recipe else f"line-{line}"


def line_anchors(found: Sequence[ShownRecipe], sources: Sequence[RecordedRun]) -> tuple[tuple[str, ...], ...]:
    """For every run, the ids of the lines of its recipe."""
    of = {run: recipe for recipe in found for run in recipe.runs}
    return tuple(tuple(line.anchor for line in of[source.name].lines) for source in sources)


def _became(journeys: Sequence[Journey]) -> dict[int, list[tuple[int, tuple[str, str]]]]:
    """Run → (line, (id of a step, name of the network))."""
    found: dict[int, list[tuple[int, tuple[str, str]]]] = {}
    for journey in journeys:
        for number, done in enumerate(journey.steps, 1):
            if done.step.line and not done.step.implied:
                name = "" if journey.shared else journey.name
                place = found.setdefault(journey.origin, [])
                place.append((done.step.line, (f"{journey.anchor}-{number}", name)))
    return found


def highlight(text: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Every line of a recipe in pieces (role, text), see `Line`; no character is lost but the line ends."""
    lines: list[list[tuple[str, str]]] = [[]]
    done = 0
    for token, role in roles(text):
        if token.start > done:
            lines[-1].append(("", text[done : token.start]))
        done = token.end
        if token.text == "\n":
            lines.append([])
        else:
            lines[-1].append((role.value, token.text))
    if done < len(text):
        lines[-1].append(("", text[done:]))
    return tuple(tuple(line) for line in lines)

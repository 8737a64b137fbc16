"""The recipes of a report, each line with its words told apart and with links to what it became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report.parts import Journey
from recipelang.report.rows import Row
from recipelang.report.runs import RecordedRun
from recipelang.report.verdicts import ShownVerdict, told_verdicts
from recipelang.syntax.roles import roles

MOST_RECIPES, MOST_LINES, MOST_LINKS = 20, 5000, 100  # of a page; of a recipe; of a line


@dataclass(frozen=True)
class Line:
    """A line of a recipe.

    Attributes:
        anchor: its id on the page.
        pieces: (role, text), blanks included; together the line. The role is a word of `syntax.roles`, or "".
        noun: what it leads to: `step`, `verdict` or `network`; "" if to nothing.
        places: (id, name of the network, or "" for all) of these.
        more: how many more there are.
    """

    anchor: str
    pieces: tuple[tuple[str, str], ...]
    noun: str = ""
    places: tuple[tuple[str, str], ...] = ()
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


Places = dict[tuple[int, int], list[tuple[str, str]]]  # (run, line) → (id on the page, name of the network)


def recipes(
    sources: Sequence[RecordedRun], found: Sequence[Row], journeys: Sequence[Journey], verdicts: Sequence[ShownVerdict]
) -> tuple[ShownRecipe, ...]:
    """The recipes of some runs, each different text once; of very many only the first with their lines.

    Args:
        sources: the runs.
        found: the rows of the comparison.
        journeys: the steps that the page shows.
        verdicts: of every `expect`, in the order of the runs.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for origin, source in enumerate(sources):
        alike.setdefault((source.report.recipe.path, source.report.recipe.text), []).append(origin)
    steps, judged, named = _steps(journeys), _verdicts(sources, verdicts), _named(found)
    shown = []
    for number, ((path, text), origins) in enumerate(alike.items()):
        written = text.splitlines() if number < MOST_RECIPES else []
        lines = []
        for line, pieces in enumerate(highlight("\n".join(written[:MOST_LINES])) if written else (), 1):
            networks = [place for origin in origins for place in named.get((origin, *_names(pieces)), ())]
            ways = (
                ("step", [place for origin in origins for place in steps.get((origin, line), ())]),
                ("verdict", [place for origin in origins for place in judged.get((origin, line), ())]),
                ("network", networks),
            )
            noun, places = next(((noun, places) for noun, places in ways if places), ("", []))
            more = max(0, len(places) - MOST_LINKS)
            lines.append(Line(anchor_of(number, line), pieces, noun, tuple(places[:MOST_LINKS]), more))
        runs = tuple(sources[origin].name for origin in origins)
        shown.append(ShownRecipe(runs, path, tuple(lines), max(0, len(written) - MOST_LINES)))
    return tuple(shown)


def anchor_of(recipe: int, line: int) -> str:
    """The id of a line: of the first recipe `line-3`, of the next one `line-2-3`."""
    return f"line-{recipe + 1}-{line}" if recipe else f"line-{line}"


def line_anchors(found: Sequence[ShownRecipe], sources: Sequence[RecordedRun]) -> tuple[tuple[str, ...], ...]:
    """For every run, the ids of the lines of its recipe."""
    of = {run: recipe for recipe in found for run in recipe.runs}
    return tuple(tuple(line.anchor for line in of[source.name].lines) for source in sources)


def verdict_anchor(number: int) -> str:
    """The id of a verdict, counted from 1."""
    return f"expectation-{number}"


def _steps(journeys: Sequence[Journey]) -> Places:
    found: Places = {}
    for journey in journeys:
        for number, done in enumerate(journey.steps, 1):
            if done.step.line and not done.step.implied:
                name = "" if journey.shared else journey.name
                found.setdefault((journey.origin, done.step.line), []).append((f"{journey.anchor}-{number}", name))
    return found


def _verdicts(sources: Sequence[RecordedRun], verdicts: Sequence[ShownVerdict]) -> Places:
    found: Places = {}
    told = dict(told_verdicts(verdicts))
    written = [(origin, one.line) for origin, source in enumerate(sources) for one in source.report.expectations]
    for number, (origin, line) in enumerate(written, 1):
        if line and number in told:
            found.setdefault((origin, line), []).append((verdict_anchor(number), told[number].of))
    return found


def _named(found: Sequence[Row]) -> dict[tuple[int, str, str], list[tuple[str, str]]]:
    """(run, verb, name) → the rows that such a statement makes or picks."""
    places: dict[tuple[int, str, str], list[tuple[str, str]]] = {}
    for row in found:
        place = row.anchor, row.name
        if row.kind == "control":
            places.setdefault((row.origin, "control", ""), []).append(place)
        if row.kind == "variant":
            places.setdefault((row.origin, "variant", row.variant.name), []).append(place)
        if row.variant.chosen:
            places.setdefault((row.origin, "choose", ""), []).append(place)
    return places


def _names(pieces: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The verb of a line, and the name that comes after `variant`."""
    texts = [text for _, text in pieces if text.strip()]
    if not texts or pieces[0][0] not in ("verb", "") or texts[0] not in ("variant", "control", "choose"):
        return "", ""
    return texts[0], texts[1] if texts[0] == "variant" and len(texts) > 1 else ""


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

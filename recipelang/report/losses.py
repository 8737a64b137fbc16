"""The curves of trainings: the loss that is trained with, and how the network does in validation meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.chart import WIDTH, Chart, Text, columns, text_of
from recipelang.report.curves import Epoch, Validation
from recipelang.report.looks import Look, own
from recipelang.report.parts import Curve, Training
from recipelang.report.svg import drawing, marked, to_svg

#: scores of validation that are shares → their names for people
SHARES: Mapping[str, str] = {"accuracy": "accuracy", "sample_f1": "F1 of each sample"}


def training(trained: Training, index: int, look: Mapping[str, Look]) -> Chart:
    """The training loss of one statement over its epochs, a line for every network and seed.

    Where a training was validated, its score stands below over the same epochs; where it has no score, its loss.
    """
    names = list(dict.fromkeys(curve.name for curve in trained.curves))
    mine = own(names, look)
    seen = [p.validation for curve in trained.curves for p in curve.points if p.validation is not None]
    entries = {found.group: found for found in mine.values()}
    wide = columns([*entries])
    lines = math.ceil(len(entries) / wide) if len(entries) > 1 else 0
    with drawing(WIDTH, (4.2 if seen else 2.7) + 0.2 * lines) as figure:
        panels = figure.subplots(1 + bool(seen), sharex=True, squeeze=False)[:, 0]
        for curve in trained.curves:
            _curve(panels[0], curve, [_shown(point.loss) for point in curve.points], mine[curve.name])
            if seen:
                scores = [_score(point.validation, seen[0]) for point in curve.points]
                _curve(panels[1], curve, scores, mine[curve.name])
        panels[0].set_ylabel("training loss", fontsize=9)
        if seen:
            panels[1].set_ylabel(_scored(seen[0]), fontsize=9)
        panels[-1].set_xlabel("epochs")
        panels[-1].margins(x=0.03)
        if all(point.epoch == int(point.epoch) for curve in trained.curves for point in curve.points):
            panels[-1].xaxis.get_major_locator().set_params(integer=True)
        if lines:
            handles = [_handle(found) for found in entries.values()]
            figure.legend(handles, [*entries], loc="outside lower center", ncols=wide, handlelength=2.4)
        name = f"training-{index}"
        svg = to_svg(figure, name, f"training loss of {trained.step.text}")
    caption = _caption(trained, names, seen)
    return Chart(name, "Training", caption, svg, "training", _text(trained, seen), trained.step.text)


def _named(one: Validation) -> str:
    """The score in words."""
    return SHARES.get(one.name, one.name.replace("_", " ")) or "loss"


def _caption(trained: Training, names: Sequence[str], seen: Sequence[Validation]) -> str:
    seeds = {curve.seed for curve in trained.curves}
    said = f"{len(names)} networks" if len(names) > 1 else words.shorten(names[0], 80)
    said += f", {len(seeds)} seeds each." if len(seeds) > 1 else "."
    if seen:
        counts = {one.n for one in seen}
        what = "loss" if seen[0].score is None else _named(seen[0])
        said += f" Below: {what} on {max(counts):,} validation samples."
    elif trained.step.unvalidated:
        said += f" No validation: {trained.step.unvalidated}."
    return said


def _scored(one: Validation) -> str:
    return f"validation {_named(one)}{' (%)' if _share(one) else ''}" if one.score is not None else "validation loss"


def _share(one: Validation) -> bool:
    return one.name in SHARES


def _score(found: Validation | None, first: Validation) -> float:
    """What the lower axis shows of a validation: its score as the first one has it, or its loss."""
    if found is None:
        return math.nan
    if first.score is None:
        return _shown(found.loss)
    return _shown(found.score) * (100 if _share(first) else 1)


def _shown(value: float | None) -> float:
    return math.nan if value is None or not abs(value) <= FARTHEST else value


def _text(trained: Training, seen: Sequence[Validation]) -> Text:
    """Where every curve starts and ends."""
    lines = []
    for curve in trained.curves:
        seed = "–" if curve.seed is None else str(curve.seed)
        line = [curve.name, seed, f"{curve.points[-1].epoch:g}", *map(_told, _ends([p.loss for p in curve.points]))]
        if seen:
            scores = [_score(p.validation, seen[0]) for p in curve.points]
            line += map(_told, _ends([score for score in scores if not math.isnan(score)]))
        lines.append(tuple(line))
    header = ("network", "seed", "epochs", "first loss", "last loss")
    return text_of((*header, f"first {_scored(seen[0])}", "last") if seen else header, lines)


def _ends(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    return (values[0], values[-1]) if values else (None, None)


def _told(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else words.quantity(value, "")


def _curve(axes: Any, curve: Curve, ys: Sequence[float], look: Look) -> None:
    """A line, with a mark and a tip at each of its points where they are few, else at its last."""
    points = [(point, y) for point, y in zip(curve.points, ys, strict=True) if not math.isnan(y)]
    axes.plot(
        [p.epoch for p, _ in points], [y for _, y in points], color=look.colour, linewidth=1.5, linestyle=look.dashes
    )
    at = points if len(points) <= 12 else points[-1:]
    if at:
        (line,) = axes.plot([p.epoch for p, _ in at], [y for _, y in at], look.shape, color=look.colour, markersize=3.8)
        marked(line, *((_tip(curve, p, y), "") for p, y in at))


def _tip(curve: Curve, point: Epoch, y: float) -> str:
    seed = "" if curve.seed is None else f", seed {curve.seed}"
    return f"{curve.name}{seed}, epoch {point.epoch:.3g}: {_told(y)}"


def _handle(look: Look) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.shape, markersize=4)  # type: ignore[arg-type]

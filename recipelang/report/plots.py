"""The charts of a report, in the order of its page; each has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recipelang.report.anatomy import anatomy, changed
from recipelang.report.bars import bars
from recipelang.report.boxes import box_plot
from recipelang.report.chart import GROUPS, Chart, Charts
from recipelang.report.context import ReportContext
from recipelang.report.fronts import fronts
from recipelang.report.importance import importance
from recipelang.report.looking import depth_chart
from recipelang.report.looks import looks
from recipelang.report.losses import training
from recipelang.report.maps import maps
from recipelang.report.profiles import profile_chart, profiled
from recipelang.report.ranks import correlations, ranks
from recipelang.report.searches import curves
from recipelang.report.trajectories import routes, trajectory

MOST_CHARTS, MOST_OF_MANY = 12, 1  # of one kind; where a page opens with the front and folds the rest


def charts(context: ReportContext) -> Charts:
    """The charts that the context has numbers for, in the order of the page."""
    look = looks(context.rows, [source.name for source in context.sources])
    ways = routes(context.rows, context.metrics)
    bearing = [i for i, m in enumerate(context.metrics) if m.role != "property"]
    profiles, layered = profiled(context.shown), changed(context.shown)
    kinds: tuple[tuple[Sequence[Any], Callable[[int], Chart | None]], ...] = (
        (ways, lambda i: trajectory(ways[i], i, look)),
        (bearing, lambda i: bars(context.rows, bearing[i], look)),
        (context.spreads, lambda i: box_plot(context.spreads[i], look)),
        (context.rankings, lambda i: importance(context.rankings[i], i)),
        (context.agreements, lambda i: ranks(context.agreements[i], i)),
        (context.agreements, lambda i: correlations(context.agreements[i], i)),
        (context.searches, lambda i: curves(context.searches[i], i)),
        (context.trainings, lambda i: training(context.trainings[i], i, look)),
        (profiles, lambda i: profile_chart(profiles[i], i)),
        (layered, lambda i: anatomy(layered[i], i)),
    )
    most = MOST_OF_MANY if context.folded else MOST_CHARTS
    drawn: list[Chart | None] = [*fronts(context, look)]
    drawn += [draw(i) for found, draw in kinds for i in range(min(len(found), most))]
    drawn += [depth_chart(context.exhibits.depths, look)] if context.exhibits.depths else []
    drawn += maps(context.exhibits.maps, [source.name for source in context.sources])
    left_out = sum(max(0, len(found) - most) for found, _ in kinds)
    return Charts(tuple(sorted(filter(None, drawn), key=lambda chart: GROUPS.index(chart.group))), left_out)

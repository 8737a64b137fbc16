"""Rankings side by side, against scipy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from recipelang.report.agreement import agreements
from recipelang.report.context import build
from recipelang.report.parts import Ranking
from recipelang.report.plots import charts
from recipelang.report.record import Ranked, Step
from recipelang.report.render import render

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=12, max_size=12)


def ranking(name: str, scores: list[float], units: list[str], of: int | None = None) -> Ranking:
    """A ranking of these units, the least important first, as records have it."""
    pairs = sorted(zip(scores, units, strict=True))
    return Ranking(name, Step("prune", "prune"), tuple(Ranked(u, s, of=of) for s, u in pairs))


@given(SCORES, SCORES)
def test_ranks_and_correlation_are_those_of_scipy(first: list[float], second: list[float]) -> None:
    units = [f"layer1.{k}" for k in range(12)]
    (found,) = agreements([ranking("a", first, units), ranking("b", second, units)])
    assert [unit for unit, _ in found.ranks] == units  # 10 comes after 9
    assert [r[0] for _, r in found.ranks] == list(rankdata(first))
    assert [r[1] for _, r in found.ranks] == list(rankdata(second))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found.correlations[0][1] is None
    else:
        assert found.correlations[0][1] == pytest.approx(spearmanr(first, second).statistic)
        assert found.correlations[0][0] == pytest.approx(1)


def test_only_rankings_of_the_same_single_units_stand_side_by_side() -> None:
    units, scores = ["a", "b", "c"], [1.0, 2.0, 3.0]
    assert agreements([ranking("one", scores, units)]) == ()
    assert agreements([ranking("one", scores, units), ranking("two", scores, ["a", "b", "d"])]) == ()
    assert agreements([ranking("one", scores, units, of=16), ranking("two", scores, units, of=16)]) == ()
    assert agreements([ranking("one", scores[:2], units[:2]), ranking("two", scores[:2], units[:2])]) == ()


def test_both_forms_for_reading_have_the_ranks(main_record: dict[str, Any]) -> None:
    record = copy.deepcopy(main_record)
    main = next(v for v in record["variants"] if v["name"] == "main")
    other = copy.deepcopy(main) | {"name": "other"}
    for step in other["runs"][0]["steps"]:
        if step.get("ranking"):
            step["text"] = "prune layers by random"
            for unit in step["ranking"]:
                unit["score"] = -unit["score"]
    record["variants"].append(other)
    context = build(record)
    (found,) = context.agreements
    assert found.names == ("main", "other") and found.correlations[0][1] == pytest.approx(-1)
    text = render(context, "markdown")["report.md"]
    assert "## Ranks side by side" in text and "| main | 1.00 | −1.00 |" in text
    assert "Ranks side by side" in render(context, "html")["report.html"]
    table, matrix = charts(context).in_group("agreement")
    assert [row[1:] for row in matrix.text.rows] == [("1.00", "−1.00"), ("−1.00", "1.00")]
    units = len(found.ranks)
    assert table.svg.count("data-tip=") == 2 * units == 2 * len(table.text.rows)
    unit, (first, second) = found.ranks[0]
    assert table.text.rows[0] == (unit, f"{first:.0f}", f"{second:.0f}")
    assert f"{unit}: rank {first:.0f} of {units} by main" in table.svg

"""The page in a real browser: it sorts, filters, folds and prints, asks for nothing, and everyone can use it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recipelang.report.context import ReportContext, build
from recipelang.report.render import render
from tests.report.browsing import chromium, visit

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests of this file."""
    with chromium() as started:
        yield started


@dataclass(frozen=True)
class Page:
    """A page and what it was made from."""

    context: ReportContext
    html: str

    @classmethod
    def of(cls, record: dict[str, Any]) -> Page:
        """The page of a record."""
        context = build(record)
        return cls(context, render(context, "html")["report.html"])


@pytest.fixture(scope="module")
def main() -> Page:
    """One pruned network with its control."""
    return Page.of(json.loads((FIXTURES / "main.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def study() -> Page:
    """Nine sweep points with three seeds each, one of them chosen."""
    return Page.of(json.loads((FIXTURES / "study.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def sweep() -> Page:
    """150 variants: of every ten, nine are slower than the first and no better."""
    record = json.loads((FIXTURES / "main.json").read_text("utf-8"))
    model = record["variants"][1] | {"runs": [], "layers": []}
    record["variants"] = record["variants"][:1]
    for n in range(150):
        made = copy.deepcopy(model) | {"name": f"v{n}", "goes_on": True}
        for name, measured in made["metrics"].items():
            if n % 10 and measured["ratio"] is not None and name != "top1":
                for key in ("value", "low", "high", "ratio", "ratio_low", "ratio_high"):
                    measured[key] *= 1.5 + n / 1000
        record["variants"].append(made)
    return Page.of(record)


@pytest.mark.parametrize(
    ("name", "scheme", "rules"),
    [
        ("study", "light", {}),
        ("main", "light", {}),
        ("study", "dark", {"runOnly": ["color-contrast"]}),  # nothing else of a page depends on the scheme
        ("main", "dark", {"runOnly": ["color-contrast"]}),
    ],
)
def test_nothing_goes_wrong_and_nothing_is_asked_for(
    browser: Any, name: str, scheme: str, rules: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed").Axe()
    html = request.getfixturevalue(name).html
    with visit(browser, html, tmp_path, color_scheme=scheme) as seen:
        if name == "main":
            seen.page.click("#contents button")  # unfold all
        found = axe.run(seen.page, options={"resultTypes": ["violations"], **rules})
        wrong = [
            (violation["id"], node["target"], node["failureSummary"])
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
        assert wrong == []
        assert seen.log == [] and seen.requests == []


def test_a_column_is_sorted_best_first_then_worst_first_then_as_recorded(
    browser: Any, study: Page, tmp_path: Path
) -> None:
    place = next(i for i, metric in enumerate(study.context.metrics) if metric.name == "top1")
    rows = [row for row in study.context.rows if row.kind != "healthy"]
    values = {row.anchor: m.value for row in rows if (m := row.cells[place].measured) and m.value is not None}
    best = sorted(values, key=lambda anchor: -values[anchor])
    without = [row.anchor for row in rows if row.anchor not in values]
    with visit(browser, study.html, tmp_path) as seen:
        head = seen.page.locator(".comparison thead th").nth(place + 1)
        recorded = seen.rows()
        assert recorded == [row.anchor for row in rows]
        head.get_by_role("button").click()
        assert seen.rows() == best + without and head.get_attribute("aria-sort") == "descending"
        assert seen.said == "Sorted by top1, descending."
        head.get_by_role("button").press("Enter")
        assert seen.rows() == best[::-1] + without and head.get_attribute("aria-sort") == "ascending"
        head.get_by_role("button").click()
        assert seen.rows() == recorded and head.get_attribute("aria-sort") is None


def test_costs_are_sorted_least_first_and_names_by_their_numbers(browser: Any, sweep: Page, tmp_path: Path) -> None:
    with visit(browser, sweep.html, tmp_path) as seen:
        seen.page.check("#show-dominated")
        seen.page.locator(".comparison thead th").nth(0).get_by_role("button").click()
        assert seen.rows()[:3] == ["row-v0", "row-v1", "row-v2"] and seen.rows()[99] == "row-v99"
        head = seen.page.locator(".comparison thead th").nth(1)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending" and sweep.context.metrics[0].better == "lower"
        assert seen.rows()[0] == "row-v0" and seen.rows()[-1] == "row-v149"


def test_rows_are_filtered_by_words_and_by_parameters(browser: Any, study: Page, tmp_path: Path) -> None:
    variants = {row.anchor: row.variant.parameters for row in study.context.rows if row.kind == "variant"}
    with visit(browser, study.html, tmp_path) as seen:
        seen.page.fill("#find", "IMPRINT 0.6")
        assert seen.rows() == ["row-criterion-imprint-budget-0-6"]
        assert seen.said == f"1 of {len(study.context.rows) - 1} networks are shown."
        seen.page.fill("#find", "nothing like it")
        assert seen.rows() == []
        seen.page.fill("#find", "")
        assert len(seen.rows()) == len(study.context.rows) - 1 and seen.said == ""
        for place, value in enumerate(("random", "0.8")):
            seen.page.locator(f"select[data-parameter='{place}']").select_option(label=value)
        expected = [a for a, of in variants.items() if (of["criterion"], of["budget"]) == ("random", "0.8")]
        assert seen.rows() == expected
        faded = seen.page.locator("svg .faded").count()
        assert faded and seen.page.locator(f"svg [data-row='{expected[0]}']:not(.faded)").count()


@pytest.mark.parametrize("scripted", [True, False])
def test_with_many_networks_the_page_opens_with_the_front(
    browser: Any, sweep: Page, tmp_path: Path, scripted: bool
) -> None:
    front = [row.anchor for row in sweep.context.front]
    assert len(front) == 15 and sweep.context.folded
    with visit(browser, sweep.html, tmp_path, java_script_enabled=scripted) as seen:
        shown = "#rows tr >> visible=true"
        assert seen.page.locator(shown).count() == len(front)
        assert seen.page.is_visible("#find") == scripted
        seen.page.check("#show-dominated")
        assert seen.page.locator(shown).count() == 150
        seen.page.uncheck("#show-dominated")
        assert seen.page.locator(shown).count() == len(front)
        if scripted:
            assert seen.said == "15 of 150 networks are shown."


def test_a_link_to_a_folded_network_shows_it(browser: Any, sweep: Page, tmp_path: Path) -> None:
    with visit(browser, sweep.html, tmp_path, "#row-v7") as seen:
        assert seen.page.is_visible("#row-v7") and seen.page.is_checked("#show-dominated")


def test_columns_can_be_thinned_out(browser: Any, study: Page, tmp_path: Path) -> None:
    with visit(browser, study.html, tmp_path) as seen:
        interval = seen.page.locator("#rows .interval").first
        beside = seen.page.locator("#rows .beside").first
        assert interval.is_visible() and beside.is_visible()
        seen.page.get_by_label("intervals").uncheck()
        seen.page.get_by_label("against control").uncheck()
        assert not interval.is_visible() and not beside.is_visible()


def test_a_point_says_what_it_is_and_leads_to_its_row(browser: Any, study: Page, tmp_path: Path) -> None:
    with visit(browser, study.html, tmp_path) as seen:
        points = seen.page.locator("svg.chart").first.locator("[data-row]")
        first, second = points.nth(0), points.nth(1)
        first.hover()
        assert seen.page.inner_text("#tip") == first.get_attribute("data-tip") == first.get_attribute("aria-label")
        assert "lit" in seen.page.locator(f"#{first.get_attribute('data-row')}").get_attribute("class").split()
        seen.page.mouse.move(0, 0)
        assert not seen.page.is_visible("#tip")
        first.focus()
        seen.page.keyboard.press("ArrowRight")
        assert seen.page.inner_text("#tip") == second.get_attribute("data-tip")
        assert (first.get_attribute("tabindex"), second.get_attribute("tabindex")) == ("-1", "0")
        seen.page.keyboard.press("Escape")
        assert not seen.page.is_visible("#tip")
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_url(f"**#{second.get_attribute('data-row')}")


def test_lines_of_the_recipe_and_steps_lead_to_each_other(browser: Any, study: Page, tmp_path: Path) -> None:
    line = next(
        line for recipe in study.context.recipes for line in recipe.lines if line.noun == "step" and line.places
    )
    anchor = line.places[-1][0]
    with visit(browser, study.html, tmp_path) as seen:
        step = seen.page.locator(f"[id='{anchor}']")
        assert not step.is_visible()  # the steps of all networks but the chosen one are folded
        seen.page.locator(f"#{line.anchor} .became").click()
        seen.page.locator(f"#{line.anchor} a[href='#{anchor}']").click()
        assert step.is_visible()
        step.locator(f"a[href='#{line.anchor}']").click()
        seen.page.wait_for_url(f"**#{line.anchor}")


def test_the_table_is_copied_as_markdown(browser: Any, study: Page, tmp_path: Path) -> None:
    with visit(browser, study.html, tmp_path, permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.fill("#find", "imprint")
        seen.page.click("#copy")
        seen.page.wait_for_function("document.querySelector('#count').textContent.includes('clipboard')")
        text = seen.page.evaluate("navigator.clipboard.readText()")
    head, rule, healthy, *rows = text.splitlines()
    metrics = study.context.metrics
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["network", *(m.name for m in metrics)]
    assert rule.count("---") == len(metrics) + 1 and healthy.startswith("| healthy |")
    chosen = next(row for row in study.context.rows if row.variant.chosen)
    (line,) = [row for row in rows if row.startswith(f"| {chosen.name} |")]
    assert all(cell.value in line for cell in chosen.cells)


def test_print_shows_what_is_folded_and_no_tools(browser: Any, study: Page, tmp_path: Path) -> None:
    with visit(browser, study.html, tmp_path) as seen:
        step = seen.page.locator(".steps li").last
        assert not step.is_visible()
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        seen.page.emulate_media(media="print")
        assert step.is_visible() and not seen.page.is_visible(".tools") and not seen.page.is_visible("#contents")
        assert seen.page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        seen.page.emulate_media(media="screen")
        assert not step.is_visible()


@pytest.mark.parametrize("width", [360, 800, 2400])
def test_no_width_of_a_window_makes_the_page_wider_than_it(
    browser: Any, study: Page, tmp_path: Path, width: int
) -> None:
    with visit(browser, study.html, tmp_path, viewport={"width": width, "height": 800}) as seen:
        seen.page.click("#contents button")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_name_without_a_space_makes_no_page_wider(browser: Any, main_record: dict[str, Any], tmp_path: Path) -> None:
    for number, variant in enumerate(main_record["variants"]):
        variant["name"] = "n" * 1000 + str(number)
    html = render(build(main_record), "html")["report.html"]
    for width in (360, 1000):
        with visit(browser, html, tmp_path, viewport={"width": width, "height": 800}) as seen:
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_table_that_scrolls_says_so_at_its_foot(browser: Any, sweep: Page, study: Page, tmp_path: Path) -> None:
    shade = "getComputedStyle(document.querySelector('.scroll.wide')).backgroundImage"
    for page, expected in ((sweep, True), (study, False)):
        with visit(browser, page.html, tmp_path) as seen:
            assert ("gradient" in seen.page.evaluate(shade)) == expected


def test_no_other_script_runs(browser: Any, main_record: dict[str, Any], texts_changed: Any, tmp_path: Path) -> None:
    plant = "<script>planted=1</script><img src=x onerror=planted=1>"
    context = build(texts_changed(main_record, lambda text: text + plant))
    html = render(context, "html")["report.html"]
    with visit(browser, html, tmp_path) as seen:
        assert seen.log == [] and seen.requests == []
        added = "const s = document.createElement('script'); s.textContent = 'planted = 1'; document.body.append(s)"
        seen.page.evaluate(f"() => {{ {added} }}")
        assert seen.page.evaluate("typeof planted") == "undefined"

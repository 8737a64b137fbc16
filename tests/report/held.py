"""What a record may hold, for tests that walk the forms of a report."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from recipelang.report.chart import Charts
from recipelang.report.context import ReportContext, build, compare
from recipelang.report.forms import made
from recipelang.report.templates import filled


def texts(context: ReportContext, form: Any) -> dict[str, str]:
    """The files of a form, without its charts, which have tests of their own."""
    card = made(form)
    files = {card.file: card.template, **getattr(card, "beside", {})}
    return {name: filled(card, template, context, Charts()) for name, template in files.items()}


def planted(text: str) -> Callable[[dict[str, Any], Any], ReportContext]:
    """Every free text of a record ends with this one."""
    return lambda record, change: build(change(record, lambda old: old + text))


def named(name: str) -> Callable[[dict[str, Any], Any], ReportContext]:
    """The variant has this name."""

    def changed(record: dict[str, Any], change: Any) -> ReportContext:
        record["variants"][1]["name"] = name
        record["variants"][2]["control_of"] = [name]
        return build(record)

    return changed


def one_class(record: dict[str, Any], change: Any) -> ReportContext:
    for variant in record["variants"]:
        variant["metrics"]["top1"] |= {"value": 1.0, "low": 1.0, "high": 1.0, "difference": 0.0, "noise": True}
    return build(record)


def no_test_split(record: dict[str, Any], change: Any) -> ReportContext:
    record["metrics"][1] |= {"name": "top1 on val", "split": "val"}
    for variant in record["variants"]:
        variant["metrics"]["top1 on val"] = variant["metrics"].pop("top1")
    return build(record)


def no_metrics(record: dict[str, Any], change: Any) -> ReportContext:
    record["metrics"] = []
    for variant in record["variants"]:
        variant["metrics"] = {}
    return build(record)


def nothing_in_common(record: dict[str, Any], change: Any) -> ReportContext:
    other = copy.deepcopy(record)
    other["metrics"] = [{"name": "psnr", "unit": "dB", "role": "quality", "better": "higher", "split": "test"}]
    for variant in other["variants"]:
        variant["metrics"] = {"psnr": {"value": 30.0, "unit": "dB"}}
    return compare([build(record, "a"), build(other, "b")])


def all_failed(record: dict[str, Any], change: Any) -> ReportContext:
    for variant in record["variants"][1:]:
        variant |= {"metrics": {}, "layers": [], "error": {"message": "the loss is NaN", "code": "RCP0805", "line": 6}}
    return build(record)


def only_healthy(record: dict[str, Any], change: Any) -> ReportContext:
    record["variants"] = record["variants"][:1]
    return build(record)


def not_finite(record: dict[str, Any], change: Any) -> ReportContext:
    for measured in record["variants"][1]["metrics"].values():
        measured |= {"value": float("nan"), "ratio": float("inf"), "difference": float("-inf")}
    return build(record)


def least(record: dict[str, Any], change: Any) -> ReportContext:
    """The fields without which there is no record."""
    variants = [{"name": v["name"], "kind": v["kind"]} for v in record["variants"]]
    kept = {"format": record["format"], "title": "", "recipe": {"path": "", "text": ""}}
    return build({**kept, "metrics": [], "variants": variants})


def nothing(record: dict[str, Any], change: Any) -> ReportContext:
    """Not even a healthy network."""
    return build(record | {"variants": []})


def many(record: dict[str, Any], change: Any) -> ReportContext:
    variant = record["variants"][1] | {"runs": [], "layers": []}
    record["variants"] += [variant | {"name": f"v{i}", "goes_on": False} for i in range(1000)]
    record["variants"][1]["goes_on"] = True
    return build(record)


def seeds_that_differ_in_number(record: dict[str, Any], change: Any) -> ReportContext:
    run = record["variants"][1]["runs"][0]
    record["variants"][1]["runs"] = [run | {"seed": seed} for seed in range(3)]
    record["variants"][1]["runs"][2] = run | {"seed": 2, "metrics": {}, "steps": run["steps"][:3]}
    return build(record)


INPUTS: dict[str, Callable[[dict[str, Any], Any], ReportContext]] = {
    "bars": planted("a|b `|` \\|"),
    "script": planted("<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"),
    "newlines": planted("\n\n# no heading\r\n- no item\n---\nbase_model: no/key\n"),
    "right to left": planted("\u202eabc\u202c\u200f\u2066x\u2069"),
    "latex": planted(r"\input{/etc/passwd} 100% $x$ {a_b^c} ~ \end{tabular} & # \\ [2em] * -- ?` ^^5c"),
    "yaml": planted("': \"{[- &a *a !!python/object:os.system %TAG @ ` # no"),
    "formula": planted("=1+1"),
    "letters": planted("é ß 中文 عربى 😀 e\u0301 \x00\x1b[31m \ud800"),
    "thousand letters": named("x" * 1000),
    "a formula as name": named("=HYPERLINK(1)"),
    "a long name in words": named("criterion=imprint, budget=0.5, " * 6 + "end"),
    "an empty name": named(""),
    "one class": one_class,
    "no test split": no_test_split,
    "no metrics": no_metrics,
    "nothing in common": nothing_in_common,
    "all failed": all_failed,
    "only healthy": only_healthy,
    "not finite": not_finite,
    "least": least,
    "nothing": nothing,
    "many": many,
    "seeds that differ in number": seeds_that_differ_in_number,
}

"""The front matter of a model card: what the Hugging Face Hub reads of a network."""

from __future__ import annotations

import re
from typing import Any

import yaml

from recipelang.report.context import ReportContext
from recipelang.report.measured import Metric
from recipelang.report.record import Step, Variant
from recipelang.report.rows import Row

#: metric → (its name on the Hub, the Hub's name of the task)
HUB = {
    "top1": ("accuracy", "image-classification"),
    "top5": ("accuracy", "image-classification"),
    "map": ("mean_average_precision", "image-classification"),
    "f1": ("f1", "image-classification"),
    "psnr": ("psnr", "image-to-image"),
    "ssim": ("ssim", "image-to-image"),
}
OTHER_TASK, OTHER_DATA = "other", "the data of the recipe"


def subjects(context: ReportContext) -> tuple[Row, ...]:
    """The networks that a card is about: those that the recipes end with and that reached their end."""
    return tuple(row for row in context.rows if row.kind == "variant" and row.goes_on and not row.failed)


def front_matter(context: ReportContext, form: Any) -> str:
    """The YAML between the two lines `---`.

    Args:
        context: of one run or several.
        form: the card with its settings (`methods/reports/model_card.py`).
    """
    found: dict[str, Any] = {"library_name": "recipelang"}
    if form.license:
        found["license"] = form.license
    found["tags"] = ["recipelang", "model-compression", *_verbs(context)]
    task = _task(context)
    if task != OTHER_TASK:
        found["pipeline_tag"] = task
    if form.base_model:
        found["base_model"] = form.base_model
        found["base_model_relation"] = "quantized" if "quantize" in _verbs(context) else "finetune"
    if form.dataset:
        found["datasets"] = [form.dataset]
    metrics = list(dict.fromkeys(_hub_metric(m) for m in context.metrics if m.role == "quality"))
    if metrics:
        found["metrics"] = metrics
    index = [entry for row in subjects(context) if (entry := _entry(context, row, form))["results"][0]["metrics"]]
    if index:
        found["model-index"] = index
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=2**20)


def _verbs(context: ReportContext) -> list[str]:
    """What was done to the networks, in the words of the language."""
    said: dict[str, None] = {}
    for row in subjects(context):
        for run in row.variant.runs:
            said |= {step.verb: None for step in run.steps if step.asked or step.reached or step.edits}
    return list(said)


def _task(context: ReportContext) -> str:
    known = (HUB.get(_base(metric.name), ("", ""))[1] for metric in context.metrics)
    return next((task for task in known if task), OTHER_TASK)


def _base(name: str) -> str:
    """`latency` of `latency(batch=64)`, `top1` of `top1 on val`."""
    return re.split(r"[ (]", name, maxsplit=1)[0]


def _hub_metric(metric: Metric) -> str:
    return HUB.get(_base(metric.name), (_base(metric.name), ""))[0]


def _entry(context: ReportContext, row: Row, form: Any) -> dict[str, Any]:
    """One network of `model-index`."""
    one = len(subjects(context)) == 1
    name = form.model_name or context.sources[row.origin].report.title
    healthy = next((r.variant for r in context.rows if r.origin == row.origin and r.kind == "healthy"), None)
    data = _data((healthy, row.variant), context, row.origin)
    splits = [cell.metric.split for cell in row.cells if cell.metric.split]
    metrics = []
    for cell in row.cells:
        measured = cell.measured
        if measured is not None and measured.value is not None and cell.metric.role != "property":
            unit = f" ({cell.metric.unit})" if cell.metric.unit not in ("", "%") else ""
            value = {"type": _hub_metric(cell.metric), "value": measured.value, "name": f"{cell.metric.name}{unit}"}
            metrics.append(value)
    dataset = {"name": data, "type": form.dataset or _slug(data), **({"split": splits[0]} if splits else {})}
    result = {"task": {"type": _task(context)}, "dataset": dataset, "metrics": metrics}
    return {"name": name if one else f"{name}: {row.name}", "results": [result]}


def _data(variants: tuple[Variant | None, ...], context: ReportContext, origin: int) -> str:
    """What the recipe calls its data; "the data of the recipe" where no step says."""
    steps = [step for variant in variants if variant for run in variant.runs[:1] for step in run.steps]
    named = context.sources[origin].report.environment.get("data")
    return next((name for step in steps if (name := _opened(step))), "") or (
        re.sub(r" \([0-9a-f]+\)$", "", named) if isinstance(named, str) and named else OTHER_DATA
    )


def _opened(step: Step) -> str:
    match = re.match(r"data ([a-z_][\w.]*)", step.text) if step.verb == "data" else None
    return match[1] if match else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-") or "data"

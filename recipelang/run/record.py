"""The record of a run: what every lane did and measured, as the JSON that reports are made from.

The form is `reports/report.schema.json`: numbers in base units, healthy first, then variants, then controls.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from recipelang.catalogue import find, spell
from recipelang.errors import Diagnostic, Refusal
from recipelang.kinds import Measurement, Task
from recipelang.measuring.differences import over_seeds, paired_difference, seed_difference
from recipelang.plan import CURRENT, Reading
from recipelang.run.lanes import Lane, by_variant
from recipelang.run.measurer import deployment
from recipelang.run.readings import Readings
from recipelang.surgery.accelerated import ways
from recipelang.surgery.deployed import execution
from recipelang.surgery.network import Network

#: columns of a report whose recipe has no `measure`, after the task's own
DEFAULT_COLUMNS = ("latency", "flops", "params", "size", "sparsity")
Numbers = dict[str, Any]


def columns_of(lanes: Sequence[Lane], task: Task) -> list[Reading]:
    """The columns that `measure` asked for, in order; the default ones where there is no `measure`."""
    asked = [reading for lane in lanes for reading in lane.columns]
    if not asked:
        made = [_metric(name) for name in (*task.metrics[:1], *DEFAULT_COLUMNS)]
        asked = [Reading(metric, CURRENT) for metric in made]
    unique: dict[str, Reading] = {}
    for reading in asked:
        unique.setdefault(title(reading), reading)
    return list(unique.values())


def title(reading: Reading) -> str:
    """The heading of a column: the metric, and the data where it is not the recipe's first or not its test split."""
    places = [reading.data] if reading.data else []
    places += [reading.split] if reading.split != "test" and reading.metric.source == "predictions" else []
    return f"{spell(reading.metric)}{' on ' + ' '.join(places) if places else ''}"


def columns_json(columns: Sequence[Reading]) -> list[dict[str, Any]]:
    """The columns as the report describes them."""
    return [
        {
            "name": title(r),
            "unit": r.metric.unit,
            "role": r.metric.role,
            "better": r.metric.better,
            "split": r.split if r.metric.source == "predictions" else "",
        }
        for r in columns
    ]


def variants_json(lanes: Sequence[Lane], columns: Sequence[Reading], readings: Readings) -> list[dict[str, Any]]:
    """Healthy and every variant and control, measured: one run per seed and their mean."""
    healthy = [
        lane.fork(path=("healthy",), parameters={}, current=lane.healthy, steps=_before_healthy(lane), error=None)
        for lane in lanes
        if lane.healthy
    ]
    first: dict[tuple[str, int], Lane] = {}
    for lane in healthy:
        if lane.healthy:
            first.setdefault((lane.healthy.content, lane.seed), lane)
    contents = {content for content, _ in first}
    shown = list(first.values()) if len(contents) > 1 else list(first.values())[:1]
    groups = [("healthy", "healthy", shown)]
    groups += [(name, _kind(group[0]), group) for name, group in by_variant(list(lanes)).items()]
    return [_variant(name, kind, group, columns, readings) for name, kind, group in groups if group]


def _kind(lane: Lane) -> str:
    return "control" if lane.control_of else "variant"


def _before_healthy(lane: Lane) -> list[Any]:
    """The records up to the first step that compresses: those that every variant shares."""
    return list(lane.steps[: lane.shared])


def _variant(
    name: str, kind: str, group: Sequence[Lane], columns: Sequence[Reading], readings: Readings
) -> dict[str, Any]:
    runs, per_seed = [], []
    error = next((lane.error for lane in group if lane.error), None)
    for lane in group:
        numbers: dict[str, Numbers] = {}
        whole = lane.written or not lane.error
        if lane.current and whole:
            for reading in columns:
                try:
                    numbers[title(reading)] = _numbers(reading, lane, readings)
                except Refusal as refusal:
                    readings.trouble.append(f"{name}: {refusal.message}")
        per_seed.append(numbers)
        runs.append(
            {
                "seed": lane.seed if lane.seeded else None,
                "folder": lane.folder if kind != "healthy" and whole else "",
                "metrics": numbers,
                "steps": [asdict(step) for step in (lane.steps if kind == "healthy" else lane.steps[lane.shared :])],
            }
        )
    current = group[0].current
    return {
        "name": name,
        "kind": kind,
        "parameters": dict(group[0].parameters),
        "control_of": list(group[0].control_of),
        "error": trouble(error) if error else None,
        "chosen": any(lane.chosen for lane in group),
        "metrics": {title(r): _over_seeds(r, per_seed) for r in columns if all(title(r) in n for n in per_seed)},
        "layers": _layers(readings.network(current), columns, readings)
        if current and (group[0].written or not error)
        else [],
        "runs": runs,
    }


def _layers(network: Network, columns: Sequence[Reading], readings: Readings) -> list[dict[str, Any]]:
    """How each layer executes, wherever the network was timed and kernels were chosen; else as a CPU does."""
    clocks = {deployment(r.metric): r.metric for r in columns if r.metric.source == "clock"}
    found = []
    for how, metric in clocks.items() if network.accelerated else ():
        with suppress(Refusal):  # a column that could not be measured has said why already
            module = readings.measurer.deploy(metric, network)
            if ways(module):
                found += [{**row, "on": str(how)} for row in execution(network, module)]
    return found or execution(network)


def trouble(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as the report shows it."""
    line = diagnostic.span.line if diagnostic.span else None
    return {"code": diagnostic.code, "message": diagnostic.message, "help": diagnostic.help, "line": line}


def _numbers(reading: Reading, lane: Lane, readings: Readings) -> Numbers:
    """One cell of one run: the value, and how it stands against healthy."""
    reading = replace(reading, subject=CURRENT)
    mine = readings.measure(reading, readings.network(lane.current), lane)  # type: ignore[arg-type]
    cell: Numbers = {
        "value": mine.value,
        "low": mine.low,
        "high": mine.high,
        "interval": mine.interval,
        "n": mine.n,
        "unit": reading.metric.unit,
        "noise": None,
        "note": mine.note,
    }
    if lane.healthy is None or lane.current is None:
        return cell
    theirs = readings.measure(reading, readings.network(lane.healthy), lane)
    cell["healthy"] = theirs.value
    cell |= _against(mine, theirs)
    if lane.current == lane.healthy:
        cell["noise"] = None
    return cell


def _against(mine: Measurement, theirs: Measurement) -> Numbers:
    """Ratio and difference, each with an interval, and whether the difference is inside the noise."""
    against: Numbers = {"difference": mine.value - theirs.value}
    if mine.ratio is not None:
        against |= {"ratio": mine.ratio, "ratio_low": mine.ratio_low, "ratio_high": mine.ratio_high}
        against["noise"] = bool((mine.ratio_low or 0) <= 1 <= (mine.ratio_high or 0))
    elif theirs.value:
        ratio = mine.value / theirs.value
        against |= {"ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}
    if mine.per_sample is not None and theirs.per_sample is not None and len(mine.per_sample) == len(theirs.per_sample):
        paired = paired_difference(mine.per_sample, theirs.per_sample)
        against |= {
            "difference": paired.value,
            "difference_low": paired.low,
            "difference_high": paired.high,
            "noise": paired.within_noise,
        }
    return against


def _over_seeds(reading: Reading, per_seed: Sequence[Mapping[str, Numbers]]) -> Numbers:
    """The mean over seeds with its t interval; with one seed the run's own numbers."""
    cells = [numbers[title(reading)] for numbers in per_seed]
    if len(cells) == 1:
        return dict(cells[0])
    spread = over_seeds([c["value"] for c in cells])
    mean: Numbers = {
        "value": spread.mean,
        "low": spread.low,
        "high": spread.high,
        "std": spread.std,
        "interval": f"t over {len(cells)} seeds",
        "n": len(cells),
        "unit": reading.metric.unit,
        "noise": None,
        "note": "; ".join(dict.fromkeys(c["note"] for c in cells if c["note"])),
    }
    if all("healthy" in c for c in cells):
        difference = seed_difference([c["value"] for c in cells], [c["healthy"] for c in cells])
        mean["healthy"] = statistics.fmean(c["healthy"] for c in cells)
        mean |= {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high}
        mean["noise"] = difference.within_noise if difference.low != difference.high else None
    ratios = [c["ratio"] for c in cells if c.get("ratio") is not None]
    if len(ratios) == len(cells):
        spread = over_seeds(ratios)
        mean |= {"ratio": spread.mean, "ratio_low": spread.low, "ratio_high": spread.high}
    return mean


def _metric(name: str) -> Any:
    found = find("metric", name)
    if found is None:
        raise Refusal("RCP0906", f"there is no metric `{name}`", "`recipe list metric` shows those there are")
    return found()

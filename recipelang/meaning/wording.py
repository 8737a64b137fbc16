"""What messages call the kinds of methods, and where each belongs in a statement."""

from __future__ import annotations

from typing import NamedTuple

from recipelang.units import listed


class KindWords(NamedTuple):
    """`an optimizer`, `optimizers`, and the place where one is written."""

    one: str
    many: str
    place: str


KINDS: dict[str, KindWords] = {
    "model": KindWords("a model", "models", "after `model`"),
    "data": KindWords("a data set", "data sets", "after `data`"),
    "task": KindWords("a task", "tasks", "after `task`"),
    "metric": KindWords("a metric", "metrics", "after `measure` and in conditions"),
    "criterion": KindWords("a criterion", "criteria", "after `by`"),
    "unit": KindWords("a unit", "units", "after `prune`"),
    "allocation": KindWords("an allocation", "allocations", "after `prune … with`"),
    "loss": KindWords("a loss", "losses", "after `with`"),
    "pattern": KindWords("a sparsity pattern", "patterns", "after `sparsify`"),
    "permutation": KindWords("a permutation", "permutations", "after `sparsify … with`"),
    "quantizer": KindWords("a quantizer", "quantizers", "after `quantize … by`"),
    "hardware": KindWords("a hardware profile", "hardware profiles", "after `quantize … with`"),
    "widths": KindWords("a search for widths", "searches for widths", "after `quantize … until … with`"),
    "rounder": KindWords("a rounder", "rounders", "after `quantize … with`"),
    "sharing": KindWords("a way to share values", "ways to share values", "after `share … by`"),
    "encoder": KindWords("an encoder", "encoders", "after `encode by`"),
    "source": KindWords("a source of samples", "sources of samples", "after `quantize … on`"),
    "optimizer": KindWords("an optimizer", "optimizers", "after `with`"),
    "companion": KindWords("a companion of a training", "companions", "after `with`"),
    "schedule": KindWords("a schedule", "schedules", "after `over`"),
    "ramp": KindWords("a ramp", "ramps", "in a setting: `lr=cosine(1e-3, to=0)`"),
    "kernel": KindWords("a kernel", "kernels", "after `accelerate with`"),
    "runtime": KindWords("a runtime", "runtimes", "in a setting: `latency(runtime=onnxruntime)`"),
    "export": KindWords("an export format", "export formats", "after `export`"),
    "report": KindWords("a report format", "report formats", "after `report`"),
    "tracker": KindWords("a tracker", "trackers", "in recipe.yaml, as `tracking: mlflow`, and after `--track`"),
}


def one_of(kinds: tuple[str, ...]) -> str:
    """`a companion, an optimizer or a loss`."""
    return listed((KINDS[kind].one for kind in kinds), last="or")


#: of more names than this, a message shows the first ones and how many more there are
MOST_LISTED = 40


def listing(names: tuple[str, ...] | list[str]) -> str:
    """`a`, `b`, `c`: names as a help line shows them; "none yet" where there are none."""
    more = len(names) - MOST_LISTED
    shown = names if more < 2 else (*names[:MOST_LISTED],)
    return ", ".join(f"`{name}`" for name in shown) + (f" and {more} more" if more > 1 else "") or "none yet"

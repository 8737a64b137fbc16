"""What determines a step: the ingredients of its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recipelang.catalogue import spell
from recipelang.images.preprocessing import entries
from recipelang.kinds import Dataset, Task, inputs_of, names_of
from recipelang.measuring.hardware import fingerprint
from recipelang.plan import Built, Operation, Reading, canonical, parts_of
from recipelang.run.lanes import Lane
from recipelang.run.manifest import file_digest
from recipelang.run.options import Options
from recipelang.run.tasks import deciding, measuring
from recipelang.stages.context import nth_seed
from recipelang.training.machine import choose_precision

#: more reasons than this are not shown, and no more characters of a value
MOST_REASONS, LONGEST_VALUE = 6, 60


def built_ingredients(
    operation: Operation, built: Built, datasets: Mapping[str, Dataset], lane: Lane, options: Options, task: Task
) -> dict[str, Any]:
    """Ingredients of a step that builds a network: the method, the contents of its files, the task, the data's shape
    and classes."""
    method, data = built.method, datasets.get("")
    others = {} if built.name else {name: _classes(other) for name, other in datasets.items() if name}
    return {
        "verb": operation.verb,
        "version": operation.version,
        "operation": canonical(method),
        # A missing file is refused by the model, which knows what the file is for.
        "files": [file_digest(path) if path.is_file() else None for path in method.files(options.resolve)],
        "classes": _classes(data),
        "input_shape": list(data.input_shape) if data else None,
        **inputs_of(data).json(),
        "preprocessing": entries(data.preprocessing) if data and data.preprocessing else None,
        "named": bool(built.name),
        "other classes": sorted(others.items()),
        "seed": None if method.pretrained else lane.seed,
        **measuring(task),
        **({"target_shape": list(data.target_shape)} if data and data.target_shape else {}),
    }


def _classes(data: Dataset | None) -> list[str] | None:
    names = names_of(data)
    return None if names is None else list(names)


def step_ingredients(operation: Operation, data: Dataset, lane: Lane, options: Options, task: Task) -> dict[str, Any]:
    """Ingredients of any other step that makes a network.

    Everything that determines the result and nothing else: paths, names of variants, layout of the text and
    library versions are left out, so that a comment or a moved folder reruns nothing.
    """
    found: dict[str, Any] = {
        "verb": operation.verb,
        "version": operation.version,
        "operation": canonical(operation),
        "parent": lane.current.content if lane.current else None,
        "data": data.fingerprint,
        "seed": seed_of(operation, lane),
        "device": options.device,
        "smoke": options.smoke,
    }
    readings = [part for part in parts_of(operation) if isinstance(part, Reading)]
    if readings and lane.healthy:
        found["healthy"] = lane.healthy.content
    versions = {spell(r.metric): r.metric.version for r in readings if getattr(r.metric, "version", 1) != 1}
    if versions:
        found["metrics"] = versions
    timed = any(r.metric.source in ("clock", "execution") or getattr(r.metric, "machine", False) for r in readings)
    if timed or operation.role == "execution":  # how a layer is executed is a matter of the machine
        found["hardware"] = fingerprint()
    named = [reading.subject.name for reading in readings if reading.subject.kind == "state"]
    needed = [*operation.needs().states, *named]
    if needed:
        states = {name: lane.state(name) for name in needed if name != "self"}
        found["states"] = {name: state.content for name, state in states.items() if state}
    if _trains(operation):
        found["threads"] = options.threads
        training = operation.needs().training
        found["precision"] = choose_precision(training.precision if training else "auto", options.device)
    if any(reading.metric.source == "predictions" for reading in readings):
        found |= measuring(task)
    criterion = operation.needs().criterion
    of_loss = criterion is not None and any("gradients" in need or need == "network" for need in criterion.needs)
    if _trains(operation) or of_loss:
        found |= deciding(task)
    return found


def seed_of(operation: Operation, lane: Lane) -> int:
    """The seed of a step: the lane's, advanced by the trainings before it if it trains itself."""
    return nth_seed(lane.seed, len(lane.trace)) if _trains(operation) else lane.seed


def _trains(operation: Operation) -> bool:
    return operation.role == "training" or operation.needs().training is not None


def difference(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Why a step is not in the store: its differences from the most similar entry, in words."""
    words = {
        "parent": "a step above changed",
        "data": "the data changed",
        "seed": "a different seed",
        "threads": "a different number of threads",
        "precision": "a different precision",
        "device": "a different device",
        "healthy": "`healthy` changed",
        "states": "a teacher changed",
        "hardware": "measured on different hardware",
        "version": "a newer version of this step",
        "metrics": "a newer version of a metric that it reads",
        "files": "a file of weights or code changed",
        "classes": "the data has different classes",
        "input_shape": "the data has a different shape",
        "ids": "the inputs of the data are other numbers",
        "padding": "the inputs of the data are filled up with another number",
        "preprocessing": "the data prepares its images differently",
        "target_shape": "the data's targets have a different shape",
        "task": "a different task, or other settings of it",
        "other classes": "a second data set has different classes",
        "smoke": "run with a different `--smoke`",
    }
    reasons = list(_setting_differences(new.get("operation"), old.get("operation")))
    reasons += [reason for name, reason in words.items() if new.get(name) != old.get(name)]
    shown = reasons if len(reasons) <= MOST_REASONS else [*reasons[:MOST_REASONS], "and more"]
    return "; ".join(shown) or "never run"


def _setting_differences(new: Any, old: Any, name: str = "") -> Iterator[str]:
    """The settings in which two canonical operations differ: `` `lr` was 0.01, is 0.001 ``."""
    if new == old:
        return
    if isinstance(new, dict) and isinstance(old, dict) and new.get("is") == old.get("is"):
        if new["is"] == "Duration":
            yield f"the duration was {_brief(old)}, is {_brief(new)}"
        else:
            for field in new:
                yield from _setting_differences(new[field], old.get(field), field)
    elif name:
        what = "the loss" if name == "losses" else f"`{name}`"
        yield f"{what} was {_brief(old)}, is {_brief(new)}"


def _brief(value: Any) -> str:
    """A canonical value in a few characters."""
    whole = _said(value)
    return whole if len(whole) <= LONGEST_VALUE else f"{whole[: LONGEST_VALUE - 1]}…"


def _said(value: Any) -> str:
    """A canonical value as a recipe writes it, as far as that is known."""
    if isinstance(value, dict):
        kind = value.get("is", "").rpartition(".")[2]
        if kind == "Duration":
            return f"{value['count']:g} {value['unit']}"
        if kind == "Term":
            weight = "" if value["weight"] == 1 else f"{_said(value['weight'])} * "
            return f"{weight}{_said(value['loss'])}"
        inner = ", ".join(f"{k}={_said(v)}" for k, v in value.items() if k != "is" and v not in (None, "", []))
        return f"{kind}({inner})" if inner else kind
    if isinstance(value, list | tuple):
        terms = all(isinstance(one, dict) and one.get("is", "").rpartition(".")[2] == "Term" for one in value)
        return (" + " if terms else ", ").join(map(_said, value)) or "none"
    if value is None:
        return "left out"
    return f"{value:g}" if isinstance(value, float) else str(value)

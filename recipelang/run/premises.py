"""What an answer rests on: if all of it is as it was, a run finds every step in the store and ends in the same way.

    the key       the recipe with every setting and place in its text, the options, the paths that its names mean,
                  this machine and the software on it (`run/surroundings.py`)
    the premises  fingerprints of the data, digests of the files of models, and the entries of the store that were read,
                  each with its seal: one that was made again since, as by `--fresh`, may hold other numbers

The walk is a function of these, so nothing has to be walked to know how it ends. Code that the recipe brings along
(`--trust`) may depend on anything, and so has no answer that is given again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import Dataset, Progress
from recipelang.plan import Built, Node, Plan, parts_of, steps_of, whole
from recipelang.run import opening
from recipelang.run.manifest import SEAL, file_digest
from recipelang.run.options import Options
from recipelang.run.store import Store, key_of
from recipelang.run.surroundings import surroundings
from recipelang.run.tasks import task_of

#: options that decide nothing but where things are and who is told, or that are in the key in another way
ELSEWHERE = ("out", "store", "command", "resolve", "recipe_dir", "fresh", "tracking")


def key_for(plan: Plan, options: Options) -> str | None:
    """The key of the answer to a plan; None where no answer is given again.

    Args:
        plan: from `check`.
        options: with the number of threads.
    """
    if options.trust:
        return None
    try:
        asked = {name: whole(value) for name, value in vars(options).items() if name not in ELSEWHERE}
        return key_of(
            {
                "answer": 1,
                "plan": whole(plan),
                "options": asked,
                "places": _places(plan.nodes, options),
                "surroundings": surroundings(),
            }
        )
    except TypeError:  # a setting of a plug-in that is not a plain value
        return None


def _places(nodes: tuple[Node, ...], options: Options) -> dict[str, str]:
    """What every text in the settings of the plan would mean as a path: a profile may give a name another meaning."""
    found: dict[str, str] = {}
    for step in steps_of(nodes):
        for text in (text for part in parts_of(step.operation) for text in _texts(part)):
            try:
                found[text] = str(options.resolve(text))
            except Refusal as refusal:
                found[text] = refusal.message
    return found


def _texts(part: Any) -> Iterator[str]:
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, str):
            yield value


def premises(plan: Plan, options: Options, datasets: Mapping[str, Dataset], store: Store) -> dict[str, Any]:
    """What an answer that was just found rests on, as JSON.

    Args:
        datasets: that were opened.
        store: with the entries that were used.
    """
    built = (effect.method for step in steps_of(plan.nodes) if isinstance(effect := _effect(step), Built))
    files = {str(path): path for method in built for path in method.files(options.resolve)}
    return {
        "data": {name: _known(data) for name, data in datasets.items()},
        "files": {name: _digest(path) for name, path in files.items()},
        "entries": {key: _seal(store, key) for key in sorted(store.used)},
    }


def hold(found: Mapping[str, Any], plan: Plan, options: Options, store: Store, progress: Progress) -> bool:
    """Whether all that an answer rests on is as it was.

    Args:
        found: the premises.
        store: one that only looks; the entries of the answer are verified and count as used.
    """
    if not all(store.find(key) and _seal(store, key) == seal for key, seal in found["entries"].items()):
        return False
    try:
        if any(_digest(Path(name)) != digest for name, digest in found["files"].items()):
            return False
        task = task_of(plan.nodes)
        opened = {
            effect.name: _known(opening.opened(step, effect, options, task, progress))
            for step, effect in opening.asked(plan.nodes)
        }
    except (StepFailed, OSError):  # the walk will say what is wrong
        return False
    finally:
        progress.stop()
    return opened == found["data"]


def _seal(store: Store, key: str) -> str:
    """The digest of an entry; "" where there is none."""
    try:
        return (store.place(key) / SEAL).read_text("ascii")
    except (OSError, ValueError):
        return ""


def _effect(step: Any) -> Any:
    return step.operation.needs().writes


def _known(data: Dataset) -> dict[str, Any]:
    """What is compared of a data set: all that decides its batches, and what a report says about it."""
    return {"name": data.name, "fingerprint": data.fingerprint, "notes": list(getattr(data, "notes", ()))}


def _digest(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None

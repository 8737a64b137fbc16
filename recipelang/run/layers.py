"""The layers of a network beside those of healthy, as the record holds them: what they are, and what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.kinds.layer_times import side_by_side
from recipelang.measuring.forms import Form, forms_of
from recipelang.run.states import State
from recipelang.run.store import Store, key_of
from recipelang.surgery.network import Network

#: changes with what is counted, so that stored forms are not read
VERSION = 1


def forms(
    current: State, healthy: State | None, store: Store, load: Callable[[State], Network]
) -> list[dict[str, Any]]:
    """`Variant.forms`: every layer of healthy and of the network, found by its path.

    Raises:
        Refusal: RCP0731: the products of one of the two cannot be observed.
    """
    own = _known(current, store, load)
    before = _known(healthy, store, load) if healthy else {}
    return [
        {
            "layer": name,
            "kind": (own.get(name) or before[name])["kind"],
            "healthy": _form(before.get(name)),
            "own": _form(own.get(name)),
        }
        for name in side_by_side(list(before), list(own))
    ]


def _known(state: State, store: Store, load: Callable[[State], Network]) -> Mapping[str, dict[str, Any]]:
    """Layer → its form; counted once for each network, and then read from the store."""
    ingredients = {"verb": "forms", "version": VERSION, "content": state.content}
    key = key_of(ingredients)
    with store.hold(key):
        entry = store.find(key)
        rows = entry.record.get("forms") if entry is not None else None
        if not _sound(rows):
            rows = [asdict(form) for form in forms_of(load(state))]
            store.work(key)
            store.finish(key, ingredients, {"forms": rows}, [])
    return {row["layer"]: asdict(Form(**row)) for row in rows}  # type: ignore[union-attr]  # in the order of the fields


def _sound(rows: Any) -> bool:
    """Whether an entry holds what this version has written."""
    try:
        return [asdict(Form(**row)) for row in rows] == rows
    except TypeError:
        return False


def _form(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if row is None else {name: value for name, value in row.items() if name not in ("layer", "kind")}


def profiles(measured: Iterable[tuple[str, Any, Measurement]]) -> list[dict[str, Any]]:
    """`Variant.profiles`: of the columns that have layers.

    Args:
        measured: heading, metric and measurement of each column.
    """
    return [
        {**asdict(found.layers), "name": heading, "on": where(metric), "note": found.note}
        for heading, metric, found in measured
        if found.layers is not None
    ]


def where(metric: Any) -> str:
    """What a clock's network executes on: `torch, cpu, float32, batch 2`."""
    how = metric.deployment
    threads = f", {how.threads} threads" if how.threads > 1 else ""
    return f"{spell(metric.runtime)}, {how.device}, {how.precision}, batch {how.batch}{threads}"


def untold(refusal: Refusal) -> str:
    """Why a row has no forms, for the report."""
    return f"width, zeros and bits of its layers are not shown: {refusal.message}"

"""Train the network to agree with its teachers: named states of this recipe, or other models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.kinds import Source
from recipelang.stages._instead import Instead
from recipelang.stages._made import made
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.stages.train import tune
from recipelang.surgery.network import Network, content
from recipelang.training.positions import added, compares_outputs, pairings, shown
from recipelang.training.teachers import Teacher, all_translated
from recipelang.verbs.distill import Distill


def run(operation: Distill, context: Context) -> Outcome:
    """Distill into `context.network`; masks stay.

    Raises:
        Refusal: RCP0914: a teacher does not know a class of the network, or reads other channels; RCP0821 … RCP0823: a
            loss finds nothing to compare.
    """
    for first, assistant in operation.assisted:
        _require_between(first, assistant, context.network, context.state)
    named = [Teacher(name, context.state(name)) for name in operation.teachers]
    teachers, notes = all_translated(named, context.network, outputs=compares_outputs(operation.training))
    _require_different(operation, context.network, named)
    source = operation.samples.source if operation.samples else None
    if source is None:
        outcome = tune(context, operation.training, operation.samples, teachers)
        return replace(outcome, note="; ".join(filter(None, (*notes, outcome.note))))
    _require_source(source, teachers[0], context.network)
    images, told = made(source, replace(context, network=teachers[0].network))
    outcome = tune(replace(context, data=Instead(images)), operation.training, None, teachers)
    return replace(outcome, note="; ".join(filter(None, (*notes, told, outcome.note))))


def foresee(operation: Distill, network: Network, known: Known) -> Foresight:
    """Which positions of the network and its teachers are compared.

    Raises:
        Refusal: as of `run`, as far as the teachers are known.
    """
    for first, assistant in operation.assisted:
        _require_between(first, assistant, network, known)
    there = [Teacher(name, teacher) for name in operation.teachers if (teacher := known(name))]
    if len(there) < len(operation.teachers):
        return Foresight()
    teachers, _ = all_translated(there, network, outputs=compares_outputs(operation.training))
    if operation.samples and operation.samples.source:
        _require_source(operation.samples.source, teachers[0], network)
    edits = map(str, added(operation.training, network))
    return Foresight((*edits, *shown(operation.training, pairings(operation.training, network, teachers), teachers)))


def _require_source(source: Source, teacher: Teacher, student: Network) -> None:
    """Refuse to make images from a teacher that cannot be looked into, or reads other sizes than the network.

    Raises:
        Refusal: RCP1439, RCP0914.
    """
    source.require_network(teacher.network)
    if teacher.network.input_shape != student.input_shape:
        theirs, mine = ("×".join(map(str, one.input_shape)) for one in (teacher.network, student))
        raise Refusal(
            "RCP0914",
            f"images made from the teacher `{teacher.name}` are {theirs}, and the network reads {mine}",
            "use a teacher for images of the same size",
        )


def _require_different(operation: Distill, network: Network, teachers: Sequence[Teacher]) -> None:
    """Refuse to train networks together of which two are the same: they would stay the same.

    Raises:
        Refusal: RCP1521.
    """
    if not any(getattr(term.loss, "peers", False) for term in operation.training.losses):
        return
    names: dict[str, str] = {content(network): "the network"}
    for teacher in teachers:
        if (other := names.setdefault(content(teacher.network), f"`{teacher.name}`")) != f"`{teacher.name}`":
            raise Refusal(
                "RCP1521",
                f"{other} and its peer `{teacher.name}` are the same, so neither has anything to tell the other",
                f"let one begin with other weights: `start from {teacher.name}`, `train from scratch for 1 epochs`, "
                "`keep as other`",
            )


def _require_between(first: str, assistant: str, network: Network, known: Known) -> None:
    """Refuse an assistant between two networks that are alike.

    Raises:
        Refusal: RCP1522.
    """
    begin, middle = known(first), known(assistant)
    if begin is None or middle is None or _build(begin) != _build(network) or _build(middle) == _build(network):
        return
    raise Refusal(
        "RCP1522",
        f"the assistant `{assistant}` is between equal networks: it learned from `{first}`, which is built like the "
        "network that is to learn from it",
        f"`distill from {first}`, or let the network be smaller than `{assistant}`",
    )


def _build(network: Network) -> str:
    """What a network is beside its weights."""
    told = network.described()
    settings = {name: value for name, value in told["source"].get("settings", {}).items() if name != "weights"}
    parts = {
        "source": {**told["source"], "settings": settings},
        **{name: told[name] for name in ("edits", "restrictions")},
    }
    return json.dumps(parts, sort_keys=True)

"""Readings: `latency(batch=8)`, `layers.latency`, `top1 drop(from=control)` become a metric of a subject."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.errors import did_you_mean, nearest
from recipelang.meaning import names, tasks, trees
from recipelang.meaning.lookup import lookup, misspelt_clause
from recipelang.meaning.settings import bind
from recipelang.meaning.wording import listing
from recipelang.plan import CURRENT, Reading, Subject
from recipelang.syntax import nodes
from recipelang.syntax.show import show

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader

CHANGES = ("drop", "rise")


def reading(reader: Reader, node: Any, split: str, data: str, rest: str = "< …") -> Reading | None:
    """A metric of something; None where something was noted.

    Args:
        reader: the statement that contains it.
        node: a metric's call, perhaps with `drop` or `rise` after it.
        split, data: where it is read.
        rest: what follows it in a condition, for help lines.
    """
    close = _misspelt(node)
    if close:
        reader.misspelt(close)
        return None
    words = trees.words(node)
    if not all(isinstance(word, nodes.Call) for word in words):
        reader.refuse(
            "RCP0601", f"`{show(node)}` is not a metric", node.span, f"metrics: {listing(catalogue.names('metric'))}"
        )
        return None
    if len(words) > 2:
        reader.refuse(
            "RCP0601", f"`{show(node)}` is not a metric", words[2].span, "write a metric, and `drop` or `rise` after it"
        )
        return None
    if len(words) == 2 and words[0].name in CHANGES:
        help = f"write `{show(words[1])} {words[0].name}`"
        reader.refuse("RCP0601", f"`{words[0].name}` comes after its metric", words[0].span, help)
        return None
    found = _metric(reader, words[0])
    if found is None:
        return None
    subject, metric = found
    made = Reading(metric, subject, split=split, data=data, span=node.span)
    return _changed(reader, made, words[0], words[1], rest) if len(words) == 2 else made


def _misspelt(node: Any) -> tuple[nodes.Call, str] | None:
    found = misspelt_clause(node)
    return found if found and nearest(found[0].name, (*CHANGES, found[1])) == found[1] else None


def _metric(reader: Reader, call: nodes.Call) -> tuple[Subject, Any] | None:
    """The metric, and whose it is: `latency`, `healthy.latency`, `layers.latency`."""
    subject = CURRENT
    if len(call.path) > 1:
        owner = _subject(reader, call)
        if owner is None:
            return None
        subject = owner
        call = dataclasses.replace(call, path=call.path[-1:])
    found = lookup(call, ("metric",), "a condition" if reader.verb != "measure" else "`measure`", reader.refuse)
    if found is None or not tasks.has(reader.flow.task, *found, call.name, call.name_span, reader.refuse):
        return None
    metric = bind(call, found[1], reader.refuse)
    return None if metric is None else (subject, metric)


def _subject(reader: Reader, call: nodes.Call) -> Subject | None:
    """The state or variant before the dot."""
    flow, owner = reader.flow, call.path[0]
    if len(call.path) > 2:
        reader.refuse(
            "RCP0205", f"`{call.name}` has one dot too many", call.name_span, "write `STATE.METRIC` or `VARIANT.METRIC`"
        )
        return None
    if owner.text in flow.variants:
        full = flow.variants[owner.text]
        if not full:
            message = f"variant `{owner.text}` ends in variants of its own and has no single {call.path[1].text}"
            reader.refuse("RCP0213", message, owner.span, "`choose by …` at its end, or name one of the inner variants")
            return None
        if full in reader.notes.mentions.variants:
            reader.notes.mentions.use(reader.notes.path, owner.span, reader.notes.mentions.variants[full])
        return Subject("variant", full)
    if owner.text == "current":
        return CURRENT
    if owner.text == "recovered" and not flow.recovered:
        names.no_recovered(reader, owner.span)
        return None
    if flow.is_state(owner.text):
        reader.use(owner.text, owner.span)
        return Subject("state", owner.text)
    everything = (*flow.states, *flow.variants)
    guess = did_you_mean(owner.text, everything)
    help = f"{guess}here: {listing(everything)}"
    reader.refuse("RCP0205", f"there is no state or variant `{owner.text}` here", owner.span, help)
    return None


def _changed(reader: Reader, made: Reading, metric: nodes.Call, change: nodes.Call, rest: str) -> Reading | None:
    """`drop` and `rise`, which only qualities have, each in its own direction."""
    name = show(metric)
    if change.name not in CHANGES and change.path[0].text in catalogue.names("metric"):
        joins = "a comma" if reader.verb == "measure" else "`and`, a comparison or a comma"
        message = f"`{change.name}` cannot follow `{name}`"
        reader.refuse("RCP0601", message, change.name_span, f"write {joins} between two metrics")
        return None
    if change.name not in CHANGES:
        guess = did_you_mean(change.name, CHANGES)
        reader.refuse(
            "RCP0601",
            f"`{change.name}` cannot follow `{name}`",
            change.span,
            f"{guess}a metric takes `drop` or `rise`",
        )
        return None
    if made.metric.role == "quality":
        right = "drop" if made.metric.better == "higher" else "rise"
        if change.name != right:
            word = "lower" if right == "rise" else "higher"
            message = f"{word} is better for {name}: a {change.name} is an improvement"
            reader.refuse("RCP0603", message, change.span, f"write `{name} {right} {rest}`")
            return None
    elif made.metric.role != "cost":  # a cost is refused with its bound, where a better condition can be offered
        reader.refuse("RCP0602", f"{name} has no {change.name}", change.span, f"compare it directly: `{name} > …`")
        return None
    against = _against(reader, change)
    return None if against is None else dataclasses.replace(made, form=change.name, against=against)


def _against(reader: Reader, change: nodes.Call) -> str | None:
    """`drop(from=control)`: what the change is counted from."""
    for argument in change.arguments:
        word = trees.bare_word(argument.value)
        if argument.name is None or argument.name.text != "from" or len(change.arguments) > 1:
            reader.refuse(
                "RCP0204", f"`{change.name}` takes only `from`", argument.span, f"write `{change.name}(from=control)`"
            )
            return None
        if word not in ("healthy", "control"):
            help = f"write `{change.name}(from=control)`, or leave it out for healthy"
            reader.refuse(
                "RCP0205", f"a {change.name} is counted from `healthy` or `control`", argument.value.span, help
            )
            return None
        return word
    return "healthy"

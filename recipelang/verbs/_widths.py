"""`until` and `while` of `quantize`: the bits of each place are searched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recipelang import catalogue
from recipelang.meaning import conditions
from recipelang.meaning.bounds import opposed, shrinking
from recipelang.meaning.reader import Reader
from recipelang.meaning.wording import listing
from recipelang.plan import Condition, tests_of

DEFAULT_SEARCH = "sensitivity"


@dataclass(frozen=True)
class Searched:
    """What a statement says of its search: a budget, a guard, or both."""

    until: Condition | None
    guard: Condition | None


def asked(reader: Reader) -> bool:
    """Whether a statement has its widths searched for."""
    return reader.clause("until") is not None or reader.clause("while") is not None


def read(reader: Reader, quantizer: Any) -> Searched:
    """The conditions of a statement whose widths are searched for; adds `with sensitivity` where no search is named."""
    until, guard = conditions.of_clause(reader, "until"), conditions.of_clause(reader, "while")
    shrinking(until, "until", reader.refuse)
    shrinking(guard, "while", reader.refuse)
    opposed(until, guard, reader.refuse)
    to = reader.clause("to")
    if to is not None:
        word = "until" if reader.clause("until") else "while"
        message = f"`to` says how many bits there are, and `{word}` has them searched for"
        reader.refuse("RCP0409", message, to.word.span, f"remove `to`, or `{word}`")
    _depends(reader, until)
    if getattr(quantizer, "needs", "") == "loss":
        by = reader.argument("by")
        reader.refuse(
            "RCP1471",
            f"`{quantizer.name}` chooses the ranges of all places together, and a search gives each place other widths",
            by.span if by is not None else None,
            "write `by mse`, or `to 4 bits`",
        )
    if quantizer is not None and len(quantizer.bits) == 1:
        by = reader.argument("by")
        message = f"`{quantizer.name}` has {quantizer.bits[0]} bits alone, and there is no width to search for"
        reader.refuse("RCP1470", message, by.span if by else None, f"write `to {quantizer.bits[0]} bits`")
    names = catalogue.names("widths")
    if not any(_named(node) in names for node in reader.arguments("with")):
        reader.add("with", DEFAULT_SEARCH)
    return Searched(until, guard)


def checked(reader: Reader, search: Any) -> None:
    """Note a search where there is nothing to search for, or no budget that it needs (RCP1470)."""
    span = next((node.span for node in reader.arguments("with") if _named(node) == search.name), None)
    if not asked(reader):
        message = f"`{search.name}` chooses the widths of places, and `to` gives all of them the same"
        reader.refuse("RCP1470", message, span, "write `until size < 25%` for `to`, or leave `with` out")
    elif search.budget and reader.clause("until") is None:
        others: dict[str, Any] = {name: catalogue.find("widths", name) for name in catalogue.names("widths")}
        able = listing([name for name, found in others.items() if found and not found.budget])
        message = f"`{search.name}` searches for what meets a budget, and there is no budget"
        reader.refuse("RCP1470", message, span, f"add `until size < 25%`, or write `with {able.strip('`')}`")


def _depends(reader: Reader, until: Condition | None) -> None:
    """Note a budget that no width changes (RCP1472)."""
    for test in tests_of(until):
        metric = test.reading.metric
        if metric.role == "cost" and not getattr(metric, "by_bits", True):
            reader.refuse(
                "RCP1472",
                f"`{metric.name}` does not depend on how many bits numbers have",
                test.span,
                "write `until size < 25%`, or a latency of a runtime: `until latency(runtime=onnxruntime) < 0.5`",
            )


def _named(node: Any) -> str:
    path = getattr(node, "path", ())
    return str(path[0].text) if path else ""

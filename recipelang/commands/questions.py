"""What `recipe init` asks where a terminal is there, and how answers and options are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from recipelang.catalogue import find, names
from recipelang.commands.boundary import WrongUsage
from recipelang.commands.networks import task_of
from recipelang.commands.sources import device_of
from recipelang.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from recipelang.plan import Condition

OPTION, BUDGET_HELP = (
    "--budget ",
    "write `--budget 'latency < 0.7'`, `'latency < 5ms'`, `'size < 10MB'`, `'flops < 0.5'`",
)
#: what is asked where a terminal is there, and what holds without an answer
ASKED = {
    "model": ("The network, as a recipe writes it", "digits_resnet"),
    "data": ("The data, as a recipe writes it", ""),
    "device": ("Where it will be executed: cpu, cuda", "cpu"),
    "runtime": ("What executes it: torch, onnxruntime, openvino", "torch"),
    "batch": ("Inputs in one call there", 1),
    "budget": ("What to reach, such as 'latency < 0.7', 'size < 5MB', 'flops < 0.5'", "latency < 0.7"),
    "drop": ("What quality may be lost, in points", 3.0),
}


def asked(given: Mapping[str, Any], aliases: Collection[str] = ()) -> dict[str, Any]:
    """The options, and answers for those that are not given.

    Args:
        given: option → its value, None where it is left out.
        aliases: names of networks and data that the profile gives.
    """
    answers = dict(given)
    checks = {kind: partial(_source, kind, aliases=aliases) for kind in ("model", "data")} | CHECKS
    for name, (question, default) in ASKED.items():
        if answers[name] is not None:
            continue
        known: Any = default or stand_in(answers["task"], answers["model"])
        answers[name] = click.prompt(question, default=known, value_proc=_answer(checks[name]), err=True)
    return answers


def _answer(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A check of an answer, whose refusal asks again."""

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except (ValueError, click.BadParameter, click.UsageError) as wrong:
            raise click.UsageError(str(wrong)) from None
        except RecipeError as wrong:
            raise click.UsageError(f"{wrong}; {BUDGET_HELP}") from None

    return checked


def _source(kind: str, text: str, aliases: Collection[str]) -> str:
    """A network or data whose name is known; the rest is looked at with the network itself."""
    name, known = text.split("(")[0].split(".")[0].strip(), names(kind)
    if name not in known and name not in aliases:
        offered = did_you_mean(name, (*known, *aliases))
        raise ValueError(f"there is no {kind} `{name}`; {offered}here are {', '.join((*known, *aliases))}")
    return text


def _device(text: str) -> str:
    found = device_of(None, None, str(text))  # type: ignore[arg-type]
    return found or "cpu"


def _readable(text: str) -> str:
    """A budget that can be read in some task: what the network makes of it is known later.

    Raises:
        RecipeError: it is not a condition in any task.
    """
    mistakes = []
    for task in ("", *names("task")):
        try:
            condition(text, task)
            return text
        except RecipeError as error:
            mistakes.append(error)
    raise mistakes[0]


def runtime(text: str) -> str:
    """A runtime of the catalogue.

    Raises:
        click.UsageError: there is none of this name.
    """
    if text not in names("runtime"):
        known = names("runtime")
        raise click.UsageError(
            f"There is no runtime `{text}`. {did_you_mean(text, known)}Runtimes: {', '.join(known)}."
        )
    return text


def _batch(text: Any) -> int:
    if not str(text).isdecimal() or int(text) < 1:
        raise ValueError(f"`{text}` is not a number of inputs")
    return int(text)


def points(text: Any) -> float:
    """Points of quality that may be lost.

    Raises:
        ValueError: it is no number above 0 and up to 100.
    """
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 100:
            return float(text)
    raise ValueError(f"`{text}` is not a number of points above 0 and up to 100")


CHECKS: dict[str, Callable[[Any], Any]] = {
    "device": _device,
    "batch": _batch,
    "drop": points,
    "runtime": runtime,
    "budget": _readable,
}


def stand_in(task: str | None, model: str | None) -> str:
    """The embedded data for a model."""
    name = (task or task_of(model or "", None) or "classification").partition("(")[0].strip()
    return str(getattr(find("task", name), "stand_in", ("digits",))[0])


def condition(text: str, task: str) -> Condition:
    """A budget as a recipe of this task reads it.

    Raises:
        WrongUsage: it cannot be read, at its place in the option.
    """
    from recipelang.meaning import conditions
    from recipelang.meaning import typed as reading
    from recipelang.meaning.flow import Flow

    try:
        statement = reading.statement("expect", text, OPTION, BUDGET_HELP)
        if len(statement.operands) != 1 or statement.clauses:
            raise RecipeError([reading.not_one(text, OPTION, BUDGET_HELP)])
        name = task.partition("(")[0].strip()
        flow = Flow(healthy=True)
        if name:
            flow.task = find("task", name)
        reader = reading.reader(statement, flow)
        found = conditions.read(reader, statement.operands[0], "val", "")
        if found is None or reader.notes.errors:
            raise RecipeError([reading.moved(wrong, "expect", text, OPTION) for wrong in reader.notes.errors])
    except RecipeError as error:
        raise WrongUsage(error.diagnostics) from None
    return found

"""The task of a recipe: it holds from the first line to the last, and says which methods have a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import DEFAULT_TASK, offered, serves
from recipelang.meaning.wording import KINDS, listing
from recipelang.plan import Node, Opened, Step, Tasked, steps_of
from recipelang.syntax import nodes

if TYPE_CHECKING:
    from recipelang.errors import Span
    from recipelang.meaning.diagnostics import Refuse


def named(items: Iterable[Any], holds_throughout: Callable[[str], bool]) -> type:
    """The task that a recipe names, wherever the line is; classification where it names none, or none that there is.

    Args:
        items: the statements and `let` lines of the recipe, in order.
        holds_throughout: whether the verb of this name says something about the whole recipe.
    """
    lets: dict[str, Any] = {}
    for item in items:
        if isinstance(item, nodes.Let):
            lets[item.name.text] = item.value
        elif isinstance(item, nodes.Statement) and item.operands and holds_throughout(item.verb.text):
            operand: Any = item.operands[0]
            if isinstance(operand, nodes.Parameter):
                operand = lets.get(operand.name)
            if isinstance(operand, nodes.Call) and (found := _found(operand.path[0].text)):
                return found
    return default()


def _found(name: str) -> type | None:
    """The task of this name; None also for a plug-in that breaks its contract, which its statement refuses."""
    try:
        return catalogue.find("task", name)
    except Refusal:
        return None


def default() -> type:
    """The task of a recipe that names none."""
    found = catalogue.find("task", DEFAULT_TASK)
    assert found is not None
    return found


def has(task: Any, kind: str, method: type, called: str, span: Span, refuse: Refuse) -> bool:
    """Whether a method has a meaning in a task; notes where it has none.

    Args:
        task: the class of the recipe's task.
        kind, method: of the catalogue.
        called: as the recipe calls it.
        refuse: notes RCP0437 (a method of another task) or RCP0438 (data without the targets of the task).
    """
    if kind == "data" and (offers := offered(method)) and task.target not in offers:
        refuse("RCP0438", _lacks(called, offers, task), span, _where_else(offers, task))
        return False
    if not serves(method, task.name):
        theirs = listing(list(method.tasks))  # type: ignore[attr-defined]
        others = [n for n in catalogue.names(kind) if serves(catalogue.find(kind, n), task.name)]
        refuse(
            "RCP0437",
            f"`{called}` is {KINDS[kind].one} of the task {theirs}, and the task here is `{task.name}`",
            span,
            f"{KINDS[kind].many} here: {listing(others)}",
        )
        return False
    return True


def _lacks(called: str, offers: tuple[str, ...], task: Any) -> str:
    several = " or ".join(f"`{target}`" for target in offers)
    return f"the data `{called}` offers the target {several}, and the task {task.name} needs `{task.target}`"


def _where_else(offers: tuple[str, ...], task: Any) -> str:
    """Which data the task could have, and which tasks the data is for."""
    found = {name: offered(catalogue.find("data", name)) for name in catalogue.names("data")}
    others = [name for name, targets in found.items() if not targets or task.target in targets]
    tasks = [
        f"`task {n}`" for n in catalogue.names("task") if getattr(catalogue.find("task", n), "target", "") in offers
    ]
    return f"data here: {listing(others)}; or write {' or '.join(tasks)}"


def disagreements(made: tuple[Node, ...], task: Any, refuse_at: Callable[[Step, str, str, str], None]) -> None:
    """Note where the settings of data contradict the task or its settings.

    Args:
        made: the planned nodes.
        task: the class of the recipe's task.
        refuse_at: called with the step of the data, a code (RCP0438: its settings give other targets; RCP0439: the task
            cannot work with them), a message and help.
    """
    effects = [(step, step.operation.needs().writes) for step in steps_of(made)]
    named = next((effect.method for _, effect in effects if isinstance(effect, Tasked)), None)
    refuses = getattr(named, "refuses", None)
    for step, effect in effects:
        if not isinstance(effect, Opened):
            continue
        data = effect.method
        if (offers := offered(data)) and task.target not in offers:
            here = f"{data.targets[task.target]}; or write `task {_task_of(offers[0])}`"
            refuse_at(step, "RCP0438", _lacks(data.name, offers, task), here)
        elif refuses and (why := refuses(data)):
            refuse_at(step, "RCP0439", why, "give both the same setting")


def _task_of(target: str) -> str:
    return next(n for n in catalogue.names("task") if getattr(catalogue.find("task", n), "target", "") == target)

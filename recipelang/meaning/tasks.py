"""The task of a recipe: it holds from the first line to the last, and says which methods have a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import DEFAULT_TASK, serves
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
    offers = getattr(method, "target", "")
    if kind == "data" and offers not in ("", task.target):
        others = [n for n in catalogue.names("data") if _offers(n) in ("", task.target)]
        tasks = [n for n in catalogue.names("task") if _target(n) == offers]
        refuse(
            "RCP0438",
            f"the data `{called}` offers the target `{offers}`, and the task {task.name} needs `{task.target}`",
            span,
            f"data here: {listing(others)}; or write {' or '.join(f'`task {name}`' for name in tasks)}",
        )
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


def _offers(name: str) -> str:
    return str(getattr(catalogue.find("data", name), "target", ""))


def _target(name: str) -> str:
    return str(getattr(catalogue.find("task", name), "target", ""))


def disagreements(made: tuple[Node, ...], refuse_at: Callable[[Step, str], None]) -> None:
    """Note where the settings of data contradict those of the task.

    Args:
        made: the planned nodes.
        refuse_at: called with the step of the data, and why the task cannot work with it.
    """
    effects = [(step, step.operation.needs().writes) for step in steps_of(made)]
    task = next((effect.method for _, effect in effects if isinstance(effect, Tasked)), None)
    refuses = getattr(task, "refuses", None)
    if refuses is None:
        return
    for step, effect in effects:
        if isinstance(effect, Opened) and (why := refuses(effect.method)):
            refuse_at(step, why)

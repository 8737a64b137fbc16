"""From a recipe to a plan, or to every mistake in it.

    Recipe ─ sources: files used, --set, --model, --data, implied steps
           ─ walk:    statement by statement, each read by its verb
           ─ finish:  implied recovery, seeds, control
           → Plan, or RecipeError with all diagnostics

Knows no verb and no method by name, and never imports torch.
"""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any

from recipelang import catalogue, verbs
from recipelang.errors import Diagnostic, RecipeError, Span, typed
from recipelang.meaning import recovery, tasks, trees
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.meaning.mentions import Mentions
from recipelang.meaning.parameters import Bindings, Bound
from recipelang.meaning.reader import Reader
from recipelang.meaning.settings import bind
from recipelang.meaning.sources import Placed, expand, implied, override, provides, settle
from recipelang.meaning.unfold import Walk
from recipelang.meaning.unread import Unread
from recipelang.meaning.verb import Verb
from recipelang.plan import Node, Operation, Plan, Reading, Step, compresses, parts_of, steps_of
from recipelang.syntax import nodes
from recipelang.syntax.show import show

#: how the task's own model is trained where a recipe names neither model nor data
STAND_IN_TRAINING = "train for 20 epochs"
START = Span(0, 0, 1, 1, 1, 1)


def check(
    recipe: nodes.Recipe,
    *,
    profile: Mapping[str, str] | None = None,
    model: str | None = None,
    data: str | None = None,
    sets: Mapping[str, str] | None = None,
    control: bool = False,
    seeds: tuple[int, ...] | None = None,
    read: Callable[[str], str] | None = None,
    mistakes: Sequence[Diagnostic] = (),
    mentions: Mentions | None = None,
) -> Plan:
    """The plan of a recipe.

    Args:
        recipe: the parsed recipe.
        profile: aliases of models and data sets: name → recipe text.
        model, data: recipe text that replaces or supplies the statement: `torchvision.resnet18(classes=5)`.
        sets: name of a `let` → recipe text of another value.
        control: whether a control is asked for from outside.
        seeds: seeds that replace or supply those of the recipe.
        read: the text of a file that the recipe uses, by its path from the recipe's folder; raises OSError or
            RecipeError. None reads nothing, and `use` is refused.
        mistakes: the errors of `syntax.parse.read` for statements that the recipe therefore lacks.
        mentions: where the names go that are given and used, whether or not the recipe is right.

    Raises:
        RecipeError: the recipe is wrong; carries every diagnostic, in order of the text.
    """
    notes = Notes(recipe.path, list(mistakes), mentions=Mentions() if mentions is None else mentions)
    unread = Unread(_find, verbs.names, verbs.why_not)
    unread.text(recipe.unread)
    body = settle(recipe.body.items, sets or {}, notes)
    recipe = dataclasses.replace(recipe, body=dataclasses.replace(recipe.body, items=body))
    items = expand(recipe, _find, read or _no_files, notes, unread)
    for role, text in (("model", model), ("data", data)):
        if text is not None:
            items = override(items, role, text, _find, notes, unread)
    task = tasks.named((placed.item for placed in items), _throughout)
    items = _with_stand_in(items, recipe, task, notes)
    walk = Walk(notes, unread, profile or {})
    bindings = _bindings(items)
    flow = Flow(task=task)
    made = walk.walk(items, bindings, flow, True)
    if "no recovery" not in walk.switches:
        made = recovery.added(made, partial(_tuning, task))
    made = _seeded(made, seeds) if seeds else made
    wanted = control or "control" in walk.switches
    if unread:
        _check_unused(bindings, notes)
    notes.path = recipe.path
    if not notes.errors:
        _check_control(made, walk, wanted, notes)
        tasks.disagreements(made, task, partial(_disagrees, notes))
    _warn_unused(walk, bindings, flow, notes)
    if notes.errors:
        # A statement may seem to resolve a mistake of its own: what no other mistake explains is never left out.
        sure = [d for d in notes.errors if not unread.explains(d)] or notes.errors
        raise RecipeError(_in_order(sure, recipe.path), recipe.text)
    return Plan(_name(recipe.path), recipe.text, recipe.path, made, wanted, tuple(notes.warnings))


def _find(name: str) -> Verb | None:
    """The verb of this name; None also for a plug-in that breaks its contract, which the walk refuses."""
    return None if verbs.why_not(name) else verbs.find(name)


def _no_files(path: str) -> str:
    raise OSError(0, "no files are read here")


def _name(path: str) -> str:
    """The file's stem; `oneliner` where there is no file."""
    return PurePath(path).stem if path and not path.startswith(("<", "-")) else "oneliner"


def _bindings(items: Sequence[Placed]) -> dict[str, Bindings]:
    """Empty bindings for every file that statements come from."""
    every: dict[Any, Any] = {}
    return {placed.path: Bindings(ChainMap(), every) for placed in items}


def _throughout(verb: str) -> bool:
    """Whether a verb says something about the whole recipe."""
    found = _find(verb)
    return found is not None and found.throughout


def _disagrees(notes: Notes, step: Step, code: str, why: str, help: str) -> None:
    notes.path = step.path
    notes.refuse(code, why, step.span, help)


def _with_stand_in(items: list[Placed], recipe: nodes.Recipe, task: Any, notes: Notes) -> list[Placed]:
    """Add a model and data in front where the recipe names neither; one of the two alone is refused (RCP0503)."""
    found: dict[str, Placed] = {}
    for placed in items:
        if role := provides(placed.item, _find):
            found.setdefault(role, placed)
    if len(found) == 2 or (notes.errors and not found):
        return items
    if found:
        (role, placed), missing = next(iter(found.items())), "data" if "model" in found else "model"
        usual = task is tasks.default()
        example = dict(zip(("data", "model"), ("digits", "resnet20") if usual else task.stand_in, strict=True))[missing]
        span = placed.item.verb.span if isinstance(placed.item, nodes.Statement) else None
        help = f"write `{missing} {example}`, use `--{missing} …`, or leave out both for the embedded ones"
        notes.errors.append(Diagnostic("RCP0503", f"there is a `{role}` and no `{missing}`", span, help, placed.path))
        return items
    if not any(isinstance(p.item, nodes.Statement) for p in items):
        return items
    texts: tuple[str, ...] = (f"data {task.stand_in[0]}", f"model {task.stand_in[1]}")
    texts += () if _trains_first(items) else (STAND_IN_TRAINING,)
    why = "the recipe names no model and no data"
    return [*implied(texts, why, recipe.path, START), *items]


def _trains_first(items: Sequence[Placed]) -> bool:
    """Whether the recipe itself trains before it compresses."""
    found = [_find(p.item.verb.text) for p in items if isinstance(p.item, nodes.Statement)]
    operations = [verb.operation for verb in found if verb and verb.operation]
    return any(operation.role == "training" and operation.before_healthy for operation in operations)


def _seeded(made: tuple[Node, ...], seeds: tuple[int, ...]) -> tuple[Node, ...]:
    """The nodes with these seeds: in place of the recipe's, else before the first step that compresses."""
    step = _step(f"seeds {', '.join(map(str, seeds))}", "given on the command line")
    for index, node in enumerate(made):
        if isinstance(node, Step) and type(node.operation) is type(step.operation):
            return (*made[:index], step, *made[index + 1 :])
    late = len(made) - len(_after_healthy(made))
    if late == len(made):
        trains = [i for i, n in enumerate(made) if isinstance(n, Step) and n.operation.role == "training"]
        late = trains[0] if trains else late
    return (*made[:late], step, *made[late:])


def _tuning(task: Any, before: Step) -> Step:
    """The implied recovery before a step, at its line."""
    return dataclasses.replace(_step(recovery.TEXT, recovery.WHY, task), span=before.span, path=before.path)


def _step(text: str, why: str, task: Any = None) -> Step:
    """A step that is not in the recipe, read by its own verb."""
    statement = trees.statement(text)
    verb = _find(statement.verb.text)
    reader = Reader(statement, Flow(task=task or tasks.default()), Notes(), {})
    operation: Operation | None = verb.read(reader) if verb else None
    assert operation is not None, text  # it is the language's own
    return Step(operation, show(reader.statement), implied=True, why=why)


def _check_control(made: tuple[Node, ...], walk: Walk, wanted: bool, notes: Notes) -> None:
    """A control repeats training, and a drop that is counted from it needs one (RCP0511, RCP0514)."""
    late = [s for s in steps_of(_after_healthy(made)) if s.operation.needs().training is not None]
    if wanted and not late:
        message = "a control repeats the recipe's training, and nothing trains after the removal"
        place = walk.switches.get("control") or typed("--control")
        notes.refuse("RCP0511", message, place, "add `finetune for 3 epochs`, or remove `control`")
    for part in parts_of(made):
        if isinstance(part, Reading) and part.against == "control" and not wanted:
            notes.refuse("RCP0514", "there is no control to count from", part.span, "write a line `control`")


def _after_healthy(made: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes from the first one that compresses on."""
    first = next((i for i, n in enumerate(made) if not isinstance(n, Step) or compresses(n.operation)), len(made))
    return made[first:]


def _check_unused(bindings: Mapping[str, Bindings], notes: Notes) -> None:
    """Note what is wrong in the settings of values that are used only by statements that could not be read."""
    for _, bound in _every(bindings):
        call = bound.value
        if bound.used or not isinstance(call, nodes.Call):
            continue
        kinds = catalogue.kinds_of(call.path[0].text)
        method = catalogue.find(kinds[0], call.path[0].text) if kinds else None
        if method:
            notes.path = bound.path
            bind(call, method, notes.refuse)


def _every(bindings: Mapping[str, Bindings]) -> list[tuple[str, Bound]]:
    """Every name that was bound anywhere in the recipe."""
    return list(next(iter(bindings.values())).every.values()) if bindings else []


def _warn_unused(walk: Walk, bindings: Mapping[str, Bindings], flow: Flow, notes: Notes) -> None:
    """Warn of names that nothing refers to (RCP0250, RCP0251)."""
    for name, bound in _every(bindings):
        if not bound.used:
            notes.path = bound.path
            notes.warn(
                "RCP0250",
                f"`${name}` is never used",
                bound.span,
                "remove it, or write `$" + name + "` where it was meant",
            )
    for name, (sort, span) in {**walk.named, **flow.names}.items():
        if name not in notes.mentions.used:
            what = {"state": "state", "model": "model", "data": "data set"}.get(sort, sort)
            notes.warn("RCP0251", f"{what} `{name}` is never used", span, "remove the line, or use the name somewhere")


def _in_order(errors: list[Diagnostic], path: str) -> list[Diagnostic]:
    """By place in the text; the command line comes first, other files last."""

    def key(d: Diagnostic) -> tuple[bool, bool, str, int]:
        outside = d.span is None or bool(d.span.typed)
        return not outside, d.path not in ("", path), d.path, d.span.start if d.span else 0

    return sorted(errors, key=key)

"""The training clauses: `for` how long, `with` which optimizer and losses, `from` which teachers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang import catalogue
from recipelang.errors import nearest
from recipelang.kinds import Companion
from recipelang.meaning import caching, compiling, places, removal, schedules, tasks
from recipelang.meaning.lookup import lookup
from recipelang.meaning.settings import bind
from recipelang.meaning.values import DIMENSIONS
from recipelang.plan import Course, Duration, Term, Training, parts_of
from recipelang.syntax import nodes
from recipelang.syntax.show import show

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader

#: the optimizers where a recipe names none
TUNING = "sgd(lr=cosine(1e-2, to=0), momentum=0.9, weight_decay=5e-4)"
FROM_SCRATCH = "sgd(lr=cosine(0.1, to=0), momentum=0.9, weight_decay=5e-4)"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read(
    reader: Reader,
    default_optimizer: str,
    *,
    default_duration: Duration | None = None,
    default_loss: str = "",
    teachers: tuple[Any, ...] | None = None,
    rounds: int = 1,
    given: tuple[Any, ...] | None = None,
    course: Course | None = None,
    removes: bool = False,
) -> Training | None:
    """What the training loop needs; None where the statement is wrong, or has no `for` and none is required.

    Args:
        reader: the statement.
        default_optimizer: recipe text of the optimizer used where none is named.
        default_duration: used where `for` is left out; None makes `for` required.
        default_loss: recipe text of the loss used where none is named; "" is the task's own loss.
        teachers: the nodes that name teachers; None where the verb has none.
        rounds: the number of rounds that share the duration.
        given: the items of `with` that are for the training; None is all of them.
        course: the target that is raised during the training.
        removes: whether its companions may remove parts of the network.
    """
    duration = places.duration(reader)
    if duration is None and reader.clause("for") is None:
        if default_duration is None and reader.statement.operands:
            reader.failed = True  # an operand was refused, and it may be the duration
        elif default_duration is None:
            reader.refuse(
                "RCP0403", f"`{reader.verb}` does not say how long", None, f"write `{reader.verb} for 3 epochs`"
            )
        else:
            reader.add("for", str(default_duration))
            duration = default_duration
    given = reader.arguments("with") if given is None else given
    optimizers = [node for node in given if names(node, "optimizer")]
    companions = [node for node in given if names(node, "companion")]
    losses = [node for node in given if not (names(node, "optimizer") or names(node, "companion"))]
    for what, several in (("loss", losses), ("optimizer", optimizers)):
        if len(several) > 1:
            help = "a sum is one loss: `kd + 0.5 * task`" if what == "loss" else "keep one"
            reader.refuse("RCP0408", f"`with` names a second {what}", several[1].span, help)
    if not losses and default_loss:
        losses = list(reader.add("with", default_loss))
    terms = _terms(reader, losses[0], teachers) if losses else ()
    beside = _companions(reader, companions, removes)
    _left_beside(reader, terms, dict(zip(beside, companions, strict=False)))
    _one_class(reader, terms, beside)
    if not optimizers:
        optimizers = list(reader.add("with", usual(reader.flow.task, default_optimizer)))
    optimizer = reader.method(optimizers[0], "optimizer", "`with`", "with sgd(lr=1e-2)")
    if not (duration and optimizer):
        return None
    _decaying(reader, optimizer, dict(zip(beside, companions, strict=False)))
    made = Training(duration, optimizer, terms, show(optimizers[0]), beside, course)
    if made.compiled and (why := compiling.why_not(made)):
        node = next(node for node in companions if node.name == "compile")
        reader.refuse("RCP1541", why, node.span, "leave `compile` out")
        return None
    if made.caching and (why := caching.why_not(made)):
        node = next(node for node in companions if node.name == made.caching.name)
        reader.refuse("RCP1523", why, node.span, f"leave `{made.caching.name}` out")
        return None
    marked = any(part.marks() for part in parts_of(made) if hasattr(part, "marks"))
    if marked or reader.failed:  # most have no marks, and what was refused is not among the terms
        schedules.check((*reader.arguments("with"), *reader.arguments("over")), duration, rounds, reader.refuse)
    return made


def usual(task: Any, optimizer: str) -> str:
    """The optimizer, in recipe text, that a task has in place of the default one (`TUNING`, `FROM_SCRATCH`)."""
    own = {TUNING: "tuning", FROM_SCRATCH: "from_scratch"}.get(optimizer, "")
    return str(getattr(task, own, optimizer)) if own else optimizer


def _companions(reader: Reader, given: list[Any], removes: bool) -> tuple[Any, ...]:
    """What accompanies the training, each companion once, unless it says otherwise."""
    nodes_of: dict[Any, Any] = {}
    for node in given:
        made = reader.method(node, "companion", "`with`", "with slimming(1e-4)")
        if made is not None and any(
            made == other or (made.name == other.name and not made.several) for other in nodes_of
        ):
            reader.refuse("RCP0408", f"`{made.name}` appears twice", node.span, "name each once")
        elif made is not None:
            nodes_of[made] = node
    removal.by_training(reader, nodes_of, removes)
    _ends_once(reader, nodes_of, removes)
    return tuple(nodes_of)


def _ends_once(reader: Reader, companions: dict[Any, Any], removes: bool) -> None:
    """Note companions that judge a training of several parts, or that say twice which weights a network ends with
    (RCP0451)."""
    settling: list[str] = []
    exact = [made.name for made in companions if made.precision]
    for made, node in companions.items():
        if made.name in exact[1:]:
            message = f"`{exact[0]}` and `{made.name}` are two precisions of one training"
            reader.refuse("RCP0408", message, node.span, "keep one of them")
        if made.judges and not removes:
            message = f"`{made.name}` follows a training from its start to its end; `{reader.verb}` changes the network"
            help = f"write `finetune … with {show(node)}` on a line of its own"
            reader.refuse("RCP0451", message, node.span, help)
        elif made.settles and settling:
            message = f"`{settling[0]}` and `{made.name}` both decide which weights the network ends with"
            reader.refuse("RCP0451", message, node.span, "keep one of them")
        settling += [made.name] * made.settles


def _decaying(reader: Reader, optimizer: Any, companions: dict[Any, Any]) -> None:
    """Note companions that multiply the weight decay of an optimizer that has none (RCP1540)."""
    for made, node in companions.items():
        if type(made).decays is not Companion.decays and getattr(optimizer, "weight_decay", None) == 0:
            message = f"`{made.name}` has no effect: `{optimizer.name}` has a weight decay of 0"
            help = f"write `{optimizer.name}(weight_decay=…)`, or remove `{made.name}`"
            reader.refuse("RCP1540", message, node.span, help)


def _left_beside(reader: Reader, terms: tuple[Term, ...], companions: dict[Any, Any]) -> None:
    """Note companions that change the network after the training where a loss leaves networks that share its weights,
    and losses that leave networks of one name (RCP0451)."""
    leaving = [term.loss for term in terms if term.leaves()]
    if len(leaving) > 1:
        message = f"`{leaving[1].name}` appears twice, and each leaves networks of the same names"
        reader.refuse("RCP0451", message, reader.statement.verb.span, "keep one of them")
    for made, node in companions.items():
        if leaving and (made.settles or made.leaves):
            what = "decides which weights the network ends with" if made.settles else "changes the network at the end"
            message = f"`{made.name}` {what}, and the networks that `{leaving[0].name}` leaves have its last weights"
            reader.refuse("RCP0451", message, node.span, "keep one of them")


def _one_class(reader: Reader, terms: tuple[Term, ...], companions: tuple[Any, ...]) -> None:
    """Note a loss whose targets must be one class each, where the task or what mixes images gives others (RCP1501)."""
    task = reader.flow.task
    mixing = next((made.name for made in companions if made.mixes), "")
    for term in terms if task is not None else ():
        wants = getattr(term.loss, "wants_classes", None)  # a plug-in need not inherit from the Protocol
        if wants and wants(task) and (mixing or task.target != "class"):
            why = f"`{mixing}` makes them shares of several" if mixing else f"the task {task.name} has no such targets"
            message = f"`{term.loss.name}` draws images of other classes, and {why}"
            help = f"write `{term.loss.name}(among=all)`" + f", or leave `{mixing}` out" * bool(mixing)
            reader.refuse("RCP1501", message, reader.statement.verb.span, help)


def names(node: Any, kind: str) -> bool:
    """Whether a word of `with` names a method of a kind; what names no optimizer and no companion is read as a loss."""
    return isinstance(node, nodes.Call) and node.path[0].text in catalogue.names(kind)


def _terms(reader: Reader, node: Any, teachers: tuple[Any, ...] | None) -> tuple[Term, ...]:
    """A loss sum; where no term is complete on its own, the task's own loss is added and shown."""
    parts = node.terms if isinstance(node, nodes.Sum) else (node,)
    terms = [term for part in parts if (term := _term(reader, part, teachers)) is not None]
    if reader.failed or not terms:
        return tuple(terms)
    if teachers and not any(term.loss.teachers[1] for term in terms):
        own = any(term.leaves() for term in terms)  # its network is its own teacher
        help = f"write `distill from self … with {show(node)}`" if own else "`with kd` uses one teacher or several"
        reader.refuse("RCP0412", f"`{show(node)}` uses no teacher", node.span, help)
    comparing = [term for term in terms if term.loss.teachers[1]]
    if len(comparing) > 1 and (mutual := next((t.loss for t in comparing if getattr(t.loss, "peers", False)), None)):
        others = ", ".join(f"`{term.loss.name}`" for term in comparing if term.loss is not mutual)
        message = f"`{mutual.name}` trains its teachers along, and {others or 'another term'} compares with them"
        reader.refuse("RCP0412", message, node.span, "keep one of them, beside `task`")
    if len(comparing) > 1 and (
        chooser := next((term for term in comparing if getattr(term.loss, "chooses", False)), None)
    ):
        others = ", ".join(f"`{term.loss.name}`" for term in comparing if term is not chooser)
        message = f"`{chooser.loss.name}` asks the teacher about some samples only, and {others} about all of them"
        reader.refuse("RCP0412", message, node.span, "keep one of them, beside `task`")
    if not any(term.loss.complete for term in terms):
        terms.append(_add_task(reader, node))
    if all(term.weight == 0 for term in terms):
        message = f"`{show(node)}` is 0 whatever the network answers, so nothing would train"
        reader.refuse("RCP1525", message, node.span, "give one of its losses a weight above 0")
    return tuple(terms)


def _add_task(reader: Reader, node: Any) -> Term:
    """`1 * task` beside losses that are not complete on their own, in the statement's text too."""
    made = reader.add("with", "1 * task")[0]
    clause = reader.clause("with")
    if clause:
        parts = node.terms if isinstance(node, nodes.Sum) else (node,)
        whole = nodes.Sum((*parts, made), node.span)
        rest = tuple(whole if item is node else item for item in clause.arguments[:-1])
        reader.replace_clause(clause, rest)
    term = _term(reader, made, None)
    return term if term else Term(1.0, None)


def _term(reader: Reader, node: Any, teachers: tuple[Any, ...] | None) -> Term | None:
    """`0.7 * kd(T=4)`: a weight, which may be a ramp, and a loss."""
    weight: Any = 1.0
    calls: list[nodes.Call] = []
    for factor in node.factors if isinstance(node, nodes.Product) else (node,):
        if isinstance(factor, nodes.Number):
            if factor.quantity.dimension not in ("number", "ratio"):
                is_what = DIMENSIONS[factor.quantity.dimension]
                reader.refuse(
                    "RCP0302",
                    f"the weight of a loss is a plain number; `{factor.text}` is {is_what}",
                    factor.span,
                    "write `0.7`",
                )
            elif isinstance(weight, float):
                weight *= factor.quantity.value
        elif isinstance(factor, nodes.Call) and factor.path[0].text in catalogue.names("ramp"):
            weight = reader.method(factor, "ramp", "a loss sum", "linear(1, to=0)")
        elif kind := next((kind for kind in ("companion", "optimizer") if names(factor, kind)), ""):
            what = "a companion of a training" if kind == "companion" else "an optimizer"
            reader.refuse(
                "RCP0203",
                f"`{show(factor)}` is {what}, and a sum has losses",
                factor.span,
                f"write it beside the loss: `with kd, {show(factor)}`",
            )
            return None
        elif isinstance(factor, nodes.Call):
            calls.append(factor)
        else:
            _no_loss(reader, factor)
    if len(calls) != 1:
        if not reader.failed:
            reader.refuse(
                "RCP0405",
                f"`{show(node)}` is not a single loss",
                node.span,
                "a term is a number times a loss: `0.7 * kd(T=4)`",
            )
        return None
    loss = _loss(reader, calls[0], teachers)
    return None if loss is None or weight is None else Term(weight, loss)


def _no_loss(reader: Reader, node: Any) -> None:
    close = reader.clause_word_in(node)
    if close:
        reader.misspelt(close)
    else:
        reader.refuse(
            "RCP0405", "`with` takes an optimizer and a loss", node.span, "write `with kd(T=4), sgd(lr=1e-2)`"
        )


def _loss(reader: Reader, call: nodes.Call, teachers: tuple[Any, ...] | None) -> Any | None:
    """The loss, checked against the teachers that the statement names."""
    near = nearest(call.path[0].text, catalogue.names("companion"))
    kinds = ("loss", "optimizer", "companion") if near else ("loss", "optimizer")
    found = lookup(call, kinds, "`with`", reader.refuse)
    if found is None:
        return None
    if not tasks.has(reader.flow.task, *found, call.name, call.name_span, reader.refuse):
        return None
    loss = bind(call, found[1], reader.refuse, task=reader.flow.task.name)
    least, most = found[1].teachers if found[0] == "loss" else (0, 0)  # type: ignore[attr-defined]
    name = call.path[0].text
    if teachers is None and least > 0:
        which = "healthy" if least == 1 else "healthy, recovered"
        many = "a teacher" if least == 1 else _teachers(least)
        message = f"`{name}` compares with {many}; `{reader.verb}` has none"
        length = reader.clause("for")
        help = f"`distill from {which}{' ' + show(length) if length else ''} with {name}`"
        reader.refuse("RCP0411", message, call.name_span, help)
        return None
    count = len(teachers or ())
    if teachers and most and count > most:
        help = "name fewer, or `with kd`, which takes the mean of several"
        message = f"`{name}` takes {_teachers(most)}, but {_number(count)} are named"
        reader.refuse("RCP0412", message, teachers[most].span, help)
        return None
    if teachers and count < least:
        message = (
            f"`{name}` compares with {_teachers(least)}, but {_number(count)} {'is' if count == 1 else 'are'} named"
        )
        reader.refuse(
            "RCP0412", message, call.name_span, "`with kd` takes one teacher or several, or name another after `from`"
        )
        return None
    return loss


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _teachers(count: int) -> str:
    return f"{_number(count)} teacher{'s' * (count != 1)}"

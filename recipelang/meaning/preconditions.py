"""The order of statements: what must come before what, and what each leaves for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipelang.meaning.diagnostics import Notes, Refuse
from recipelang.meaning.flow import Flow, Origin
from recipelang.meaning.verb import Verb
from recipelang.plan import (
    Built,
    Expected,
    Named,
    Needs,
    Opened,
    Reported,
    Returned,
    Selection,
    Shown,
    Written,
    alters,
    compresses,
)
from recipelang.syntax import nodes
from recipelang.syntax.show import show

#: effects of statements that leave the current network as it is, or go back to a state
KEEPING = (Named, Returned, Opened, Shown, Written, Reported, Expected)


def before(verb: Verb, statement: nodes.Statement, flow: Flow, refuse: Refuse) -> None:
    """Note what is not allowed here: RCP0502, RCP0504, RCP0505, RCP0506, RCP0510, RCP0915."""
    name, span = statement.verb.text, statement.verb.span
    named = any(c.word.text == "as" for c in statement.clauses)
    if flow.branch and not verb.after_variants:
        help = "move the line into each variant, or `choose by METRIC` first"
        if verb.top_level:
            refuse("RCP0510", f"`{name}` must come before the first variant", span, "move the line up")
        else:
            refuse("RCP0502", f"after variants there is no single current model to {name}", span, help)
    if verb.once and not named:
        first = flow.last.get(name)
        if first and first != statement.span:
            again = "give the second one a name: `as NAME`" if verb.clause("as") else "keep one of the two"
            message = f"`{name}` appears a second time; the first is {first.at(span)}"
            refuse("RCP0504", message, span, again)
        elif verb.provides and flow.first_use:
            message = f"the statement {flow.first_use.at(span)} needs `{name}`, which comes later"
            refuse("RCP0505", message, span, f"move `{name} …` before {flow.first_use.seen_from(span)}")
    if verb.sparse_first and not (flow.sparse or flow.restricted):
        help = "write `sparsify nm 2:4` or `quantize weights, activations to 8 bits` above"
        refuse("RCP0915", "there is no sparse or quantized layer to accelerate", span, help)
    for closes, other, first in flow.closed:
        if name in closes.verbs or (verb.operation is not None and verb.operation.role in closes.roles):
            message = f"`{name}` cannot follow `{other}` ({first.seen_from(span)}): {closes.why}"
            refuse("RCP0506", message, span, f"move `{name} …` before {first.seen_from(span)}")
            break
    for other in verb.not_after:
        if other in flow.last:
            _not_after(verb, statement, other, flow, refuse)


def _not_after(verb: Verb, statement: nodes.Statement, other: str, flow: Flow, refuse: Refuse) -> None:
    first = flow.last[other]
    operand = statement.operands[0] if statement.operands else None
    words = operand.items if isinstance(operand, nodes.Words) else (operand,)
    what = show(words[-1]) if words[-1] is not None else statement.verb.text
    span = operand.span if operand is not None else statement.verb.span
    message = verb.why_not_after.format(what=what, place=first.seen_from(span))
    above = min(first, flow.restricted or first)
    refuse("RCP0506", message, span, f"move `{statement.verb.text} …` before {above.seen_from(span)}")


def after(verb: Verb, found: Any, statement: nodes.Statement, flow: Flow, notes: Notes) -> None:
    """Record what a statement leaves for the next; one that was refused leaves what its verb always leaves."""
    name, span = statement.verb.text, statement.span
    needs = found.needs() if found is not None and verb.operation is not None else None
    if not (verb.once and any(c.word.text == "as" for c in statement.clauses)):
        flow.last[name] = statement.span
        if verb.provides:
            flow.provided[verb.provides] = statement.span
            _provided(needs, flow)
    if verb.verdict:
        flow.expects = True
    if verb.operation is None:
        return
    role = verb.operation.role
    if needs and needs.scratch:
        flow.trained = True  # what it was before does not matter
    untrained = not flow.trained and "model" in flow.provided
    altering = alters(found) if needs else role == "surgery"
    if altering and untrained:
        message = "the model starts from random numbers, and nothing trains it before this line"
        notes.warn("RCP0515", message, statement.verb.span, "give it `weights=…`, or `train for 30 epochs` above")
        flow.trained = True
    elif untrained and not flow.healthy and needs and isinstance(needs.writes, Returned):
        message = "`healthy`, which all networks are compared with, is the one before this line, and nothing trains it"
        help = "begin with the network to compare with: train it above, then `model … as NAME` and `start from NAME`"
        notes.warn("RCP0515", message, statement.verb.span, help)
    if role not in ("setup", "outcome", "structure"):
        flow.first_use = flow.first_use or span
    if role == "training" and (needs.training is not None if needs else verb.clause("for")):
        flow.trained = True
    if altering:
        flow.last_surgery = span
    if needs.restriction if needs else verb.restricts:
        flow.restricted = flow.restricted or span
    flow.sparse = flow.sparse or (needs.sparse if needs else verb.restricts)
    if needs and needs.across is not None:
        flow.across = span if needs.across else None
    if needs is None and verb.restricts:
        flow.zeros = None  # a statement that was refused may have left others
    elif needs and needs.zeros:
        flow.zeros = needs.zeros, span
    if needs and (few := needs.few):
        replaced = [
            one for one in flow.few if one[0].how == few.how and few.selection in (Selection(), one[0].selection)
        ]
        flow.few = (*(one for one in flow.few if one not in replaced), (few, span))
    _stale(verb, statement, flow, notes)
    _origin(needs, altering, flow)
    for left in needs.beside if needs else ():
        _left(left, flow, notes, statement)
    if needs and needs.grids:
        _replaced(needs, statement, flow, notes)
        flow.grids = needs, span
    elif altering or role == "training":
        flow.grids = None
    if needs and needs.restriction:
        flow.restrictions |= {needs.restriction}
    if needs and needs.closes:
        flow.closed = (*(one for one in flow.closed if one[1] != name), (needs.closes, name, span))
    if needs and _removes(needs):
        flow.outgrown = frozenset(("healthy", *flow.named("state")))
    if needs and isinstance(needs.writes, Named):
        flow.outgrown -= {needs.writes.name}
    if needs and isinstance(needs.writes, Returned):
        flow.outgrown = frozenset()
        flow.across = flow.zeros = None
        flow.closed = flow.few = ()
        flow.restrictions = frozenset()  # those of the state that the recipe returns to are known when it runs
    if compresses(found) if needs else not verb.operation.before_healthy:
        flow.healthy = True


def _origin(needs: Needs | None, altering: bool, flow: Flow) -> None:
    """Note where the current network and kept states come from."""
    mine = flow.origin or Origin()
    if altering or needs is None:
        mine = replace(mine, altered=True)
    if needs and needs.teachers:
        mine = replace(mine, teachers=needs.teachers)
    if needs and isinstance(needs.writes, Named):
        flow.origins = {**flow.origins, needs.writes.name: mine}
    if needs and isinstance(needs.writes, Returned):
        mine = flow.origins.get(needs.writes.state, Origin())
    flow.origin = mine
    if not needs or not isinstance(needs.writes, KEEPING):
        flow.same = frozenset()
    elif isinstance(needs.writes, Named):
        flow.same |= {needs.writes.name}
    elif isinstance(needs.writes, Returned):
        flow.same = frozenset({needs.writes.state})


def _left(name: str, flow: Flow, notes: Notes, statement: nodes.Statement) -> None:
    """Name a network that a statement leaves beside the current one; a later one takes the name over (RCP0207)."""
    sort, place = flow.names.get(name, ("", statement.span))
    if place != statement.span and name not in flow.beside:
        here = statement.verb.span
        message = f"this statement leaves a network `{name}`, and the name is already taken {place.at(here)}"
        notes.refuse("RCP0207", message, here, f"choose another name for the {sort}")
        return
    flow.names[name] = "state", statement.span
    flow.beside |= {name}
    notes.mentions.used.add(name)  # its row is in the report, whether or not the recipe goes on with it


def _replaced(needs: Needs, statement: nodes.Statement, flow: Flow, notes: Notes) -> None:
    """Warn of grids that replace all those of the statement before, with nothing in between (RCP1410)."""
    if flow.grids is None:
        return
    earlier, place = flow.grids
    whole = needs.selection in (Selection(), earlier.selection)
    if whole and set(earlier.grids) <= set(needs.grids):
        here = statement.verb.span
        message = f"every grid of `{statement.verb.text}` {place.at(here)} is replaced by this one"
        notes.warn("RCP1410", message, here, "remove one of the two; with `in`, the later line counts for its modules")


def _stale(verb: Verb, statement: nodes.Statement, flow: Flow, notes: Notes) -> None:
    """Warn of a statement that comes after a restriction which was chosen for the network before it (RCP1409)."""
    for restriction, why in verb.stale:
        if restriction in flow.restrictions and flow.restricted is not None:
            span = statement.verb.span
            place = flow.restricted.seen_from(span)
            help = f"move `{statement.verb.text} …` before {place}, or repeat that statement after this one"
            notes.warn("RCP1409", f"{why} ({place})", span, help)


def _removes(needs: Needs) -> bool:
    """Whether a step certainly removes parts: a budget may hold before, a guard or a companion allow nothing."""
    left = needs.training is not None and bool(needs.training.leaves)
    return needs.unit is not None and not (needs.conditions or left)


def _provided(needs: Needs | None, flow: Flow) -> None:
    """Whether a network comes trained, or with weights in a pattern; one that was refused may."""
    if needs is None:
        flow.trained = flow.sparse = True
    elif isinstance(needs.writes, Built):
        flow.trained = flow.trained or needs.writes.method.pretrained
        flow.sparse = flow.sparse or getattr(needs.writes.method, "sparse", False)  # an artifact may be

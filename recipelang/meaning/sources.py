"""Where statements come from: the recipe, the files that it uses, the command line, the language itself."""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recipelang.catalogue import names
from recipelang.errors import Diagnostic, RecipeError, Span, did_you_mean, typed
from recipelang.meaning import trees
from recipelang.meaning.diagnostics import Notes, Refuse
from recipelang.meaning.flow import Flow
from recipelang.meaning.pathlike import meant_by
from recipelang.meaning.reader import Reader
from recipelang.meaning.unread import Unread
from recipelang.meaning.verb import Insert, Verb
from recipelang.meaning.wording import KINDS, listing
from recipelang.syntax import nodes
from recipelang.syntax.parse import LONGEST, parse, read

MOST_FILES = 100


@dataclass(frozen=True)
class Placed:
    """A statement and where it comes from.

    Attributes:
        item: the statement or `let`.
        path: the file that its spans point into.
        why: the reason where the language adds it; "" where it is written in the recipe.
    """

    item: nodes.Item
    path: str
    why: str = ""


def expand(
    recipe: nodes.Recipe,
    find_verb: Callable[[str], Verb | None],
    text_of: Callable[[str], str],
    notes: Notes,
    unread: Unread,
) -> list[Placed]:
    """The statements of a recipe, with those of the files that it uses in place of each `use`.

    Args:
        recipe: the recipe.
        find_verb: the verb of a name.
        text_of: the text of a file, by its path from the recipe's folder; raises OSError or RecipeError.
        notes: where unreadable files, cycles and mistakes of their syntax go (RCP0211 and those of the parser).
        unread: where the parts of them that cannot be read go.
    """
    count, length = itertools.count(1), len(recipe.text)

    def counted(path: str) -> str:
        nonlocal length
        help = "files that use other files multiply; use each once"
        if next(count) > MOST_FILES:
            raise RecipeError([Diagnostic("RCP0211", f"more than {MOST_FILES} files are used", None, help)])
        text = text_of(path)
        length += len(text)
        if length > LONGEST:
            what = f"with the files that it uses, the recipe has more than {LONGEST} characters"
            raise RecipeError([Diagnostic("RCP0211", what, None, help)])
        return text

    return _expand(recipe.body.items, recipe.path, "", (), find_verb, counted, notes, unread)


def _expand(
    items: tuple[nodes.Item, ...],
    path: str,
    folder: str,
    trail: tuple[str, ...],
    find_verb: Callable[[str], Verb | None],
    text_of: Callable[[str], str],
    notes: Notes,
    unread: Unread,
) -> list[Placed]:
    found: list[Placed] = []
    for item in items:
        verb = find_verb(item.verb.text) if isinstance(item, nodes.Statement) else None
        if verb is None or not isinstance(item, nodes.Statement):
            found.append(Placed(item, path))
        elif verb.own_to_file and trail:
            continue
        elif verb.inserts:
            notes.path = path
            insert = verb.read(Reader(item, Flow(), notes, {}))
            if isinstance(insert, Insert) and not (item.clauses or item.block):
                other = posixpath.normpath(posixpath.join(folder, insert.file))
                used = _file(other, item, trail, text_of, notes, unread)
                inner = posixpath.dirname(other)
                found += _expand(used, other, inner, (*trail, other), find_verb, text_of, notes, unread)
        else:
            found.append(Placed(item, path))
    return found


def _file(
    path: str,
    item: nodes.Statement,
    trail: tuple[str, ...],
    text_of: Callable[[str], str],
    notes: Notes,
    unread: Unread,
) -> tuple[nodes.Item, ...]:
    """The statements of another file; what is wrong with it is noted, mistakes inside it at their own lines."""
    span = item.operands[0].span
    if path in trail:
        notes.refuse("RCP0211", f"`{path}` uses itself", span, " → ".join((*trail, path)))
        return ()
    try:
        recipe, mistakes = read(text_of(path), path)
        notes.errors += mistakes
        unread.text(recipe.unread)
        return recipe.body.items
    except RecipeError as error:
        notes.refuse("RCP0211", "; ".join(d.message for d in error.diagnostics), span, error.diagnostics[0].help)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        help = "check the spelling; paths are relative to this file"
        notes.refuse("RCP0211", f"`{path}` cannot be read: {why}", span, help)
    unread.anything = unread.everything = True
    return ()


def override(
    items: list[Placed],
    role: str,
    text: str,
    find_verb: Callable[[str], Verb | None],
    notes: Notes,
    unread: Unread,
) -> list[Placed]:
    """The statements with the one that provides `role` replaced by `role text`, or that one put first.

    Args:
        items: the statements.
        role: `model` or `data`, as `--model` and `--data` name them.
        text: recipe text of the model or data set.
        find_verb: the verb of a name.
        notes: mistakes of the text go there, at their places in the option.
        unread: the parts of it that cannot be read go there.
    """
    shown = f"--{role} {text}"
    if text.strip() not in names(role) and (help := meant_by(role, text)):
        unread.text(role)
        message = f"there is no {KINDS[role].one.split(' ', 1)[1]} `{text.strip()}`"
        notes.errors.append(Diagnostic("RCP0202", message, typed(shown, len(role) + 3), help))
        return items
    try:
        made = parse(f"  {role} {text}").body.items  # as long as what is shown, so that columns agree
    except RecipeError as error:
        unread.text(role)
        notes.errors += _moved(error, shown)
        return items
    if len(made) != 1 or not isinstance(made[0], nodes.Statement) or made[0].clauses or made[0].block:
        unread.text(role)
        help = f"write `--{role} NAME` or `--{role} 'NAME(…)'`"
        message = f"`{text}` is not a single {KINDS[role].one.split(' ', 1)[1]}"
        notes.errors.append(Diagnostic("RCP0405", message, typed(shown, len(role) + 3), help))
        return items
    statement = trees.typed(made[0], shown)
    old = next((i for i, p in enumerate(items) if provides(p.item, find_verb) == role), None)
    if old is None:
        return [Placed(statement, f"--{role}"), *items]
    moved = dataclasses.replace(statement, span=items[old].item.span)  # for the order of statements
    return [*items[:old], Placed(moved, f"--{role}"), *items[old + 1 :]]


def _moved(error: RecipeError, shown: str) -> list[Diagnostic]:
    """Syntax errors in a value on the command line, at their places in the part that is shown."""
    spans = [dataclasses.replace(d.span, typed=shown) if d.span else typed(shown) for d in error.diagnostics]
    return [dataclasses.replace(d, span=span) for d, span in zip(error.diagnostics, spans, strict=True)]


def provides(item: nodes.Item, find_verb: Callable[[str], Verb | None]) -> str:
    """`model` or `data` where the statement provides the recipe's own; "" for everything else, named ones included."""
    if not isinstance(item, nodes.Statement) or any(c.word.text == "as" for c in item.clauses):
        return ""
    verb = find_verb(item.verb.text)
    return verb.provides if verb else ""


def settle(items: tuple[nodes.Item, ...], sets: Mapping[str, str], notes: Notes) -> tuple[nodes.Item, ...]:
    """The statements with the values of `let` that `--set` gives; names that no `let` has are noted (RCP0208)."""
    known = trees.bindings_in(items)
    values: dict[str, Any] = {}
    for name, text in sets.items():
        shown = f"--set {name}={text}"
        if name not in known:
            guess = did_you_mean(name, known)
            help = f"{guess}`let` names: {listing(tuple(known))}"
            span = typed(shown, len("--set "), len(f"--set {name}"))
            notes.errors.append(Diagnostic("RCP0208", f"the recipe has no `let {name}`", span, help))
            continue
        alike = "let " + "n" * (len(name) + 2)  # as long as what is shown, so that columns agree
        tree, wrong = read(f"{alike}={text}")
        made = tree.body.items
        if not wrong and len(made) == 1 and isinstance(made[0], nodes.Let):
            values[name] = trees.typed(made[0].value, shown)
            continue
        help = "write a number, a word, a call or quoted text"
        span = typed(shown, len(alike) + 1)
        notes.errors.append(Diagnostic("RCP0301", f"`{text}` is not a single value", span, help))

    def changed(part: Any) -> Any:
        if isinstance(part, nodes.Let) and part.name.text in values:
            return dataclasses.replace(part, value=values[part.name.text])
        return part

    return tuple(trees.rebuild(item, changed) for item in items)


def alias(statement: nodes.Statement, aliases: Mapping[str, str], refuse: Refuse) -> nodes.Statement:
    """The statement with a name of the profile replaced by what it stands for; its own settings are added."""
    call = statement.operands[0] if len(statement.operands) == 1 else None
    if not isinstance(call, nodes.Call) or len(call.path) != 1 or call.name not in aliases:
        return statement
    try:
        meant = trees.respan(trees.expression(aliases[call.name]), call.span)
    except (RecipeError, ValueError):
        refuse(
            "RCP0301",
            f"alias `{call.name}` of the profile is neither a model nor a data set",
            call.span,
            f"it says `{aliases[call.name]}`",
        )
        return statement
    if isinstance(meant, nodes.Call) and call.arguments:
        meant = dataclasses.replace(meant, arguments=(*meant.arguments, *call.arguments), parentheses=True)
    return dataclasses.replace(statement, operands=(meant,))


def implied(texts: tuple[str, ...], why: str, path: str, span: Span) -> list[Placed]:
    """Statements that the language adds."""
    return [Placed(trees.respan(trees.statement(text), span), path, why) for text in texts]

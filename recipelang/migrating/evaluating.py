"""`eval(init_lr / 2)`: variables of a file and arithmetic with them, without Python's own eval."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from recipelang.migrating.reading import Value, Wrong, number

_EVAL = re.compile(r"\s*eval\((.*)\)\s*", re.DOTALL)
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg, ast.UAdd: operator.pos},
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "int": int, "float": float, "round": round}
#: of an expression; a longer one was not written by hand
LONGEST = 500


def filled(value: Value, variables: Mapping[str, Value], undefined: list[Value], using: tuple[str, ...] = ()) -> Value:
    """The value with every expression computed.

    Args:
        value: any value of the file.
        variables: name → value, from which expressions take theirs.
        undefined: gets the expressions whose variables the file does not define; they become nothing.
        using: the variables that are being computed.

    Raises:
        Wrong: RCP1263: an expression is not arithmetic, divides by zero, or uses itself.
    """
    if isinstance(value.data, dict):
        inside = {name: filled(one, variables, undefined, using) for name, one in value.data.items()}
        return replace(value, data=inside)
    if isinstance(value.data, tuple):
        return replace(value, data=tuple(filled(one, variables, undefined, using) for one in value.data))
    found = _EVAL.fullmatch(value.data) if isinstance(value.data, str) else None
    if not found:
        return value
    text = found[1].strip()
    if len(text) > LONGEST:
        raise Wrong("RCP1263", "the expression is too long", value, f"it has at most {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval").body
        return replace(value, data=_computed(tree, value, variables, undefined, using))
    except _Undefined:
        undefined.append(value)
        return replace(value, data=None)
    except (SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError, MemoryError):
        help = "an expression has numbers, variables of the file, `+ - * / // %`, `min`, `max`, `int`, `round`"
        raise Wrong("RCP1263", f"`{value.text[:80]}` cannot be computed", value, help) from None


class _Undefined(Exception):
    """A variable that the file does not define."""


def _computed(
    tree: ast.expr, at: Value, variables: Mapping[str, Value], undefined: list[Value], using: tuple[str, ...]
) -> Any:
    """The data of an expression."""

    def inner(part: ast.expr) -> Any:
        found = _computed(part, at, variables, undefined, using)
        if isinstance(found, str):
            found = number(found)
        if isinstance(found, tuple | dict) or found is None:
            raise TypeError
        return found

    if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float | str):
        return tree.value
    if isinstance(tree, ast.Name):
        if tree.id in using:
            raise Wrong("RCP1263", f"the variable `{tree.id}` is computed from itself", at, "write its value")
        if tree.id not in variables:
            raise _Undefined
        found = filled(variables[tree.id], variables, undefined, (*using, tree.id)).data
        if found is None:
            raise _Undefined
        return found
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](inner(tree.left), inner(tree.right))
    if isinstance(tree, ast.UnaryOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](inner(tree.operand))
    function = tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else ""
    if isinstance(tree, ast.Call) and function in _FUNCTIONS and not tree.keywords:
        return _FUNCTIONS[function](*(inner(part) for part in tree.args))
    raise TypeError

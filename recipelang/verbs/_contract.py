"""What the verb of a plug-in must offer."""

from __future__ import annotations

import dataclasses
from typing import Any

from recipelang import contracts
from recipelang.meaning.verb import Verb
from recipelang.plan import Operation


def require(name: str, verb: Any, staged: bool) -> None:
    """Refuse a verb of a plug-in that does not keep its contract; `staged` is whether it also declares a stage.

    Raises:
        Refusal: RCP0255.
    """
    wrong: list[str] = []
    if not isinstance(verb, Verb):
        wrong = ["it is not a `Verb`"]
    elif verb.operation is not None:
        wrong = list(contracts.against(verb.operation, Operation))
        if not wrong and verb.operation.verb != name:
            wrong = [f'the `verb` of its operation is "{verb.operation.verb}"']
        if not wrong and not dataclasses.is_dataclass(verb.operation):
            wrong = ["its operation is not a frozen dataclass"]
        if not wrong and verb.operation.role in ("training", "surgery", "execution") and not staged:
            wrong = [f"there is no entry point `stage.{name}`, which does its work"]
    contracts.refuse_broken("verb", name, verb, wrong)

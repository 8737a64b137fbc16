"""Verbs at work: `stages/NAME.py` does what `verbs/NAME.py` says. The same name is all that binds the two.

A stage is a module with one function, and a second one where the plan has something to say of the verb:

    run(operation, context) -> Outcome
    foresee(operation, network, known) -> Foresight
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from recipelang import contracts, plugins
from recipelang.errors import Refusal
from recipelang.plan import Operation

if TYPE_CHECKING:
    from recipelang.stages.context import Context, Foresight, Known, Outcome
    from recipelang.surgery.network import Network


HERE = Path(__file__).parent


def run(operation: Operation, context: Context) -> Outcome:
    """Do what an operation says.

    Raises:
        Refusal: it cannot be done, RCP1446 where the network is encoded; OutOfReach: its budget cannot be met.
    """
    _require_open(operation, context.network)
    outcome: Outcome = _stage(operation.verb).run(operation, context)
    return outcome


def foresee(operation: Operation, network: Network, known: Known) -> Foresight | None:
    """What an operation will find on a network; None where its stage says nothing.

    Args:
        operation: of a step that has not run.
        network: as far as it is known before the run: its architecture, not its weights.
        known: the networks of other states, in the same way.

    Raises:
        Refusal: it cannot apply to this network, RCP1446 where that is encoded.
    """
    _require_open(operation, network)
    foresees = vars(_stage(operation.verb)).get("foresee")
    return foresees(operation, network, known) if foresees else None


def _require_open(operation: Operation, network: Network) -> None:
    """Refuse to train or change a network that an artifact holds encoded; within a recipe, `check` does."""
    if network.encoded and operation.role in ("training", "surgery"):
        done = "trained" if operation.role == "training" else "changed"
        raise Refusal(
            "RCP1446",
            f"the network was encoded by `{network.encoded}`, and what is encoded is not {done} any more",
            f"`{operation.verb}` the network from before `encode`",
        )


@cache
def _stage(verb: str) -> ModuleType:
    """The module of a verb: a file here, or that of a plug-in."""
    if (HERE / f"{verb}.py").is_file():
        return importlib.import_module(f"recipelang.stages.{verb}")
    added: ModuleType | None = plugins.load("stage", verb)
    assert added is not None, "check refuses the verb of a plug-in without a stage"
    contracts.require_stage(verb, added)
    return added

"""Tune the network after surgery with the task's own loss."""

from __future__ import annotations

from recipelang.stages.context import Context, Outcome
from recipelang.stages.train import foresee as foresee
from recipelang.stages.train import started, tune
from recipelang.verbs.finetune import Finetune


def run(operation: Finetune, context: Context) -> Outcome:
    """Tune `context.network`; masks stay."""
    return tune(started(context, operation.scratch), operation.training, operation.samples)

"""Estimate BatchNorm statistics anew, without training."""

from __future__ import annotations

from recipelang.stages.batchnorm import recalibrate
from recipelang.stages.context import Context, Outcome
from recipelang.verbs.recalibrate import Recalibrate


def run(operation: Recalibrate, context: Context) -> Outcome:
    """Recalibrate `context.network`.

    Raises:
        Refusal: the network has no BatchNorm.
    """
    network = recalibrate(
        context.network,
        context.data,
        operation.samples,
        seed=context.seed,
        device=context.device,
        progress=context.progress,
        smoke=context.smoke,
    )
    return Outcome(network, reached=f"{operation.samples.count or 'all'} samples of {operation.samples.split}")

"""Re-estimate BatchNorm statistics, without training."""

from __future__ import annotations

from recipelang.stages.context import Context, Outcome
from recipelang.training.batchnorm import extent, recalibrate
from recipelang.units import counted
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
    count = extent(context.data, operation.samples, context.smoke)
    return Outcome(network, reached=f"{counted(count, 'sample')} of {operation.samples.split}")

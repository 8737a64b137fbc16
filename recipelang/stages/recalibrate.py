"""Re-estimate BatchNorm statistics, without training."""

from __future__ import annotations

from recipelang.kinds import Figure
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.network import Network
from recipelang.training.batchnorm import averaging_norms, extent, recalibrate
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
    return Outcome(network, reached=(Figure(f"of {operation.samples.split}", count, noun="sample"),))


def foresee(operation: Recalibrate, network: Network, known: Known) -> Foresight:
    """Nothing to say but whether there is anything to estimate.

    Raises:
        Refusal: the network has no BatchNorm that averages.
    """
    averaging_norms(network.module)
    return Foresight()

"""Choose how sparse layers execute in the deployed form.

A property of the deployed copy, not of the weights, so training may follow it. On a CPU no kernel uses an N:M
pattern: the layers run dense, and the report says "masked only".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.stages.context import Context, Outcome
from recipelang.surgery.deployed import execution
from recipelang.surgery.masks import matrices
from recipelang.surgery.selectors import resolve
from recipelang.verbs.accelerate import Accelerate


def run(operation: Accelerate, context: Context) -> Outcome:
    """Note the choice in the network; the deployed form reads it.

    Raises:
        Refusal: RCP0915: the selection holds no weight in an N:M pattern.
    """
    network = context.network
    chosen = set(resolve(network.module, operation.selection))
    layers = sorted(
        path for name, (path, _, _) in matrices(network.module).items() if name in network.masks and path in chosen
    )
    if not layers:
        raise Refusal("RCP0915", "there is no sparse layer to accelerate", "write `sparsify nm 2:4` above")
    kernels = [kernel.name for kernel in operation.kernels] or ["dense"]
    accelerated = replace(network, accelerated={"layers": layers, "kernels": kernels, "goal": operation.goal})
    ways = Counter((row["executes"], row["why"]) for row in execution(accelerated) if row["layer"] in layers)
    reached = "; ".join(f"{n} layers {way}" for (way, _), n in ways.most_common())
    why = "; ".join(sorted({why for (_, why), _ in ways.items() if why}))
    return Outcome(accelerated, asked=f"by {operation.goal}", reached=reached, note=why)

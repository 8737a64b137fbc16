"""How long rounding the weights of a network takes: pieces × steps × a step that was measured, and the passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recipelang.catalogue import spell
from recipelang.kinds import Dataset, Quantizer, Task
from recipelang.plan import Needs
from recipelang.run.remembered import Remembered, positive
from recipelang.run.states import architecture
from recipelang.scoring.rounding_pieces import divided
from recipelang.scoring.rounding_time import step_seconds
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import attending, places_of, weight_grids

ROUNDING = "a step of rounding"
#: bits of the grids that a step is tried with: how long it takes does not depend on them
BITS = 4


class _Extremes(Quantizer):
    """Ranges from the smallest to the largest weight, which take no time to find."""

    def range(self, observed: Any, scheme: Any) -> tuple[Any, Any]:
        """The extremes."""
        return observed.low, observed.high


def rounding_seconds(
    needs: Needs,
    network: Network,
    data: Dataset,
    task: Task,
    device: str,
    remembered: Remembered,
    per_image: Callable[[Network], float],
) -> float:
    """Seconds of rounding the weights of a statement; 0 where nothing but the nearest numbers is taken.

    Args:
        needs: with a rounder.
        per_image: seconds of a forward pass of one image.
    """
    assert needs.selection is not None
    network = attending(network, needs.selection)
    weights = places_of(network, needs.selection, ("weights",)).weights
    if not weights or not getattr(needs.rounder, "looks_at_data", False):
        return 0.0
    pieces = divided(network, tuple(weights), needs.rounder.unit)
    samples = min((needs.samples.count if needs.samples else None) or data.size("train"), data.size("train"))
    # for each piece a pass of both networks, up to that piece
    passes = len(pieces) * samples * per_image(network)
    steps = getattr(needs.rounder, "steps", 0)
    if not steps:
        return passes

    def measure() -> Mapping[str, Any] | None:
        grids = weight_grids(network, weights, BITS, _Extremes())
        taken = step_seconds(needs.rounder, network, grids, pieces, data, task, device)
        return {"seconds": taken} if taken else None

    decides = {
        "of": ROUNDING,
        "network": architecture(network),
        "data": data.fingerprint,
        "rounder": spell(needs.rounder),
        "weights": list(weights),
        "device": device,
    }
    found = remembered.numbers(decides, measure, ROUNDING)
    return passes + len(pieces) * steps * ((positive(found.get("seconds")) if found else None) or 0.0)
